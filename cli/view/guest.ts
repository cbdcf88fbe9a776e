import { randomBytes } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { receiveFiles } from '../../ipc/files/receiver.ts'
import { sendFiles } from '../../ipc/files/sender.ts'
import { type Client, connect } from '../../ipc/index.ts'
import { TemporaryHost } from './temporary-host.ts'

/** Long enough for its progress bar to be seen. */
const GIFT_SIZE = 128 * 1024 * 1024
const GIFT_PIECE = 4 * 1024 * 1024

/**
 * A second host on this machine, for somebody who is alone: it connects, says hello, offers a file, takes every file it is offered and
 * answers every chat line of a host. It leaves, with everything it kept, when it is disposed of.
 */
export async function startGuest(self: string): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack()
  try {
    const host = stack.use(await TemporaryHost.start('guest'))
    const client = stack.use(await connect({ home: host.home, app: 'partyline-guest', control: true, reconnect: true }))
    const leaving = new AbortController()
    stack.defer(() => leaving.abort())
    // What goes wrong here the person at the view sees for themselves: the guest leaves, or is silent.
    for (const task of [greet, answer, receive]) task(client, self, host.home, leaving.signal).catch(() => {})
    return stack
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

async function greet(client: Client, self: string, home: string, signal: AbortSignal): Promise<void> {
  await untilSeen(client, self)
  await client.call('sessions.open', { peer: self })
  await client.call('chat.send', {
    peer: self,
    text: 'Hello! I run on your machine while this view is open. Press a to take the file I offer.',
  })
  const gift = join(home, 'gift.bin')
  await writeRandom(gift, GIFT_SIZE)
  for await (const event of sendFiles(client, { peer: self, paths: [gift], signal }))
    if (event.kind === 'done')
      await client.call('chat.send', { peer: self, text: 'It arrived whole. Offer me one with f, or say something.' })
}

async function answer(client: Client): Promise<void> {
  for await (const event of await client.events(['chat'])) {
    if (event.name !== 'chat.received') continue
    const { peer, direction, text, encrypted } = event.params.line
    // A plain XMPP client may answer by itself as well, without end.
    if (direction !== 'in' || !encrypted) continue
    await client.call('chat.send', { peer, text: `You said: ${text.slice(0, 1000)}` })
  }
}

async function receive(client: Client, _self: string, home: string, signal: AbortSignal): Promise<void> {
  const dir = join(home, 'received')
  await mkdir(dir)
  for await (const event of receiveFiles(client, { dir, accept: 'all', signal })) if (event.kind === 'failed') return
}

async function untilSeen(client: Client, peer: string): Promise<void> {
  const events = await client.events(['peers'])
  for (;;) {
    const peers = await client.call('peers.list', {})
    if (peers.some(({ id, state }) => id === peer && state !== 'away')) break
    const { done } = await events.next()
    if (done) break
  }
  await events.return?.()
}

/** Fills a file with bytes that do not compress; the pieces repeat, so it is quick. */
async function writeRandom(path: string, length: number): Promise<void> {
  const piece = randomBytes(GIFT_PIECE)
  await using handle = await open(path, 'w')
  for (let written = 0; written < length; written += piece.length) await handle.write(piece)
}
