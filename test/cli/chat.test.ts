import { expect, test, vi } from 'vitest'
import { chatCommand } from '../../cli/commands/chat.ts'
import { PartylineError } from '../../daemon/errors.ts'
import type { ChatLine, Params } from '../../ipc/methods.ts'
import { ALICE, ANNA, contactView, FakeDaemon, peerView } from './fake-daemon.ts'
import { runCli } from './run-cli.ts'
import { startCommand } from './run-command.ts'

const line = (change: Partial<ChatLine>): ChatLine => ({
  peer: ALICE,
  direction: 'in',
  text: 'hi',
  at: 1,
  encrypted: false,
  via: 'lan',
  ...change,
})

const withAlice = (change: Partial<Parameters<typeof FakeDaemon.start>[0] & object> = {}) =>
  FakeDaemon.start({
    'peers.get': () => contactView(),
    'chat.history': () => [line({ text: 'früher\u001b[2J' })],
    'chat.send': ({ text }: Params<'chat.send'>) => line({ direction: 'out', text }),
    ...change,
  })

test('a chat with a plain XMPP client says at every line that it is not encrypted', async () => {
  await using daemon = await withAlice()
  const { code, stdout } = await runCli(['chat', 'alice', '--home', daemon.home], { input: 'grüß dich\nnoch da?\n\n' })
  const [heading, ...said] = stdout.trim().split('\n')
  expect(code).toBe(0)
  expect(heading).toMatch(/^chat with Alice, NOT encrypted: everyone on this LAN can read it; an empty line/)
  expect(said.map((one) => one.replace(/^.*?(?=Alice|you)/, ''))).toEqual([
    'Alice (not encrypted): früher�[2J',
    'you (not encrypted): grüß dich',
    'you (not encrypted): noch da?',
  ])
  expect(daemon.calls).toContainEqual({ method: 'chat.send', params: { peer: ALICE, text: 'grüß dich' } })
})

test('for machines it is the lines as they are', async () => {
  await using daemon = await withAlice()
  const { stdout } = await runCli(['chat', 'alice', '--json', '--home', daemon.home], { input: 'grüß dich\n\n' })
  expect(
    stdout
      .trim()
      .split('\n')
      .map((one) => JSON.parse(one)),
  ).toEqual([line({ text: 'früher\u001b[2J' }), line({ direction: 'out', text: 'grüß dich' })])
})

test('at a hub it is the hub that can read it', async () => {
  const [sighting] = contactView().sightings
  const atHub = contactView({ sightings: [{ ...sighting, method: 'hub' } as typeof sighting & object] })
  await using daemon = await withAlice({ 'peers.get': () => atHub })
  const { stdout } = await runCli(['chat', 'alice', '--home', daemon.home], { input: '\n' })
  expect(stdout).toContain('chat with Alice, NOT encrypted end to end: the hub can read it;')
})

test('a chat with a host is encrypted, and its lines bear no mark', async () => {
  await using daemon = await FakeDaemon.start({
    'peers.get': () => peerView(),
    'chat.history': () => [line({ peer: ANNA, encrypted: true, via: 'signal' })],
  })
  const { stdout } = await runCli(['chat', 'anna', '--home', daemon.home], { input: '\n' })
  expect(stdout).toMatch(/^chat with anna-laptop, encrypted; an empty line or Ctrl-D ends it\n.*anna-laptop: hi\n$/)
})

test('on a terminal, which shows what is typed by itself, the mark follows the line', async () => {
  await using daemon = await withAlice()
  const { done, printed, type } = startCommand(chatCommand, { args: ['alice'] }, daemon)
  await vi.waitFor(() => expect(printed()).toContain('früher'))
  type('grüß dich\n')
  await vi.waitFor(() => expect(printed()).toContain('\n  sent (not encrypted)\n'))
  expect(printed()).not.toContain('grüß dich')
  daemon.publish('chat.received', { line: line({ text: 'selber' }) })
  await vi.waitFor(() => expect(printed()).toMatch(/Alice \(not encrypted\): selber\n/))
  type('\n')
  await done
})

test('that somebody is writing is said once, of the one who is chatted with', async () => {
  await using daemon = await withAlice()
  const { done, printed, type } = startCommand(chatCommand, { args: ['alice'] }, daemon)
  await vi.waitFor(() => expect(printed()).toContain('früher'))
  daemon.publish('chat.state', { peer: 'xmpp:bob@h2', composing: true })
  for (let i = 0; i < 50; i++) daemon.publish('chat.state', { peer: ALICE, composing: i % 2 === 0 })
  daemon.publish('chat.received', { line: line({ text: 'fertig' }) })
  daemon.publish('chat.state', { peer: ALICE, composing: true })
  daemon.publish('chat.received', { line: line({ text: 'noch was' }) })
  await vi.waitFor(() => expect(printed()).toContain('noch was'))
  expect(printed().match(/Alice is writing …\n/g)).toHaveLength(2)
  type('\n')
  await done
})

test.each([
  ['peer.not-found', 'peers.get', 4],
  ['policy.blocked', 'chat.send', 5],
  ['network.timeout', 'chat.send', 6],
] as const)('%s ends it with its exit code', async (code, method, exit) => {
  await using daemon = await withAlice({
    [method]: () => {
      throw new PartylineError(code)
    },
  })
  expect(await runCli(['chat', 'alice', '--home', daemon.home], { input: 'hallo\n\n' })).toMatchObject({
    code: exit,
    stderr: expect.stringContaining(`(${code})`),
  })
})

test('a name that looks like an escape sequence stays text', async () => {
  await using daemon = await withAlice({ 'peers.get': () => contactView({ name: 'Al\u001b[31mice\n12:00 you' }) })
  const { stdout } = await runCli(['chat', 'alice', '--home', daemon.home], { input: '\n' })
  expect(stdout).not.toContain('\u001b')
  expect(stdout.trim().split('\n')).toHaveLength(2)
})
