import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ErrorCode, PartylineError } from '../../daemon/errors.ts'
import { METHODS } from '../../ipc/methods.ts'
import { ANNA, contactView, FakeDaemon, peerView, SELF, STATUS } from './fake-daemon.ts'
import { runCli, startCli } from './run-cli.ts'

const WRAPPER = fileURLToPath(new URL('../../cli/partyline', import.meta.url))
let empty: string

beforeAll(async () => {
  empty = await mkdtemp(join(tmpdir(), 'partyline-none-'))
})
afterAll(() => rm(empty, { recursive: true, force: true }))

const HUB = METHODS['hub.status'].example.result

const lines = (text: string): unknown[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

/** The lines a process prints, one a call. */
function linesOf({ stdout }: ChildProcess): () => Promise<string> {
  const iterator = createInterface({ input: stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  return async () => (await iterator.next()).value ?? ''
}

test('without a daemon a command ends with 3 and says how to start one, in one line', async () => {
  const { code, stdout, stderr } = await runCli(['peers', '--home', empty])
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
  expect(stderr).toMatch(/^partyline: .*`partyline daemon`\. \(local\.no-daemon\)\n$/)
  expect(stderr.trim().split('\n')).toHaveLength(1)
})

test('with --json the same error is one object on stdout', async () => {
  const { code, stdout, stderr } = await runCli(['peers', '--json', '--home', empty])
  expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
  expect(lines(stdout)).toEqual([
    {
      error: {
        code: 'local.no-daemon',
        message: expect.any(String),
        hint: expect.stringContaining('partyline daemon'),
      },
    },
  ])
})

test.each([
  ['an unknown command', ['frobnicate']],
  ['an unknown option', ['peers', '--frobnicate']],
  ['a missing argument', ['ping']],
  ['one argument too many', ['whoami', 'now']],
  ['no number where one is wanted', ['ping', 'anna', '-c', 'many']],
  ['a port that is none', ['daemon', '--port', '70000']],
  ['an unknown policy', ['receive', '--accept', 'some']],
  ['parameters that are no JSON', ['rpc', 'peers.list', '{']],
  ['an unknown shell', ['completion', 'tcsh']],
  ['a presence that is none', ['presence', 'asleep']],
  ['a hub command that is none', ['hub', 'frobnicate']],
  ['no hub to join', ['hub', 'join']],
  ['a chat with nobody', ['chat']],
  ['an unknown setting', ['config', 'get', 'colour']],
])('%s is wrong usage: exit 2, one line, and one object with --json', async (_, args) => {
  const [plain, json] = await Promise.all([
    runCli([...args, '--home', empty]),
    runCli([...args, '--home', empty, '--json']),
  ])
  expect(plain).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/^partyline: [^\n]+\(usage\.[a-z-]+\)\n$/),
  })
  expect(json).toMatchObject({ code: 2, stderr: '' })
  expect(lines(json.stdout)).toEqual([
    { error: { code: expect.stringMatching(/^usage\./), message: expect.any(String), hint: expect.any(String) } },
  ])
})

test.each<[ErrorCode, number]>([
  ['peer.not-found', 4],
  ['local.no-hub', 4],
  ['policy.blocked', 5],
  ['peer.not-authorized', 5],
  ['peer.chat-only', 1],
  ['network.timeout', 6],
  ['network.unreachable', 1],
])('an error %s of the daemon ends the command with %d', async (error, exit) => {
  await using daemon = await FakeDaemon.start({
    'sessions.open': () => {
      throw new PartylineError(error)
    },
  })
  const { code, stdout } = await runCli(['connect', 'anna', '--json', '--home', daemon.home])
  expect(code).toBe(exit)
  expect(lines(stdout)).toEqual([expect.objectContaining({ error: expect.objectContaining({ code: error }) })])
})

test('a peer cannot steer the terminal by what an error repeats of it', async () => {
  await using daemon = await FakeDaemon.start({
    'sessions.open': () => {
      throw new PartylineError('peer.closed', 'it said \u001b[2J\nboo')
    },
  })
  const { stderr } = await runCli(['connect', 'anna', '--home', daemon.home])
  expect(stderr).toBe('partyline: it said �[2J boo. Connect again if it is still there. (peer.closed)\n')
})

test('--json gives what the contract says', async () => {
  const session = {
    peer: ANNA,
    name: 'anna-laptop',
    route: 'lan',
    carrier: 'tcp',
    cipher: 'c',
    group: 'g',
    local: 'l',
    remote: 'r',
  }
  await using daemon = await FakeDaemon.start({
    'sessions.open': () => ({ ...session, dialled: true, rtt: null, age: 1, streams: 0, elapsed: 9.4 }),
    'sessions.ping': () => ({ rtt: 0.31, route: 'lan' }),
  })
  const json = async (...args: string[]): Promise<unknown[]> => {
    const { code, stdout, stderr } = await runCli([...args, '--json', '--home', daemon.home])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return lines(stdout)
  }
  const [status, peers, whoami, connected, pings, verified, version, setting, raw] = await Promise.all([
    json('status'),
    json('peers'),
    json('whoami'),
    json('connect', 'anna'),
    json('ping', 'anna', '-c', '2'),
    json('verify', 'anna'),
    json('version'),
    json('config', 'list'),
    json('rpc', 'peers.list'),
  ])
  expect(status).toEqual([STATUS])
  expect(peers).toEqual([[peerView()]])
  expect(whoami).toEqual([{ id: SELF, name: 'den-pc', words: ['amber', 'canyon', 'lotus', 'piano'] }])
  expect(connected).toEqual([expect.objectContaining({ peer: ANNA, route: 'lan', carrier: 'tcp', elapsed: 9.4 })])
  expect(pings).toEqual([
    { seq: 1, rtt: 0.31, route: 'lan' },
    { seq: 2, rtt: 0.31, route: 'lan' },
    { sent: 2, received: 2, min: 0.31, median: 0.31, max: 0.31 },
  ])
  expect(verified).toEqual(
    [{ peer: ANNA, words: expect.any(Array) }].map(({ words }) => expect.objectContaining({ words })),
  )
  expect(version).toEqual([
    expect.objectContaining({
      platform: process.platform,
      carriers: ['tcp', 'udx'],
      discovery: expect.arrayContaining(['xmpp', 'hub']),
      signallers: ['lan-stream', 'hub', 'session'],
    }),
  ])
  expect(setting).toEqual([expect.any(Array)])
  expect(raw).toEqual([[peerView()]])
})

test('people get aligned text without colours where there is no terminal', async () => {
  await using daemon = await FakeDaemon.start()
  const [peers, status] = await Promise.all([
    runCli(['peers', '--home', daemon.home]),
    runCli(['status', '--home', daemon.home]),
  ])
  expect(peers.stdout).toMatch(
    /^NAME {9}ID {12}KIND {2}STATE {2}PRESENCE {2}TRUST {2}ROUTE {2}SEEN BY {2}AT\nanna-laptop {2}annabbbbbbbb {2}host {2}seen/,
  )
  expect(peers.stdout + status.stdout).not.toContain('\u001b')
  expect(status.stdout).toContain('up 1 min 5 s')
  expect(status.stdout).toMatch(/peer\.malformed +3/)
})

test('`peers` tells who is chat only, who is away, and what stands in the way, each thing once', async () => {
  const away = { show: 'away', text: 'beim Essen \u001b[2J' } as const
  const list = [
    peerView({ presence: away, note: 'Reached through the hub\nonly.' }),
    contactView({ name: 'Zoë ☕' }),
    contactView({ id: 'xmpp:bob@h2', name: '', presence: { show: 'busy', text: '' }, sightings: [] }),
  ]
  await using daemon = await FakeDaemon.start({ 'peers.list': () => list })
  const [{ stdout }, json] = await Promise.all([
    runCli(['peers', '--home', daemon.home]),
    runCli(['peers', '--json', '--home', daemon.home]),
  ])
  const rows = stdout.trim().split('\n')
  expect(rows[1]).toMatch(/^anna-laptop +annabbbbbbbb +host +seen +away: beim Essen �\[2J +beacon +192\.168\.50\.2/)
  expect(rows[2]).toMatch(/^xmpp:bob@h2 +xmpp:bob@h2 +chat only +seen +busy$/)
  expect(rows[3]).toMatch(/^Zoë ☕ +xmpp:alice@h1 +chat only +seen +xmpp +192\.168\.50\.7 on eth0$/)
  expect(rows.slice(4)).toEqual([
    '',
    'anna-laptop: Reached through the hub only.',
    'xmpp:bob@h2, Zoë ☕: A plain XMPP client: chat only, and no key proves who it is.',
  ])
  expect(lines(json.stdout)).toEqual([list])
})

test('`status` tells presence and hubs in a line', async () => {
  const hub = {
    name: 'den',
    domain: 'hub-den.local',
    address: '192.168.50.9',
    port: 5223,
    peer: '',
    detail: '',
    people: [],
  }
  const status = async (answers: Parameters<typeof FakeDaemon.start>[0]): Promise<string> => {
    await using daemon = await FakeDaemon.start(answers)
    return (await runCli(['status', '--home', daemon.home])).stdout
  }
  const [busy, failing, plain] = await Promise.all([
    status({
      'presence.get': () => ({ show: 'busy', text: 'Kuchen' }),
      'hub.status': () => ({ ...HUB, hubs: [{ ...hub, state: 'joined' }] }),
    }),
    status({ 'hub.status': () => ({ ...HUB, running: false, hubs: [{ ...hub, state: 'failed' }] }) }),
    status({ 'hub.status': () => ({ ...HUB, running: false }) }),
  ])
  expect(busy).toContain('\nbusy: Kuchen; the hub lanparty, 0 logged in; joined den\n')
  expect(failing).toContain('\navailable; 1 hub not joined (`partyline hub status`)\n')
  expect(plain).toContain('\navailable; no hub\n')
})

test('when nobody is there, `peers` says what to do next', async () => {
  await using daemon = await FakeDaemon.start({ 'peers.list': () => [] })
  expect((await runCli(['peers', '--home', daemon.home])).stdout).toContain('Start Partyline on another machine')
})

test('`peers --watch` prints an object for everyone there, and for each change; Ctrl-C ends it with 0', async () => {
  await using daemon = await FakeDaemon.start()
  const child = startCli(['peers', '--watch', '--json', '--home', daemon.home])
  const printed = linesOf(child)
  expect(JSON.parse(await printed())).toEqual(peerView())
  daemon.publish('peers.changed', { peer: peerView({ state: 'connected' }) })
  expect(JSON.parse(await printed())).toMatchObject({ id: ANNA, state: 'connected' })
  daemon.publish('peers.gone', { id: ANNA, name: 'anna-laptop' })
  expect(JSON.parse(await printed())).toEqual({ id: ANNA, name: 'anna-laptop', state: 'gone' })
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([0, null])
})

test('a command that waits ends with an error when the daemon stops', async () => {
  const daemon = await FakeDaemon.start()
  const child = startCli(['peers', '--watch', '--json', '--home', daemon.home])
  const printed = linesOf(child)
  await printed()
  await daemon[Symbol.asyncDispose]()
  expect(JSON.parse(await printed())).toMatchObject({ error: { code: 'local.closed' } })
  expect(await once(child, 'close')).toEqual([1, null])
})

test('a chat sends its lines, shows what comes, and ends when the daemon stops though nobody closes stdin', async () => {
  const line = (direction: 'in' | 'out', text: string) => ({
    ...{ peer: ANNA, direction, text, at: 1 },
    ...({ encrypted: true, via: 'session' } as const),
  })
  const daemon = await FakeDaemon.start({
    'chat.history': () => [line('in', 'before')],
    'chat.send': ({ text }: { text: string }) => line('out', text),
  })
  const child = startCli(['chat', 'anna', '--json', '--home', daemon.home])
  const printed = linesOf(child)
  const next = async (): Promise<unknown> => JSON.parse(await printed())
  expect(await next()).toMatchObject({ direction: 'in', text: 'before' })
  child.stdin?.write('hello\n')
  expect(await next()).toMatchObject({ direction: 'out', text: 'hello' })
  daemon.publish('chat.received', { line: line('in', 'hi') })
  expect(await next()).toMatchObject({ direction: 'in', text: 'hi' })
  await daemon[Symbol.asyncDispose]()
  expect(await next()).toMatchObject({ error: { code: 'local.closed' } })
  expect(await once(child, 'close')).toEqual([1, null])
})

test('a reader that stops reading is no error', async () => {
  await using daemon = await FakeDaemon.start({
    'peers.list': () => Array.from({ length: 2000 }, (_, i) => peerView({ name: `host-${i}` })),
  })
  const child = startCli(['peers', '--home', daemon.home])
  let complaint = ''
  child.stderr?.on('data', (chunk) => {
    complaint += chunk
  })
  child.stdout?.once('data', () => child.stdout?.destroy())
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(complaint).toBe('')
})

test('the wrapper works from any folder and through symbolic links', async () => {
  const link = join(empty, 'link')
  await symlink(WRAPPER, link)
  await symlink('link', join(empty, 'link-to-link'))
  const { status, stdout } = spawnSync(join(empty, 'link-to-link'), ['version', '--json'], {
    cwd: '/',
    encoding: 'utf8',
  })
  expect(status).toBe(0)
  expect(JSON.parse(stdout).node).toMatch(/^2[4-9]\./)
})

test('settings are read and written without a daemon, and a damaged file is named and left as it is', async () => {
  const home = await mkdtemp(join(tmpdir(), 'partyline-config-'))
  const config = (...args: string[]) => runCli(['config', ...args, '--home', home])
  expect(await config('set', 'network.exclude', 'wlan0,tun0')).toMatchObject({ code: 0 })
  expect((await config('get', 'network.exclude')).stdout).toBe('wlan0,tun0\n')
  expect(await config('set', 'port', '0')).toMatchObject({ code: 2, stderr: expect.stringContaining('1 to 65535') })
  expect(await config('reset', 'network.exclude')).toMatchObject({ code: 0 })
  await writeFile(join(home, 'config.json'), '{"port": "many"}')
  expect(await config('get', 'port')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(join(home, 'config.json')),
  })
  expect(await readFile(join(home, 'config.json'), 'utf8')).toBe('{"port": "many"}')
  await rm(home, { recursive: true })
})

test('what changes the book or the settings goes to the owner socket, nothing else does', async () => {
  await using daemon = await FakeDaemon.start()
  await rm(join(daemon.home, 'partyline.sock'))
  const codes = await Promise.all(
    [['trust', 'anna'], ['config', 'list'], ['hub', 'start'], ['hub', 'leave', 'x'], ['peers'], ['presence']].map(
      async (args) => (await runCli([...args, '--home', daemon.home])).code,
    ),
  )
  expect(codes).toEqual([0, 0, 0, 0, 3, 3])
  expect(daemon.calls).toContainEqual({ method: 'peers.trust', params: { peer: 'anna' } })
})
