import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import { MAX_MESSAGE } from '../../daemon/session/session.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { BERT, drain, electedLink, finish, linkOver, Pair, socketPair } from './loopback.ts'

describe('a session on its link', () => {
  it('carries messages both ways, and their acknowledgements', async () => {
    await using pair = await Pair.open()
    await Promise.all([
      pair.anna.session.send('chess', Buffer.from('e2e4'), { lane: 2 }),
      pair.bert.session.send('chess', Buffer.from('e7e5')),
    ])
    expect(pair.bert.messages.all).toMatchObject([{ channel: 'chess', lane: 2, number: 1, reliable: true }])
    expect(pair.anna.messages.all.map(({ data }) => Buffer.from(data).toString())).toEqual(['e7e5'])
  })

  it('keeps the order of ten thousand messages and the bytes of large ones', async () => {
    await using pair = await Pair.open()
    const data = Array.from({ length: 5000 }, (_, i) => Buffer.from(`${i}${'.'.repeat(i % 97 === 0 ? 50_000 : 10)}`))
    const sent = data.map((one) => pair.anna.session.send('c', one))
    await Promise.all(sent)
    expect(Buffer.concat(pair.bert.messages.all.map((message) => Buffer.from(message.data)))).toEqual(
      Buffer.concat(data),
    )
  })

  it('rejects a message that the peer refuses', async () => {
    await using pair = await Pair.open()
    pair.bert.answer = (message) => message.refuse('peer.no-listener')
    await expect(pair.anna.session.send('c', Buffer.from('x'))).rejects.toMatchObject({ code: 'peer.no-listener' })
  })

  it('refuses what the protocol does not allow before it is sent', async () => {
    await using pair = await Pair.open()
    const { session } = pair.anna
    const data = Buffer.from('x')
    await expect(session.send('c', Buffer.alloc(MAX_MESSAGE + 1))).rejects.toMatchObject({ code: 'usage.too-large' })
    for (const wrong of [session.send('', data), session.send('x'.repeat(129), data), session.openStream('')])
      await expect(wrong).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    for (const lane of [-1, 16, 1.5])
      await expect(session.send('c', data, { lane })).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await session.send('c', data)
  })

  it('slows a sender whose messages no app takes', async () => {
    await using pair = await Pair.open()
    pair.bert.answer = () => {}
    const sent = Array.from({ length: 6000 }, () => pair.anna.session.send('c', Buffer.from('x')))
    const told = Promise.allSettled(sent)
    while (pair.bert.messages.all.length < 4096) await pair.bert.messages.next()
    await pair.anna.session.ping()
    expect(pair.bert.messages.all).toHaveLength(4096)
    expect(pair.anna.session.idle).toBe(0)
    pair.bert.answer = (message) => message.accept()
    for (const message of [...pair.bert.messages.all]) message.accept()
    expect((await told).every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(pair.bert.messages.all).toHaveLength(6000)
  })

  it('measures round trips', async () => {
    await using pair = await Pair.open()
    expect(await pair.anna.session.ping()).toBeGreaterThan(0)
    expect(pair.anna.session.facts.rtt).toBeGreaterThan(0)
  })

  it('refuses pings when too many are under way, and ends those that are with the session', async () => {
    const clock = new VirtualClock()
    await using pair = await Pair.open(clock)
    await pair.anna.session.ping()
    const pings = Array.from({ length: 65 }, () => pair.anna.session.ping())
    const told = Promise.allSettled(pings)
    await expect(pings.at(-1)).rejects.toMatchObject({ code: 'local.limit' })
    pair.anna.socket.destroy()
    await pair.anna.session.closed
    expect((await told).slice(0, 64).map((one) => one.status === 'rejected' && one.reason.code)).toEqual(
      Array.from({ length: 64 }, () => 'network.lost'),
    )
    await expect(pair.anna.session.ping()).rejects.toMatchObject({ code: 'network.lost' })
  })
})

describe('a session whose link is lost', () => {
  it('loses, doubles and reorders nothing when it gets another, however often', async () => {
    await using pair = await Pair.open()
    for (const side of [pair.anna, pair.bert]) side.onLost = () => {}
    const sent: Promise<unknown>[] = []
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 50; i++) {
        const data = Buffer.from(`${round * 50 + i}${'.'.repeat(i % 10 === 0 ? 20_000 : 0)}`)
        sent.push(pair.anna.session.send('c', data), pair.bert.session.send('c', data))
      }
      for (let turns = 0; turns < round % 5; turns++) await turn()
      if (round % 3 === 0) pair.anna.socket.destroy()
      if (round % 3 === 1) pair.bert.socket.destroy()
      await pair.relink()
    }
    await Promise.all(sent)
    const expected = Array.from({ length: 1000 }, (_, i) => i)
    for (const side of [pair.anna, pair.bert])
      expect(side.messages.all.map(({ data }) => Number.parseInt(Buffer.from(data).toString(), 10))).toEqual(expected)
  })

  it('holds what is sent meanwhile, and says that it is looking for a link', async () => {
    await using pair = await Pair.open()
    for (const side of [pair.anna, pair.bert]) side.onLost = () => {}
    await pair.anna.session.ping()
    pair.bert.socket.destroy()
    while (pair.anna.losses.length === 0) await turn()
    expect(pair.anna.session.facts.state).toBe('resuming')
    expect(await pair.anna.session.send('c', Buffer.from('x'), { reliable: false })).toMatchObject({ sent: false })
    await expect(pair.anna.session.ping()).rejects.toMatchObject({ code: 'network.lost' })
    const held = pair.anna.session.send('c', Buffer.from('held'))
    await pair.relink()
    expect(await held).toMatchObject({ sent: true, number: 1, via: 'link' })
    expect(pair.anna.session.facts.state).toBe('open')
    expect(await pair.anna.session.ping()).toBeGreaterThan(0)
  })

  it('moves its streams to where it went, and opens those that were about to', async () => {
    await using pair = await Pair.open()
    for (const side of [pair.anna, pair.bert]) side.onLost = () => {}
    const streams = [await pair.stream('anna'), await pair.stream('bert')] as const
    const read = streams.flat().map((stream) => drain(stream))
    const late = pair.bert.session.openStream('late')
    for (let round = 0; round < 5; round++) {
      for (const stream of streams.flat()) stream.write(Buffer.alloc(150_000))
      await turn()
      await pair.relink()
    }
    for (const stream of streams.flat()) stream.end()
    expect(await Promise.all(read)).toEqual(Array.from({ length: 4 }, () => ({ bytes: 750_000, clean: true })))
    const accepted = await (await pair.anna.streams.next()).accept()
    finish(accepted, Buffer.from('hello'))
    expect(await drain(await late)).toEqual({ bytes: 5, clean: true })
  })

  it('is over when its peer says that it has what was never sent', async () => {
    await using pair = await Pair.open()
    pair.anna.onLost = () => {}
    const [near] = await socketPair()
    pair.anna.session.suspend()
    pair.anna.session.attach(electedLink('session-1', linkOver(near, BERT, true), { resumedAt: 1e9 }))
    expect(await pair.anna.session.closed).toMatchObject({ code: 'peer.malformed', by: 'local' })
    expect(near.destroyed).toBe(true)
  })
})

describe('the end of a session', () => {
  it('is told to the peer with its reason, after everything asked for before', async () => {
    await using pair = await Pair.open()
    await pair.anna.session.send('c', Buffer.from('x'))
    await pair.anna.session.close({ code: 'policy.blocked', message: 'go away' })
    expect(await pair.bert.session.closed).toEqual({ code: 'policy.blocked', message: 'go away', by: 'peer' })
    expect(pair.anna.ends).toEqual([{ code: 'policy.blocked', message: 'go away', by: 'local' }])
    await expect(pair.anna.session.send('c', Buffer.from('x'))).rejects.toMatchObject({ code: 'policy.blocked' })
    await expect(pair.bert.session.openStream('s')).rejects.toMatchObject({ code: 'network.lost' })
  })

  it('is told even when much waits in the link', async () => {
    await using pair = await Pair.open()
    pair.bert.socket.pause()
    for (let i = 0; i < 10; i++) pair.anna.session.send('c', Buffer.alloc(500_000)).catch(() => {})
    for (let i = 0; i < 10; i++) await turn()
    const closed = pair.anna.session.close({ code: 'done', message: 'enough' })
    pair.bert.socket.resume()
    expect(await pair.bert.session.closed).toEqual({ code: 'done', message: 'enough', by: 'peer' })
    await closed
  })

  it('is a lost network when the link breaks and no other comes', async () => {
    await using pair = await Pair.open()
    pair.bert.answer = () => {}
    const sent = pair.anna.session.send('c', Buffer.from('x'))
    await pair.bert.messages.next()
    pair.bert.socket.destroy()
    await expect(sent).rejects.toMatchObject({ code: 'network.lost' })
    expect(await pair.anna.session.closed).toMatchObject({ code: 'network.lost', by: 'network' })
    expect(await pair.bert.session.closed).toMatchObject({ code: 'network.lost', by: 'network' })
  })

  it('comes when the peer is silent for nine seconds', async () => {
    const clock = new VirtualClock()
    await using pair = await Pair.open(clock)
    await pair.anna.session.ping()
    pair.bert.socket.pause()
    clock.advance(8900)
    expect(pair.anna.ends).toEqual([])
    clock.advance(200)
    expect(pair.anna.ends).toMatchObject([{ code: 'network.lost', by: 'network' }])
  })

  it('comes at once when the address it runs on is gone', async () => {
    await using pair = await Pair.open()
    const lo = (address: string): NetworkInterface[] => [
      {
        name: 'lo',
        index: 1,
        kind: 'loopback',
        participating: true,
        multicast: false,
        addresses: [{ address, family: 4, prefix: 8, scope: 'loopback' }],
      } as NetworkInterface,
    ]
    pair.anna.session.networkChanged(lo('127.0.0.1'))
    expect(pair.anna.ends).toEqual([])
    pair.anna.session.networkChanged(lo('127.0.0.2'))
    expect(pair.anna.ends).toMatchObject([{ code: 'network.lost', by: 'network' }])
  })

  it('is counted as a refusal when the peer broke the rules', async () => {
    await using pair = await Pair.open()
    pair.bert.socket.write(Buffer.alloc(64, 0x7a))
    expect(await pair.anna.session.closed).toMatchObject({ code: 'peer.oversized', by: 'local' })
    expect(pair.anna.refusals.snapshot()).toEqual({ 'peer.oversized': 1 })
  })
})

describe('a stream', () => {
  it.each(['anna', 'bert'] as const)('opened by %s carries bytes both ways and ends clean', async (from) => {
    await using pair = await Pair.open()
    const [near, far] = await pair.stream(from)
    expect(near.id).toBe(far.id)
    expect(pair.anna.session.facts.streams).toBe(1)
    finish(near, Buffer.alloc(300_000, 1))
    expect(await drain(far)).toEqual({ bytes: 300_000, clean: true })
    finish(far, Buffer.alloc(5))
    expect(await drain(near)).toEqual({ bytes: 5, clean: true })
    expect(await near.outcome).toEqual({ clean: true, sent: 300_000, received: 5, unconfirmed: 0 })
    expect(await far.outcome).toEqual({ clean: true, sent: 5, received: 300_000, unconfirmed: 0 })
    expect(pair.anna.session.facts.streams).toBe(0)
  })

  it('brings what its opener said of it', async () => {
    await using pair = await Pair.open()
    const opening = pair.anna.session.openStream('files', 'offset=7')
    const incoming = await pair.bert.streams.next()
    expect(incoming).toMatchObject({ service: 'files', meta: 'offset=7' })
    incoming.refuse('peer.no-service')
    await expect(opening).rejects.toMatchObject({ code: 'peer.no-service' })
    await expect(incoming.accept()).rejects.toMatchObject({ code: 'network.lost' })
  })

  it('keeps its other half when one side has written everything', async () => {
    await using pair = await Pair.open()
    const [near, far] = await pair.stream('anna')
    finish(near, Buffer.alloc(0))
    expect(await drain(far)).toEqual({ bytes: 0, clean: true })
    expect(await far.incoming).toMatchObject({ clean: true, received: 0 })
    finish(far, Buffer.alloc(100_000))
    expect(await drain(near)).toEqual({ bytes: 100_000, clean: true })
  })

  it('that ends before its link has reached the other side ends clean there', async () => {
    await using pair = await Pair.open()
    const late = Promise.withResolvers<void>()
    pair.delay = () => late.promise
    const opening = pair.anna.session.openStream('service')
    const accepting = (await pair.bert.streams.next()).accept()
    const near = await opening
    finish(near, Buffer.from('brief'))
    // The word of the stream's end overtakes the stream.
    await pair.anna.session.ping()
    late.resolve()
    const far = await accepting
    expect(await drain(far)).toEqual({ bytes: 5, clean: true })
    finish(far, Buffer.alloc(0))
    await drain(near)
    expect(await near.outcome).toMatchObject({ clean: true, sent: 5 })
  })

  it('goes on over another link when its own is cut, on either side', async () => {
    await using pair = await Pair.open()
    const [near, far] = await pair.stream('anna')
    const [there, back] = [drain(far), drain(near)]
    for (let i = 1; i < 6; i++) {
      near.write(Buffer.alloc(100_000))
      far.write(Buffer.alloc(7))
      while (pair.streamLinks.length < i) await turn()
      pair.streamLinks.at(-1)?.destroy()
      while (pair.streamLinks.length === i) await turn()
    }
    near.end()
    far.end()
    expect(await there).toEqual({ bytes: 500_000, clean: true })
    expect(await back).toEqual({ bytes: 35, clean: true })
  })

  it('is not clean for a writer whose last bytes were not read', async () => {
    await using pair = await Pair.open()
    const [near, far] = await pair.stream('anna')
    finish(far, Buffer.alloc(0))
    await drain(near)
    finish(near, Buffer.alloc(1000))
    await pair.anna.session.ping()
    far.reset('peer.reset')
    expect(await near.outcome).toMatchObject({ clean: false, error: 'peer.reset' })
  })

  it('is lost with its session', async () => {
    await using pair = await Pair.open()
    const [near, far] = await pair.stream('bert')
    near.write(Buffer.alloc(7))
    const opening = pair.anna.session.openStream('other')
    opening.catch(() => {})
    const offered = await pair.bert.streams.next()
    pair.anna.socket.destroy()
    expect(await near.outcome).toEqual({
      clean: false,
      sent: 7,
      received: 0,
      unconfirmed: 7,
      error: 'network.lost',
    })
    expect(await far.outcome).toMatchObject({ clean: false, error: 'network.lost' })
    expect(pair.streamLinks.every(({ destroyed }) => destroyed)).toBe(true)
    await expect(opening).rejects.toMatchObject({ code: 'network.lost' })
    await pair.bert.session.closed
    await expect(offered.accept()).rejects.toMatchObject({ code: 'network.lost' })
  })

  it('does not stand in the way of a message', async () => {
    await using pair = await Pair.open()
    const [near] = await pair.stream('anna')
    // Nobody reads at the far end: the stream's link is full.
    while (near.write(Buffer.alloc(256 * 1024))) await turn()
    await pair.anna.session.send('c', Buffer.from('x'))
  })

  it('is one of at most 256', async () => {
    await using pair = await Pair.open()
    const opening = Array.from({ length: 256 }, () => pair.bert.session.openStream('s'))
    const told = Promise.allSettled(opening)
    await expect(pair.bert.session.openStream('s')).rejects.toMatchObject({ code: 'local.limit' })
    await pair.bert.session.close()
    expect((await told).every(({ status }) => status === 'rejected')).toBe(true)
  })
})
