import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { MAX_LANED_PEERS } from '../../daemon/services/messages/app.ts'
import { FIRST_PAUSE, MAX_TRIES, PATIENCE } from '../../daemon/services/messages/resends.ts'
import { MAX_WAITING } from '../../daemon/services/messages/send-budget.ts'
import { MAX_MESSAGE, type Sent } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import { ANNA, BEN, FakeApp, MessageHost } from './message-apps.ts'

const large = (): Buffer => Buffer.alloc(MAX_MESSAGE)
const LANES = [
  { priority: 0, weight: 1 },
  { priority: 1, weight: 3 },
]

/** A host, an app there, and what it sends. */
function start() {
  const host = new MessageHost()
  const app = new FakeApp()
  const results: (Sent | string)[] = []
  const send = (text: string | Buffer, options: object = {}, peer = ANNA): number => {
    const index = results.push('waiting') - 1
    host.messages
      .app(app)
      .send(peer, 'chess', Buffer.from(text), options)
      .then(
        (sent) => (results[index] = sent),
        (error: PartylineError) => (results[index] = error.code),
      )
    return index
  }
  return { host, app, results, send }
}

describe('sending', () => {
  it('opens a session, sends as the app, and tells what became of it', async () => {
    const { host, app, results, send } = start()
    send('a', { lane: 3, nodelay: true })
    await turn()
    const session = host.sessions.get(ANNA)
    expect(session?.sent[0]).toMatchObject({
      channel: 'chess',
      text: 'a',
      options: { reliable: true, lane: 3, now: false, nodelay: true, app: app.id },
    })
    session?.sent[0]?.resolve({ sent: true, number: 7, via: 'datagram' })
    await turn()
    expect(results).toEqual([{ sent: true, number: 7, via: 'datagram' }])
  })

  it('refuses what is too large before it opens a session', async () => {
    const { host, results, send } = start()
    send(Buffer.alloc(MAX_MESSAGE + 1))
    await turn()
    expect(results).toEqual(['usage.too-large'])
    expect(host.opened).toBe(0)
  })

  it('ends with the app: sessions forget it, and are told of it no more', async () => {
    const { host, app, results, send } = start()
    const [anna, ben] = [host.open(ANNA), host.open(BEN)]
    const opening = Promise.withResolvers<never>()
    send('a')
    await turn()
    host.sessions.delete(BEN)
    host.dial = () => opening.promise
    send('late', {}, BEN)
    host.sessions.set(BEN, ben)
    app.close()
    expect([anna.forgotten, ben.forgotten]).toEqual([[app.id], [app.id]])
    opening.resolve(ben as never)
    await turn()
    expect(results[1]).toBe('local.closed')
    expect(ben.sent).toEqual([])
  })
})

it('keeps the order of what was sent before the session opened, and behind it', async () => {
  const { host, send } = start()
  const opening = Promise.withResolvers<void>()
  host.dial = async (peer) => {
    const session = host.open(peer)
    await opening.promise
    return session
  }
  send('a')
  send('b', { restart: true })
  await turn()
  send('c')
  await turn()
  opening.resolve()
  await turn()
  send('d', { restart: true })
  send('e')
  await turn()
  expect(host.sessions.get(ANNA)?.texts).toEqual(['a', 'b', 'c', 'd', 'e'])
})

describe('the budget of an app', () => {
  it('lets so much be on its way to all peers; more waits in order, and the app is read no further', async () => {
    const { host, app, results, send } = start()
    const [anna, ben] = [host.open(ANNA), host.open(BEN)]
    for (let i = 0; i < 4; i++) send(large(), {}, i % 2 ? ANNA : BEN)
    for (const text of ['a', 'b']) send(text)
    expect(app.holds).toEqual([])
    for (let i = 0; i < 2; i++) send(large())
    await turn()
    expect([anna.sent.length, ben.sent.length]).toEqual([2, 2])
    expect(app.holds).toEqual([true])
    ben.sent[0]?.resolve()
    await turn()
    expect(anna.texts.slice(2, 4)).toEqual(['a', 'b'])
    expect(app.holds).toEqual([true])
    ben.sent[1]?.reject('peer.busy')
    await turn()
    expect(app.holds).toEqual([true, false])
    for (const { resolve } of anna.sent) resolve()
    await turn()
    for (const { resolve } of anna.sent) resolve()
    await turn()
    expect(results.filter((result) => typeof result === 'object')).toHaveLength(7)
  })

  it('bounds what waits', async () => {
    const { host, results, send } = start()
    host.open()
    for (let i = 0; i < 4; i++) send(large())
    for (let i = 0; i < MAX_WAITING; i++) send('x')
    const over = send('x')
    await turn()
    expect(results[over]).toBe('local.limit')
    expect(results.slice(0, over).every((result) => result === 'waiting')).toBe(true)
  })

  it('is given back by what waits when the app goes', async () => {
    const { host, app, results, send } = start()
    host.open()
    for (let i = 0; i < 5; i++) send(large())
    app.close()
    await turn()
    expect(results).toEqual(['waiting', 'waiting', 'waiting', 'waiting', 'local.closed'])
  })

  it('drops unreliable messages rather than let them wait', async () => {
    const { host, results, send } = start()
    const session = host.open()
    for (let i = 0; i < 5; i++) send(large(), { reliable: false, now: true })
    for (let i = 0; i < 4; i++) send(large())
    await turn()
    expect(session.sent).toHaveLength(8)
    expect(session.sent[0]?.options).toMatchObject({ reliable: false, now: true })
    expect(results[4]).toEqual({ sent: false, number: 0, via: 'link' })
    session.sent[0]?.resolve()
    await turn()
    send('next', { reliable: false })
    await turn()
    expect(session.sent).toHaveLength(9)
  })
})

describe('lanes', () => {
  it('are set in the session there is and in each that opens, until the app takes them back', () => {
    const { host, app } = start()
    const first = host.open()
    host.messages.app(app).setLanes(ANNA, LANES, 5)
    host.messages.app(new FakeApp()).setLanes(BEN, LANES)
    const second = host.open()
    for (const { lanes } of [first, second]) expect(lanes).toEqual([{ app: app.id, lanes: LANES, gather: 5 }])
    host.messages.app(app).setLanes(ANNA, [])
    expect(second.lanes[1]).toEqual({ app: app.id, lanes: [], gather: 0 })
    expect(host.open().lanes).toEqual([])
    host.messages.app(app).setLanes(ANNA, LANES)
    app.close()
    expect(host.sessions.get(ANNA)?.forgotten).toEqual([app.id])
    expect(host.open().lanes).toEqual([])
  })

  it('are set for so many peers', () => {
    const { host, app } = start()
    for (let i = 0; i < MAX_LANED_PEERS; i++) host.messages.app(app).setLanes(`p${i}` as PeerId, LANES)
    expect(() => host.messages.app(app).setLanes(ANNA, LANES)).toThrow(expect.objectContaining({ code: 'local.limit' }))
    host.messages.app(app).setLanes('p0' as PeerId, [{ priority: 1, weight: 1 }])
  })
})

describe('with restart', () => {
  it.each(['network.lost', 'peer.restarted', 'peer.closed'] as const)(
    'a message whose session ended by %s goes again in a new one, in order with those behind it',
    async (code) => {
      const { host, results, send } = start()
      const first = host.open()
      for (const text of ['a', 'b', 'c']) send(text, { restart: true })
      send('plain')
      await turn()
      expect(first.texts).toEqual(['a', 'b', 'c', 'plain'])
      first.sent[1]?.resolve()
      await turn()
      host.lose(ANNA, code)
      await turn()
      send('d', { restart: true })
      host.clock.advance(FIRST_PAUSE)
      await turn()
      const second = host.sessions.get(ANNA)
      expect(second?.texts).toEqual(['a', 'c', 'd'])
      for (const { resolve } of second?.sent ?? []) resolve()
      await turn()
      expect(results.map((result) => typeof result)).toEqual(['object', 'object', 'object', 'string', 'object'])
      expect(results[3]).toBe(code)
      send('e', { restart: true })
      await turn()
      expect(second?.texts).toEqual(['a', 'c', 'd', 'e'])
    },
  )

  it('does not go again when the peer refused it, or when there never was a session', async () => {
    const { host, results, send } = start()
    host.dial = () => Promise.reject(new PartylineError('network.unreachable'))
    send('a', { restart: true })
    await turn()
    const session = host.open()
    send('b', { restart: true })
    await turn()
    session.sent[0]?.reject('peer.no-listener')
    await turn()
    expect(results).toEqual(['network.unreachable', 'peer.no-listener'])
    expect(host.clock.next).toBeUndefined()
  })

  it('is given up after so many tries', async () => {
    const { host, results, send } = start()
    send('a', { restart: true })
    await turn()
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      expect(results).toEqual(['waiting'])
      host.lose(ANNA, 'network.lost')
      await turn()
      host.clock.advance(FIRST_PAUSE)
      await turn()
    }
    expect(results).toEqual(['network.lost'])
    expect(host.opened).toBe(MAX_TRIES)
  })

  it('is given up after so long, while the peer stays away', async () => {
    const { host, results, send } = start()
    host.open()
    send('a', { restart: true })
    await turn()
    host.dial = () =>
      new Promise((_, reject) => host.clock.after(20_000, () => reject(new PartylineError('network.timeout'))))
    host.lose(ANNA, 'peer.restarted')
    await turn()
    send('b', { restart: true })
    const began = host.clock.now()
    while (results.includes('waiting')) {
      host.clock.advance(1000)
      await turn()
    }
    expect(results).toEqual(['network.timeout', 'network.timeout'])
    // The last attempt may outlast the patience; what came later has more of its own.
    expect(host.clock.now() - began).toBeLessThan(2 * (PATIENCE + 25_000))
    expect(host.clock.next).toBeUndefined()
  })

  it('is given up at once when the peer is blocked, or the app goes', async () => {
    const { host, app, results, send } = start()
    host.open()
    send('a', { restart: true })
    await turn()
    host.dial = () => Promise.reject(new PartylineError('policy.blocked'))
    host.lose(ANNA, 'network.lost')
    await turn()
    host.clock.advance(FIRST_PAUSE)
    await turn()
    expect(results).toEqual(['policy.blocked'])
    host.open(BEN)
    send('b', { restart: true }, BEN)
    await turn()
    host.lose(BEN, 'network.lost')
    await turn()
    app.close()
    await turn()
    expect(results[1]).toBe('local.closed')
    expect(host.clock.next).toBeUndefined()
  })
})
