import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_DECIDED, MAX_REQUESTS, MAX_WAITING_OF_PEER } from '../../daemon/services/messages/requests.ts'
import { MAX_MESSAGE } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import { ANNA, BEN, FakeApp, MessageHost } from './message-apps.ts'

const peer = (index: number): PeerId => `p${index}`.padEnd(52, 'x') as PeerId

describe('the first message of a peer', () => {
  it('is a request; accepted, what waits is delivered in order, and nobody asks again', async () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    const answers = ['a', 'b', 'c'].map((text) => host.arrive(text))
    await turn()
    expect(app.requests).toEqual([{ from: ANNA, name: 'anna', channel: 'chess', expires: 30_000 }])
    expect(app.got).toEqual([])
    expect(answers).toEqual([[], [], []])
    host.messages.app(app).accept(ANNA)
    host.arrive('d')
    await turn()
    expect(app.texts).toEqual(['a', 'b', 'c', 'd'])
    expect(answers).toEqual([['accepted'], ['accepted'], ['accepted']])
    host.clock.advance(60_000)
    host.arrive('e')
    expect(app.texts).toHaveLength(5)
    expect(app.requests).toHaveLength(1)
  })

  it('is refused with what waits, and what follows, until the app changes its mind', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    const waiting = [host.arrive('a'), host.arrive('b')]
    host.messages.app(app).refuse(ANNA)
    expect(waiting).toEqual([['peer.not-accepted'], ['peer.not-accepted']])
    expect(host.arrive('c')).toEqual(['peer.not-accepted'])
    expect(host.refusals.snapshot()).toEqual({ 'peer.not-accepted': 3 })
    host.messages.app(app).accept(ANNA)
    host.arrive('d')
    expect(app.texts).toEqual(['d'])
    host.messages.app(app).refuse(ANNA)
    expect(host.arrive('e')).toEqual(['peer.not-accepted'])
    expect(app.requests).toHaveLength(1)
  })

  it('lapses where nobody answers; the next one asks again', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    const answers = host.arrive('a')
    host.clock.advance(29_999)
    expect(answers).toEqual([])
    host.clock.advance(1)
    expect(answers).toEqual(['peer.not-accepted'])
    host.arrive('b')
    expect(app.requests).toHaveLength(2)
  })

  it('of a peer that the app has sent to is none', async () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    host.arrive('early')
    host.open()
    void host.messages.app(app).send(ANNA, 'chess', Buffer.from('hello'))
    host.arrive('answer')
    expect(app.texts).toEqual(['early', 'answer'])
  })

  it('of a blocked peer is refused without asking', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    host.blocked.add(ANNA)
    expect(host.arrive('a')).toEqual(['policy.blocked'])
    expect(app.requests).toEqual([])
  })

  it('may be unreliable: it waits too, and nobody is told what became of it', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    expect(host.arrive('a', { reliable: false })).toEqual(['accepted'])
    host.messages.app(app).accept(ANNA)
    expect(app.texts).toEqual(['a'])
  })
})

describe('several apps that listen', () => {
  it('deliver when one takes it, whoever else is asked', async () => {
    const host = new MessageHost()
    const [open, asked] = [host.listener(), host.listener('chess', 'ask')]
    const answers = host.arrive('a')
    await turn()
    expect(answers).toEqual(['accepted'])
    expect(open.texts).toEqual(['a'])
    expect(asked.requests).toHaveLength(1)
    host.messages.app(asked).accept(ANNA)
    expect(asked.texts).toEqual(['a'])
  })

  it('refuse when none does, with the most telling reason', async () => {
    const host = new MessageHost()
    const [first, second] = [host.listener('chess', 'ask'), host.listener('chess', 'ask')]
    host.listener('chess', 'trusted')
    const answers = host.arrive('a')
    host.messages.app(first).refuse(ANNA)
    expect(answers).toEqual([])
    second.close()
    expect(answers).toEqual(['peer.not-accepted'])
  })
})

describe('what waits for an answer is let go', () => {
  it('when the app stops listening to its channel', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    host.messages.listen(app, 'go', 'ask')
    const [chess, go] = [host.arrive('a'), host.arrive('b', { channel: 'go' })]
    expect(app.requests).toHaveLength(1)
    host.messages.unlisten(app, 'chess')
    expect([chess, go]).toEqual([['peer.no-listener'], []])
    host.messages.app(app).accept(ANNA)
    expect(app.texts).toEqual(['b'])
  })

  it('when the app goes', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    const answers = host.arrive('a')
    app.close()
    expect(answers).toEqual(['peer.no-listener'])
    expect(host.clock.next).toBeUndefined()
    expect(() => host.messages.app(app)).toThrow(expect.objectContaining({ code: 'local.closed' }))
  })

  it('when the session ends: its sender was told that it is lost', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    host.open()
    host.arrive('a')
    host.arrive('b', { peer: BEN })
    host.lose(ANNA, 'network.lost')
    host.messages.app(app).accept(ANNA)
    host.messages.app(app).accept(BEN)
    expect(app.texts).toEqual(['b'])
  })
})

describe('bounds', () => {
  it('of one peer: its messages, and their bytes', () => {
    const host = new MessageHost()
    host.listener('chess', 'ask')
    for (let i = 0; i < MAX_WAITING_OF_PEER; i++) expect(host.arrive('x')).toEqual([])
    expect(host.arrive('x')).toEqual(['peer.busy'])
    const large = [1, 2, 3].map(() => host.arrive(new Uint8Array(MAX_MESSAGE), { peer: BEN }))
    expect(large).toEqual([[], [], ['peer.busy']])
    expect(host.refusals.snapshot()).toEqual({ 'peer.busy': 2 })
  })

  it('of one app: the requests that are open', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    for (let i = 0; i < MAX_REQUESTS; i++) expect(host.arrive('x', { peer: peer(i) })).toEqual([])
    expect(host.arrive('x', { peer: ANNA })).toEqual(['peer.busy'])
    expect(app.requests).toHaveLength(MAX_REQUESTS)
    host.messages.app(app).refuse(peer(0))
    expect(host.arrive('x', { peer: ANNA })).toEqual([])
  })

  it.each([
    ['messages', 16, 64, new Uint8Array(1)],
    ['bytes', 16, 2, new Uint8Array(MAX_MESSAGE)],
  ])('of all apps: %s', (_, peers, each, data) => {
    const host = new MessageHost()
    const [first, second] = [host.listener('a', 'ask'), host.listener('b', 'ask')]
    for (let i = 0; i < peers; i++)
      for (let j = 0; j < each; j++)
        expect(host.arrive(data, { peer: peer(i), channel: i % 2 ? 'a' : 'b' })).toEqual([])
    expect(host.arrive(data, { channel: 'a' })).toEqual(['peer.busy'])
    first.close()
    expect(host.arrive(data, { channel: 'b' })).toEqual([])
    second.close()
  })

  it('of decisions: of more peers, those decided on longest ago are asked about again', () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'ask')
    for (let i = 0; i <= MAX_DECIDED; i++) host.messages.app(app).accept(peer(i))
    host.arrive('x', { peer: peer(0) })
    host.arrive('x', { peer: peer(1) })
    expect(app.requests.map(({ from }) => from)).toEqual([peer(0)])
  })
})

it('each reliable message gets one answer, whatever apps do, and what one took came in order', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constantFrom('arrive' as const), peer: fc.constantFrom(ANNA, BEN) }),
    fc.record({
      kind: fc.constantFrom('accept' as const, 'refuse' as const),
      app: fc.nat(2),
      peer: fc.constantFrom(ANNA, BEN),
    }),
    fc.record({ kind: fc.constantFrom('unlisten' as const, 'listen' as const, 'close' as const), app: fc.nat(2) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 40_000 }) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const host = new MessageHost()
      const apps = (['ask', 'ask', 'trusted'] as const).map((accept) => host.listener('chess', accept))
      host.trusted.add(BEN)
      const answers: string[][] = []
      for (const one of steps) {
        const app = 'app' in one ? apps[one.app] : undefined
        if (one.kind === 'arrive') answers.push(host.arrive(String(answers.length), { peer: one.peer }))
        else if (one.kind === 'wait') host.clock.advance(one.ms)
        else if (!app || app.signal.aborted) continue
        else if (one.kind === 'accept') host.messages.app(app).accept(one.peer)
        else if (one.kind === 'refuse') host.messages.app(app).refuse(one.peer)
        else if (one.kind === 'listen') host.messages.listen(app, 'chess', 'ask')
        else if (one.kind === 'unlisten') host.messages.unlisten(app, 'chess')
        else app.close()
      }
      host.clock.advance(30_000)
      await turn()
      expect(answers.every((given) => given.length === 1)).toBe(true)
      const taken = new Set(apps.flatMap(({ texts }) => texts))
      expect(answers.map(([given]) => given === 'accepted')).toEqual(
        answers.map((_, index) => taken.has(String(index))),
      )
      for (const { got } of apps)
        for (const from of [ANNA, BEN]) {
          const numbers = got.filter((message) => message.from === from).map(({ data }) => Number(Buffer.from(data)))
          expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
        }
    }),
    { numRuns: 200 },
  )
})

it('a connection that never listened is forgotten without a trace', () => {
  const host = new MessageHost()
  const session = host.open()
  const app = new FakeApp()
  host.messages.app(app).accept(ANNA)
  app.close()
  expect(session.forgotten).toEqual([])
})
