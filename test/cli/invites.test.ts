import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Command } from '../../cli/command.ts'
import { inviteCommands } from '../../cli/commands/invites.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { NO_WAYS } from '../../daemon/peers/ways.ts'
import type { Result } from '../../ipc/methods.ts'
import { ANNA, FakeDaemon } from './fake-daemon.ts'
import { runCli } from './run-cli.ts'
import { startCommand } from './run-command.ts'

const TICKET = `partyline:${'abcdefgh'.repeat(30)}`
const ANSWER = `partyline:${'ijklmnop'.repeat(40)}`
const ID = 'mfzwizlnn5xgk'
const EXPIRES = Math.floor(Date.now() / 1000) + 86_400
const CREATED: Result<'invites.create'> = {
  id: ID,
  ticket: TICKET,
  expires: EXPIRES,
  uses: 1,
  outside: true,
  ways: NO_WAYS,
}
const JOINED = { state: 'joined' as const, peer: ANNA, name: 'anna-laptop', petname: 'anna' }

const command = (name: string): Command => inviteCommands.find((one) => one.name === name) as Command
const run = (daemon: FakeDaemon, args: readonly string[], input?: string) =>
  runCli([...args, '--home', daemon.home], input === undefined ? {} : { input })
const creating = (change: Partial<typeof CREATED> = {}) => ({ 'invites.create': () => ({ ...CREATED, ...change }) })

test('`invite` shows the ticket, and says what it is good for', async () => {
  await using daemon = await FakeDaemon.start(creating())
  const { code, stdout, stderr } = await run(daemon, ['invite'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^For one host, until .+\. Whoever has it may join: show it to nobody else\.\n/)
  expect(stdout).toContain(`\n${TICKET}\n`)
  expect(stdout).not.toMatch(/█|internet/)
  expect(daemon.calls.at(-1)).toEqual({ method: 'invites.create', params: { uses: 1 } })
  expect(JSON.parse((await run(daemon, ['invite', '--json'])).stdout)).toEqual(CREATED)
})

test('`invite` passes on what it is told, and says where a ticket works on this network only', async () => {
  await using daemon = await FakeDaemon.start(creating({ outside: false, uses: 3 }))
  const given = ['--uses', '3', '--for', '7d', '--peer', ANNA, '--petname', 'ben']
  const { stdout } = await run(daemon, ['invite', ...given])
  expect(stdout).toContain('For 3 hosts, ')
  expect(stdout).toContain('Nothing in it works from the internet')
  expect(daemon.calls.at(-1)?.params).toEqual({ uses: 3, lifetime: 7 * 86_400_000, for: ANNA, petname: 'ben' })
})

test.each([
  ['--uses', '0'],
  ['--uses', 'two'],
  ['--for', '10'],
  ['--for', '400d'],
  ['--for', '0s'],
])('`invite %s %s` is wrong usage', async (flag, value) => {
  await using daemon = await FakeDaemon.start(creating())
  expect(await run(daemon, ['invite', flag, value])).toMatchObject({ code: 2 })
  expect(daemon.calls).toEqual([])
})

test('the QR code goes to a terminal, and to files that nobody else reads', async () => {
  await using daemon = await FakeDaemon.start(creating())
  const folder = await mkdtemp(join(tmpdir(), 'partyline-qr-'))
  try {
    const shown = startCommand(command('invite'), {}, { home: daemon.home })
    await shown.done
    expect(shown.printed()).toMatch(/[▀▄█]{20}/)
    expect((await run(daemon, ['invite', '--qr'])).stdout).toMatch(/[▀▄█]{20}/)
    const [png, svg] = [join(folder, 'a.png'), join(folder, 'a.svg')]
    await run(daemon, ['invite', '--png', png, '--svg', svg])
    expect((await readFile(png)).subarray(1, 4).toString()).toBe('PNG')
    expect(await readFile(svg, 'utf8')).toContain('<svg')
    expect((await stat(png)).mode & 0o777).toBe(0o600)
    expect(await run(daemon, ['invite', '--png', join(folder, 'no', 'a.png')])).toMatchObject({ code: 1 })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('`invite list` and `invite revoke` are commands below `invite`', async () => {
  const row = { id: ID, created: EXPIRES - 86_400, expires: EXPIRES, for: '', petname: '' }
  const list: Result<'invites.list'> = [
    { ...row, state: 'open', uses: 2, joined: [ANNA], for: ANNA, petname: 'ben' },
    { ...row, state: 'revoked', uses: 1, joined: [] },
  ]
  await using daemon = await FakeDaemon.start({ 'invites.list': () => list })
  const { stdout } = await run(daemon, ['invite', 'list'])
  expect(stdout).toMatch(/^mfzwizlnn5xgk {2}open +1 of 2 used +(23 h 59 min|24 h 0 min) left +for anna.+ as ben +anna/)
  expect(stdout).toMatch(/\nmfzwizlnn5xgk {2}revoked +0 of 1 used/)
  expect(JSON.parse((await run(daemon, ['invite', 'list', '--json'])).stdout)).toEqual(list)
  await run(daemon, ['invite', 'revoke', 'mfzw'])
  expect(daemon.calls.at(-1)).toEqual({ method: 'invites.revoke', params: { id: 'mfzw' } })
  expect(await run(daemon, ['invite', 'bogus'])).toMatchObject({ code: 2 })
  const { stdout: help } = await run(daemon, ['invite', '--help'])
  for (const word of ['--offline', 'list', 'revoke']) expect(help).toContain(word)
})

test('`join` takes a ticket in one word or several, or from standard input', async () => {
  await using daemon = await FakeDaemon.start({ 'invites.join': () => JOINED })
  const { code, stdout } = await run(daemon, ['join', TICKET, '--petname', 'anna'])
  expect(code).toBe(0)
  expect(stdout).toBe('anna and this host trust each other now\n`partyline chat anna` says hello.\n')
  await run(daemon, ['join', TICKET.slice(0, 50), TICKET.slice(50)])
  await run(daemon, ['join', '-'], `\n${TICKET}\n`)
  expect(daemon.calls.map(({ params }) => params)).toEqual([
    { ticket: TICKET, petname: 'anna' },
    { ticket: TICKET },
    { ticket: TICKET },
  ])
})

test('a ticket that is refused ends `join` with its code', async () => {
  await using daemon = await FakeDaemon.start({
    'invites.join': () => {
      throw new PartylineError('policy.ticket-used')
    },
  })
  expect(await run(daemon, ['join', TICKET])).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('(policy.ticket-used)'),
  })
})

test('`join` of an offer by hand shows the answer, and waits for the other side', async () => {
  const answer = { state: 'answer', peer: ANNA, name: 'anna-laptop', petname: '', answer: ANSWER, expires: EXPIRES }
  await using daemon = await FakeDaemon.start({ 'invites.join': () => answer, 'invites.wait': () => JOINED })
  const { stdout } = await run(daemon, ['join', TICKET])
  expect(stdout).toContain(`Take this answer back to anna-laptop:\n\n${ANSWER}\n`)
  expect(stdout).toMatch(/anna and this host trust each other now\n/)
  expect(daemon.calls.map(({ method }) => method)).toEqual(['invites.join', 'invites.wait'])
})

test('`invite --offline` takes the answer where it is pasted, broken into lines or not', async () => {
  const answers: string[] = []
  await using daemon = await FakeDaemon.start({
    ...creating(),
    'invites.answer': ({ ticket }: { ticket: string }) => {
      answers.push(ticket)
      if (ticket !== ANSWER) throw new PartylineError('usage.bad-ticket', 'its end is missing')
      return JOINED
    },
  })
  const { code, stdout, stderr } = await run(
    daemon,
    ['invite', '--offline'],
    `hello\n\n${ANSWER.slice(0, 100)}\n${ANSWER.slice(100)}\n`,
  )
  expect(answers).toEqual(['hello', ANSWER.slice(0, 100), ANSWER])
  expect(stderr).toContain('its end is missing; paste it again, or its other lines')
  expect(code).toBe(0)
  expect(stdout).toContain('Paste the answer here, and press Enter:\n')
  expect(stdout).toContain('anna and this host trust each other now')
  expect(daemon.calls[0]?.params).toEqual({ uses: 1, offline: true })
})

test('`invite --offline` takes a long answer on a terminal, and ends at Ctrl-C', async () => {
  await using daemon = await FakeDaemon.start({ ...creating(), 'invites.answer': () => JOINED })
  const typed = startCommand(command('invite'), { options: { offline: true } }, { home: daemon.home })
  await expect.poll(typed.printed).toContain('Paste the answer here')
  const long = `partyline:${'abcdefgh'.repeat(300)}`
  typed.type(`${long}\r`)
  await typed.done
  expect(daemon.calls.at(-1)).toEqual({ method: 'invites.answer', params: { ticket: long } })
  const left = startCommand(command('invite'), { options: { offline: true } }, { home: daemon.home })
  const failure = expect(left.done).rejects.toMatchObject({ code: 'local.closed' })
  await expect.poll(left.printed).toContain('Paste the answer here')
  left.type('\u0003')
  await failure
})

test('`invite --offline` ends when another command has taken the answer', async () => {
  await using daemon = await FakeDaemon.start(creating())
  const waiting = startCommand(command('invite'), { options: { offline: true } }, { home: daemon.home })
  await expect.poll(waiting.printed).toContain('Paste the answer here')
  daemon.publish('invites.joined', { id: 'another', peer: ANNA, name: 'carol' })
  daemon.publish('invites.joined', { id: ID, peer: ANNA, name: 'anna' })
  await waiting.done
  expect(waiting.printed()).toContain('anna and this host trust each other now')
})
