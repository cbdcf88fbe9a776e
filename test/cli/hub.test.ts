import { expect, test } from 'vitest'
import { hubCommands } from '../../cli/commands/hub.ts'
import { PartylineError } from '../../daemon/errors.ts'
import type { HubStatus } from '../../ipc/methods.ts'
import { ANNA, FakeDaemon } from './fake-daemon.ts'
import { runCli } from './run-cli.ts'
import { startCommand } from './run-command.ts'

const TICKET = `partyline-hub:${ANNA}?a=192.168.50.254:5223&n=lanparty`
const HUB: HubStatus = {
  running: true,
  name: 'lanparty',
  domain: 'hub-lanparty.local',
  port: 5223,
  addresses: ['192.168.50.254', 'fd00::1'],
  fingerprint: '3f:9a:00',
  certificate: '/home/anna/hub.pem',
  people: [],
  hubs: [],
}
const NO_HUB: HubStatus = { ...HUB, running: false, name: '', domain: '', port: 0, addresses: [] }
const DEN: HubStatus['hubs'][number] = {
  peer: ANNA,
  name: 'den',
  domain: 'hub-den.local',
  address: 'fd00::9',
  port: 5223,
  state: 'joined',
  detail: '',
  people: [{ jid: 'zoe@hub-den.local', name: 'zoe', kind: 'chat', presence: { show: 'available', text: '' } }],
}
const DOOR = { pin: '271828', ticket: TICKET }

const run = async (daemon: FakeDaemon, ...args: string[]) => runCli(['hub', ...args, '--home', daemon.home])
const json = async (daemon: FakeDaemon, ...args: string[]): Promise<unknown> =>
  JSON.parse((await run(daemon, ...args, '--json')).stdout)

test.each([
  ['start', []],
  ['pin', []],
])('`hub %s` shows everything that people and hosts need to log in', async (name, options) => {
  await using daemon = await FakeDaemon.start({
    'hub.start': () => HUB,
    'hub.status': () => HUB,
    'hub.pin': () => DOOR,
  })
  const [human, machine] = await Promise.all([run(daemon, name, ...options), json(daemon, name, ...options)])
  expect(human).toMatchObject({ code: 0, stderr: '' })
  expect(human.stdout).toContain('lanparty is open\n')
  expect(human.stdout).toMatch(/domain +hub-lanparty\.local\n +address +192\.168\.50\.254, fd00::1\n +port +5223\n/)
  expect(human.stdout).toMatch(/PIN +271828\n +certificate +\/home\/anna\/hub\.pem\n +SHA-256 +3f:9a:00\n/)
  expect(human.stdout).toContain(`ticket       ${TICKET}\n`)
  expect(human.stdout).toContain('account nickname@hub-lanparty.local, password 271828')
  expect(human.stdout).toContain('/connect nickname@hub-lanparty.local server 192.168.50.254 port 5223 tls legacy\n')
  expect(human.stdout).toContain('partyline hub join 192.168.50.254:5223\n')
  expect(human.stdout).not.toContain('█')
  expect(machine).toEqual({ ...HUB, ...DOOR })
})

test('a hub on no network says that nobody can reach it', async () => {
  await using daemon = await FakeDaemon.start({
    'hub.start': () => ({ ...HUB, addresses: [] }),
    'hub.pin': () => DOOR,
  })
  const { stdout } = await run(daemon, 'start')
  expect(stdout).toMatch(/address +none: no network takes part/)
  expect(stdout).toMatch(/Nobody else can reach it yet: `partyline doctor` tells why\.\n$/)
})

test('a PIN that is none is wrong usage', async () => {
  await using daemon = await FakeDaemon.start()
  expect(await run(daemon, 'pin', '--pin', '12')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('a PIN is 6 to 12 digits'),
  })
  expect(daemon.calls).toEqual([])
})

test('that a host is logged in at its own hub is told to machines only', async () => {
  const status = { ...HUB, hubs: [{ ...DEN, name: 'lanparty', domain: HUB.domain, address: '127.0.0.1' }] }
  await using daemon = await FakeDaemon.start({ 'hub.status': () => status })
  expect((await run(daemon, 'status')).stdout).not.toContain('Joined hubs')
  expect(await json(daemon, 'status')).toEqual(status)
})

test('on a terminal the ticket is a QR code as well', async () => {
  await using daemon = await FakeDaemon.start({ 'hub.start': () => HUB, 'hub.pin': () => DOOR })
  const [start] = hubCommands
  if (!start) throw new Error('there is no command')
  const { done, printed } = startCommand(start, {}, daemon)
  await done
  const code = printed()
    .split('\n')
    .filter((line) => /[█▀▄]/.test(line))
  expect(code.length).toBeGreaterThan(15)
})

test('options reach the daemon as they were given', async () => {
  await using daemon = await FakeDaemon.start({
    'hub.start': () => HUB,
    'hub.status': () => HUB,
    'hub.pin': () => DOOR,
  })
  await run(daemon, 'start', '--name', 'Zoës Höhle')
  await run(daemon, 'pin')
  await run(daemon, 'pin', '--change')
  await run(daemon, 'pin', '--pin', '123456')
  await run(daemon, 'join', TICKET)
  await run(daemon, 'leave', 'den')
  expect(daemon.calls.filter(({ method }) => method !== 'hub.status')).toEqual([
    { method: 'hub.start', params: { name: 'Zoës Höhle' } },
    { method: 'hub.pin', params: {} },
    { method: 'hub.pin', params: {} },
    { method: 'hub.pin', params: { change: true } },
    { method: 'hub.pin', params: { pin: '123456' } },
    { method: 'hub.join', params: { hub: TICKET } },
    { method: 'hub.leave', params: { hub: 'den' } },
  ])
})

test('`hub status` shows who is logged in here, and how joined hubs fare', async () => {
  const status: HubStatus = {
    ...HUB,
    people: [
      { jid: `${ANNA}@hub-lanparty.local`, name: 'anna', kind: 'host', presence: { show: 'available', text: '' } },
      { jid: 'zoë@hub-lanparty.local', name: 'zoë', kind: 'chat', presence: { show: 'away', text: 'beim Essen' } },
    ],
    hubs: [
      DEN,
      { ...DEN, name: '', domain: '', address: '10.0.0.1', state: 'failed', detail: 'no answer', people: [] },
    ],
  }
  await using daemon = await FakeDaemon.start({ 'hub.status': () => status })
  const [human, machine] = await Promise.all([run(daemon, 'status'), json(daemon, 'status')])
  expect(human).toMatchObject({ code: 0, stderr: '' })
  expect(human.stdout).toBe(`lanparty, the hub of this host: hub-lanparty.local, port 5223 at 192.168.50.254, fd00::1
  anna  host       annabbbbbbbb
  zoë   chat only  xmpp:zoë@hub-lanparty.local  away: beim Essen

Joined hubs
  den  joined  [fd00::9]:5223  1 there
  ?    failed  10.0.0.1:5223            no answer
`)
  expect(machine).toEqual(status)
})

test('without any hub `hub status` says what to do', async () => {
  await using daemon = await FakeDaemon.start({ 'hub.status': () => NO_HUB })
  expect(await run(daemon, 'status')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^This host is no hub and has joined none\. `partyline hub start`/),
  })
})

test('`hub join` shows where it stands, `hub leave` and `hub stop` that it is done', async () => {
  const joining: HubStatus = { ...NO_HUB, hubs: [{ ...DEN, name: '', state: 'joining', people: [] }] }
  await using daemon = await FakeDaemon.start({
    'hub.join': () => joining,
    'hub.leave': () => NO_HUB,
    'hub.stop': () => ({}),
  })
  const join = await run(daemon, 'join', '[fd00::9]:5223')
  expect(join.stdout).toMatch(/^ {2}hub-den\.local {2}joining {2}\[fd00::9\]:5223\n.*`partyline hub status`/)
  expect((await run(daemon, 'leave', 'den')).stdout).toBe('left den\n')
  expect((await run(daemon, 'stop')).stdout).toBe('the hub has ended\n')
  expect(await json(daemon, 'join', 'fd00::9')).toEqual(joining)
  expect(await json(daemon, 'leave', 'den')).toEqual(NO_HUB)
  expect(await json(daemon, 'stop')).toEqual({})
})

test('where there is no such hub the exit code is 4, where the daemon refuses it is 5', async () => {
  const refuse = (code: 'local.no-hub' | 'policy.owner-only') => () => {
    throw new PartylineError(code)
  }
  await using daemon = await FakeDaemon.start({
    'hub.stop': refuse('local.no-hub'),
    'hub.pin': refuse('local.no-hub'),
    'hub.leave': refuse('local.no-hub'),
    'hub.start': refuse('policy.owner-only'),
  })
  const ended = await Promise.all(
    [['stop'], ['pin'], ['leave', 'x'], ['start']].map((args) => run(daemon, ...args, '--json')),
  )
  expect(ended.map(({ code }) => code)).toEqual([4, 4, 4, 5])
  expect(ended.map(({ stdout }) => JSON.parse(stdout).error.code)).toEqual([
    'local.no-hub',
    'local.no-hub',
    'local.no-hub',
    'policy.owner-only',
  ])
})

test('what others call themselves cannot steer the terminal', async () => {
  const evil = '\u001b[2J\nboo'
  const status: HubStatus = {
    ...HUB,
    people: [{ jid: `${evil}@x`, name: evil, kind: 'chat', presence: { show: 'busy', text: evil } }],
    hubs: [{ ...DEN, name: evil, address: evil, detail: evil }],
  }
  await using daemon = await FakeDaemon.start({ 'hub.status': () => status })
  const { stdout } = await run(daemon, 'status')
  expect(stdout).not.toContain('\u001b')
  expect(stdout.trim().split('\n')).toHaveLength(5)
})
