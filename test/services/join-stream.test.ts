import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { joinStream } from '../../daemon/services/join-stream.ts'
import type { SessionStream } from '../../daemon/session/session.ts'
import { Pair, socketPair } from '../session/loopback.ts'

/** Two apps whose sockets are joined by a stream between two hosts. */
async function apps(pair: Pair): Promise<{ near: Socket; far: Socket; streams: [SessionStream, SessionStream] }> {
  const [near, nearDaemon] = await socketPair()
  const [far, farDaemon] = await socketPair()
  const streams = await pair.stream('anna')
  joinStream(nearDaemon, streams[0])
  joinStream(farDaemon, streams[1])
  return { near, far, streams }
}

async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

describe('apps joined by a stream', () => {
  it('get every byte of each other, both ways at once', async () => {
    await using pair = await Pair.open()
    const { near, far, streams } = await apps(pair)
    const [there, back] = [randomBytes(5_000_000), randomBytes(3_000_000)]
    near.end(there)
    far.end(back)
    const [got, returned] = await Promise.all([read(far), read(near)])
    expect([hash(got), hash(returned)]).toEqual([hash(there), hash(back)])
    expect(await streams[0].outcome).toEqual({ clean: true, sent: there.length, received: back.length, unconfirmed: 0 })
    expect(await streams[1].outcome).toEqual({ clean: true, sent: back.length, received: there.length, unconfirmed: 0 })
  })

  it('may go on writing when the other has written everything', async () => {
    await using pair = await Pair.open()
    const { near, far, streams } = await apps(pair)
    near.end('question')
    expect((await read(far)).toString()).toBe('question')
    far.write('ans')
    await turn()
    far.end('wer')
    expect((await read(near)).toString()).toBe('answer')
    expect(await streams[0].outcome).toMatchObject({ clean: true, sent: 8, received: 6 })
  })

  it('get what was there before they were joined', async () => {
    await using pair = await Pair.open()
    const [near, nearDaemon] = await socketPair()
    const [far, farDaemon] = await socketPair()
    const streams = await pair.stream('bert')
    streams[0].write(Buffer.from('from the peer '))
    nearDaemon.unshift(Buffer.from('early '))
    near.end('late')
    joinStream(nearDaemon, streams[1])
    joinStream(farDaemon, streams[0])
    far.end()
    expect((await read(far)).toString()).toBe('early late')
    expect((await read(near)).toString()).toBe('from the peer ')
  })

  it('slow each other down: what nobody reads is not taken', async () => {
    await using pair = await Pair.open()
    const { near, far } = await apps(pair)
    const chunk = Buffer.alloc(1024 * 1024)
    let written = 0
    // Five sockets' buffers fill, and then no more is taken; what is taken must all arrive in the end.
    while (written < 200) {
      written++
      if (!near.write(chunk) && !(await drains(near))) break
    }
    expect(written).toBeLessThan(200)
    near.end()
    expect((await read(far)).length).toBe(written * chunk.length)
  })

  it('see the stream cut when the other goes away in the middle', async () => {
    await using pair = await Pair.open()
    const { near, far, streams } = await apps(pair)
    far.write('half')
    const [half] = (await once(near, 'data')) as [Buffer]
    expect(half.toString()).toBe('half')
    far.destroy()
    // That it left for good, and not only wrote everything, shows when something is written to it.
    const closed = closing(near)
    while (!near.destroyed) {
      near.write('more')
      await Promise.race([closed, turn()])
    }
    expect(await streams[0].outcome).toMatchObject({ clean: false, received: 4, error: 'peer.reset' })
    expect(await streams[1].outcome).toMatchObject({ clean: false, sent: 4, error: 'peer.reset' })
  })

  it('are let go when the session is lost', async () => {
    await using pair = await Pair.open()
    const { near, far, streams } = await apps(pair)
    near.resume()
    far.resume()
    const ended = Promise.all([ending(near), ending(far)])
    near.write('x')
    pair.bert.socket.destroy()
    await ended
    for (const { outcome } of streams) expect(await outcome).toMatchObject({ clean: false, error: 'network.lost' })
  })
})

/** True when the socket drains within a moment. */
async function drains(socket: Socket): Promise<boolean> {
  const drained = once(socket, 'drain').then(() => true)
  return Promise.race([drained, new Promise<false>((resolve) => setTimeout(resolve, 300, false))])
}

/** Resolves when the socket is closed, however. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** Resolves when nothing more will come. */
function ending(socket: Socket): Promise<void> {
  return Promise.race([closing(socket), new Promise<void>((resolve) => socket.once('end', () => resolve()))])
}
