import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, toPartylineError } from '../../daemon/errors.ts'
import { receiveFiles } from '../../ipc/files/receiver.ts'
import { sendFiles } from '../../ipc/files/sender.ts'
import { type AppStream, type Client, connect } from '../../ipc/index.ts'
import type { Context } from '../command.ts'
import { duration, progressBar, rate, size } from '../format.ts'
import { TemporaryHost } from './temporary-host.ts'

const FILE_SIZE = 64 * 1024 * 1024
/** Everything together has to happen within this. */
const PATIENCE = 60_000

interface Host {
  readonly host: TemporaryHost
  readonly client: Client
}

/**
 * Two hosts on this machine find each other, connect, chat, and pass a message, a stream and a file. Says what happened as it happened;
 * ends with 0 only if all of it did.
 */
export async function runDemo(context: Context): Promise<number> {
  const { stdout, paint } = context
  const step = async <T>(title: string, task: () => Promise<T>, tell: (result: T) => string): Promise<T> => {
    const began = performance.now()
    const result = await task()
    const facts = tell(result)
    stdout.write(
      `${paint('green', '✔')} ${title}${facts && `: ${facts}`} ${paint('dim', `(${duration(performance.now() - began)})`)}\n`,
    )
    return result
  }
  const patience = setTimeout(() => {
    stdout.write(`${paint('red', '✘')} not done after ${PATIENCE / 1000} s\n`)
    process.exit(EXIT.timedOut)
  }, PATIENCE)
  const stack = new AsyncDisposableStack()
  try {
    await play(stack, step, context)
    stdout.write(
      `${paint('bold', 'Everything worked.')} Run \`partyline start\` on two machines of one network to see them meet.\n`,
    )
    return EXIT.done
  } catch (error) {
    const { message, code } = toPartylineError(error)
    stdout.write(`${paint('red', '✘')} ${message} (${code})\n`)
    return EXIT.failed
  } finally {
    await stack.disposeAsync()
    clearTimeout(patience)
  }
}

type Step = <T>(title: string, task: () => Promise<T>, tell: (result: T) => string) => Promise<T>

async function play(stack: AsyncDisposableStack, step: Step, context: Context): Promise<void> {
  const begin = async (name: string): Promise<Host> => {
    const host = stack.use(await TemporaryHost.start(name))
    const client = stack.use(await connect({ home: host.home, app: 'demo', control: true, reconnect: true }))
    return { host, client }
  }
  const [anna, ben] = await step(
    'two hosts started',
    () => Promise.all([begin('anna'), begin('ben')]),
    (hosts) => hosts.map(({ host }) => `${host.name} ${host.id.slice(0, 8)}`).join(', '),
  )
  await step(
    'they found each other',
    () => Promise.all([untilSees(anna, ben), untilSees(ben, anna)]),
    ([sighting]) => `${sighting.method}, ${sighting.address}${sighting.interface ? ` on ${sighting.interface}` : ''}`,
  )
  await step(
    'anna connected to ben',
    () => anna.client.call('sessions.open', { peer: ben.host.id }),
    ({ route, carrier, cipher, group }) => `${route} over ${carrier}, ${cipher}, ${group}`,
  )
  await step(
    'both see the same words',
    () => words(anna, ben),
    (same) => same.join(' '),
  )
  await step(
    'a chat line each way',
    () => chat(anna, ben),
    (lines) => lines.join(' / '),
  )
  await step(
    'a message',
    () => message(anna, ben),
    (text) => `"${text}" acknowledged by the app that took it`,
  )
  await step(
    'a stream',
    () => stream(anna, ben),
    (bytes) => `${size(bytes)} there, the count back`,
  )
  await step(
    'a file',
    () => file(anna, ben, context),
    (sent) =>
      `${size(FILE_SIZE)} at ${rate((FILE_SIZE * 8000) / sent.elapsed)}, sha256 ${sent.sha256.slice(0, 16)}… on both sides`,
  )
  await step(
    'ben left, and anna saw it',
    async () => {
      const gone = until(anna, (peers) => !peers.some(({ id }) => id === ben.host.id))
      await ben.client.close()
      await ben.host.stop()
      await gone
    },
    () => '',
  )
}

type Peers = Awaited<ReturnType<typeof listPeers>>
const listPeers = ({ client }: Host) => client.call('peers.list', {})

/** Resolves when the list of peers satisfies the condition; asks again at every change. */
async function until(host: Host, condition: (peers: Peers) => boolean): Promise<Peers> {
  const events = await host.client.events(['peers'])
  for (let peers = await listPeers(host); ; peers = await listPeers(host)) {
    if (condition(peers)) {
      await events.return?.()
      return peers
    }
    await events.next()
  }
}

async function untilSees(one: Host, other: Host) {
  const peers = await until(one, (list) => list.some(({ id }) => id === other.host.id))
  const [sighting] = peers.find(({ id }) => id === other.host.id)?.sightings ?? []
  return sighting ?? { method: 'session', address: 'this machine', interface: '' }
}

async function words(one: Host, other: Host): Promise<string[]> {
  const mine = await one.client.call('peers.verify', { peer: other.host.id })
  const theirs = await other.client.call('peers.verify', { peer: one.host.id })
  if (mine.words.join(' ') !== theirs.words.join(' ')) throw new Error('the words differ')
  return mine.words
}

async function chat(one: Host, other: Host): Promise<string[]> {
  const say = async (from: Host, to: Host, text: string): Promise<string> => {
    const events = await to.client.events(['chat'])
    await from.client.call('chat.send', { peer: to.host.id, text })
    for await (const event of events)
      if (event.name === 'chat.received' && event.params.line.direction === 'in') return event.params.line.text
    throw new Error('the chat line did not arrive')
  }
  return [await say(one, other, 'hello ben'), await say(other, one, 'hi anna')]
}

async function message(one: Host, other: Host): Promise<string> {
  const messages = await other.client.messages('demo')
  await one.client.call('messages.send', { peer: other.host.id, channel: 'demo', data: 'e2e4' })
  const { value } = await messages.next()
  await messages.return?.()
  return Buffer.from(value.data).toString()
}

async function stream(one: Host, other: Host): Promise<number> {
  const sent = randomBytes(1024 * 1024)
  const accepted = other.client.acceptStream('demo')
  accepted.catch(() => {})
  const opened = await openWhenAccepted(one, other, 'demo')
  const { socket } = await accepted
  opened.socket.end(sent)
  let received = 0
  for await (const chunk of socket) received += (chunk as Buffer).length
  socket.end(String(received))
  let answer = ''
  for await (const chunk of opened.socket) answer += String(chunk)
  const { clean } = await opened.outcome
  if (Number(answer) !== sent.length || !clean) throw new Error(`the stream brought ${answer} of ${sent.length} bytes`)
  return received
}

/** The acceptor has its own connection: that it waits may be heard of a moment after the opener is there. */
async function openWhenAccepted(one: Host, other: Host, service: string): Promise<AppStream> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await one.client.openStream(other.host.id, service)
    } catch (error) {
      if (toPartylineError(error).code !== 'peer.no-service' || attempt === 50) throw error
      await sleep(20)
    }
  }
}

async function file(one: Host, other: Host, { stdout }: Context): Promise<{ sha256: string; elapsed: number }> {
  const source = join(one.host.home, 'demo.bin')
  const inbox = join(other.host.home, 'received')
  await mkdir(inbox)
  const expected = await writeRandom(source)
  let finished: { sha256: string; elapsed: number } | undefined
  const receiving = (async () => {
    for await (const event of receiveFiles(other.client, { dir: inbox, accept: 'all', once: true })) {
      if (event.kind === 'progress' && stdout.isTTY) stdout.write(`\r\u001b[2K  ${progressBar(event)}`)
      if (event.kind === 'file') finished = event
    }
  })()
  for await (const event of sendFiles(one.client, { peer: other.host.id, paths: [source] }))
    if (event.kind === 'warning') throw new Error(event.message)
  await receiving
  if (stdout.isTTY) stdout.write('\r\u001b[2K')
  const received = createHash('sha256')
    .update(await readFile(join(inbox, 'demo.bin')))
    .digest('hex')
  if (!finished || received !== expected || finished.sha256 !== expected)
    throw new Error('the file that arrived is another')
  return finished
}

async function writeRandom(path: string): Promise<string> {
  const hash = createHash('sha256')
  await using handle = await open(path, 'w')
  for (let written = 0; written < FILE_SIZE; written += 2 ** 22) {
    const piece = randomBytes(2 ** 22)
    hash.update(piece)
    await handle.write(piece)
  }
  return hash.digest('hex')
}
