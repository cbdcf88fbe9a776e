import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect } from '../../ipc/index.ts'
import { type Ended, MAIN, runCli, startCli } from './run-cli.ts'

// Two real daemons on loopback, and the commands between them.
interface Host {
  readonly home: string
  readonly daemon: ChildProcess
}

let anna: Host
let ben: Host

async function startHost(name: string): Promise<Host> {
  const home = await mkdtemp(join(tmpdir(), 'partyline-cli-'))
  const daemon = startCli(['daemon', '--home', home, '--name', name, '--interface', 'lo'])
  const [ready] = await once(createInterface({ input: daemon.stdout as NodeJS.ReadableStream }), 'line')
  expect(ready).toMatch(/^partyline ready id=[a-z2-7]{52} port=\d+ socket=\S+partyline\.sock$/)
  return { home, daemon }
}

beforeAll(async () => {
  ;[anna, ben] = await Promise.all([startHost('anna'), startHost('ben')])
  await using client = await connect({ home: anna.home, app: 'test' })
  const events = await client.events(['peers'])
  while (!(await client.call('peers.list', {})).some(({ name }) => name === 'ben')) await events.next()
})

afterAll(async () => {
  for (const { daemon, home } of [anna, ben]) {
    daemon.kill('SIGTERM')
    const [code] = await once(daemon, 'exit')
    await rm(home, { recursive: true })
    expect(code, 'a daemon that is told to stop ends with 0').toBe(0)
  }
})

const on = ({ home }: Host, args: readonly string[], input: string | Buffer = ''): Promise<Ended> =>
  runCli([...args, '--home', home], { input })

/** Opens until somebody listens there. */
async function openWhenReady(service: string, input: string | Buffer): Promise<Ended> {
  for (;;) {
    const ended = await on(anna, ['open', 'ben', service], input)
    if (ended.code !== 4) return ended
  }
}

test('listen and open join both ends like netcat, each end in its own time', async () => {
  const listening = on(ben, ['listen', 'greeting'], 'hello anna')
  const opened = await openWhenReady('greeting', 'hello ben')
  expect(opened).toEqual({ code: 0, stdout: 'hello anna', stderr: '' })
  expect(await listening).toEqual({ code: 0, stdout: 'hello ben', stderr: '' })
})

test('megabytes arrive as they were sent', async () => {
  const sent = randomBytes(8 * 1024 * 1024).toString('base64')
  const listening = on(ben, ['listen', 'bulk'])
  expect(await openWhenReady('bulk', sent)).toMatchObject({ code: 0 })
  const { stdout, code } = await listening
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex')
  expect({ code, hash: hash(stdout) }).toEqual({ code: 0, hash: hash(sent) })
})

test('a service nobody listens to ends open with 4', async () =>
  expect(await on(anna, ['open', 'ben', 'nobody'])).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('peer.no-service'),
  }))

test('a message reaches the app that listens, and one without a listener ends with 4', async () => {
  const listener = startCli(['messages', 'chess', '--json', '--home', ben.home])
  const printed = once(createInterface({ input: listener.stdout as NodeJS.ReadableStream }), 'line')
  let sent = await on(anna, ['message', 'ben', 'chess', 'e2e4'])
  while (sent.code === 4) sent = await on(anna, ['message', 'ben', 'chess', 'e2e4'])
  expect(sent).toMatchObject({ code: 0, stdout: 'delivered\n' })
  expect(JSON.parse((await printed)[0])).toMatchObject({ channel: 'chess', text: 'e2e4', reliable: true })
  listener.kill('SIGINT')
  expect(await once(listener, 'exit')).toEqual([0, null])
  expect(await on(anna, ['message', 'ben', 'nobody', 'e2e4'])).toMatchObject({ code: 4 })
})

test('a listener that asks is asked once for a peer, and one that says no is heard by the sender', async () => {
  const listener = startCli(['messages', 'asked', '--accept', 'ask', '--json', '--home', ben.home])
  const printed = createInterface({ input: listener.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  listener.stdin?.write('no\n')
  let sent = await on(anna, ['message', 'ben', 'asked', 'hello'])
  while (sent.code === 4) sent = await on(anna, ['message', 'ben', 'asked', 'hello'])
  expect(sent).toMatchObject({ code: 5, stderr: expect.stringContaining('peer.not-accepted') })
  expect(JSON.parse(String((await printed.next()).value))).toMatchObject({
    request: { channel: 'asked', expires: 30_000 },
  })
  expect(await on(anna, ['message', 'ben', 'asked', 'hello'])).toMatchObject({ code: 5 })
  listener.kill('SIGINT')
  expect(await once(listener, 'exit')).toEqual([0, null])
})

test('a petname is a name for every command, and a blocked peer is refused by policy', async () => {
  expect(await on(anna, ['name', 'ben', 'Benny'])).toMatchObject({ code: 0 })
  expect(await on(anna, ['connect', 'Benny', '--json'])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('"route":"lan"'),
  })
  expect(await on(anna, ['block', 'Benny'])).toMatchObject({ code: 0 })
  expect(await on(anna, ['connect', 'Benny'])).toMatchObject({ code: 5 })
  expect(await on(anna, ['trust', 'Benny'])).toMatchObject({ code: 0 })
  expect(await on(anna, ['connect', 'Benny'])).toMatchObject({ code: 0 })
})

test('without a terminal, start runs a daemon, prints what happens, and leaves on Ctrl-C', async () => {
  const home = await mkdtemp(join(tmpdir(), 'partyline-cli-'))
  expect(await runCli(['config', 'set', 'network.interfaces', 'lo', '--home', home])).toMatchObject({ code: 0 })
  const view = startCli(['start', '--json', '--home', home])
  const printed = createInterface({ input: view.stdout as NodeJS.ReadableStream })
  const met = new Promise<void>((resolve) =>
    printed.on('line', (line) => {
      if (/^(anna|ben) is here \(/.test(JSON.parse(line).text)) resolve()
    }),
  )
  await met
  view.kill('SIGINT')
  expect(await once(view, 'exit')).toEqual([0, null])
  await rm(home, { recursive: true })
})

test('a daemon that was started for a while ends with the process that started it, even a killed one', async () => {
  const home = await mkdtemp(join(tmpdir(), 'partyline-cli-'))
  const start = `require('node:child_process').spawn(process.execPath, process.argv.slice(1), { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })`
  const starter = spawn(process.execPath, ['-e', start, MAIN, 'daemon', '--home', home, '--interface', 'lo'])
  await using client = await connect({ home, app: 'test', patience: 15_000 })
  const events = await client.events(['network'])
  starter.kill('SIGKILL')
  // The iteration ends with the daemon.
  for await (const _ of events);
  await rm(home, { recursive: true, force: true, maxRetries: 5 })
})
