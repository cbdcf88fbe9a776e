import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { PartylineError } from '../../daemon/errors.ts'
import type { Link, PathChange } from '../../daemon/link/link.ts'
import { SimulatedPaths, TraversalHost } from './traversal-host.ts'

/** Two hosts; the first of them dials. */
async function pair() {
  const paths = new SimulatedPaths()
  const [a, b] = await TraversalHost.pair(paths)
  const both = {
    [Symbol.asyncDispose]: async () => void (await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])),
  }
  return { paths, a, b, both }
}

/** Looks from one host to the other; resolves with the reason if there is no way. */
function look(from: TraversalHost, to: TraversalHost) {
  const { promise: failure, resolve } = Promise.withResolvers<PartylineError>()
  return { stop: from.traversal.look(to.peer, resolve), failure }
}

/** A link on both sides, and what one end writes read at the other. */
async function linked(a: TraversalHost, b: TraversalHost, count = 1): Promise<readonly [Link, Link]> {
  const near = (await a.untilLinks(count)).at(-1)
  const far = (await b.untilLinks(count)).at(-1)
  if (!near || !far) throw new Error('unreachable: there are links')
  return [near, far]
}

async function says(from: Link, to: Link, text: string): Promise<void> {
  const read = once(to.socket, 'data')
  from.socket.write(text)
  expect(String((await read)[0])).toBe(text)
}

const changed = (link: Link): Promise<PathChange> =>
  new Promise((resolve) => {
    const stop = link.path?.onChange((change) => {
      stop?.()
      resolve(change)
    })
  })

describe('two hosts that signals reach', () => {
  test.each([
    ['the one that dials', 0],
    ['the other one', 1],
  ])('have a link over the best path when %s looks', async (_, looker) => {
    const { a, b, both } = await pair()
    await using _both = both
    const hosts = [a, b] as const
    look(hosts[looker] ?? a, hosts[1 - looker] ?? b)
    const [near, far] = await linked(a, b)
    expect(near).toMatchObject({ peer: b.peer, carrier: 'udx', dialled: true })
    expect(far).toMatchObject({ peer: a.peer, carrier: 'udx', dialled: false })
    expect(near.path?.to).toEqual({ address: b.address, port: 4000 })
    expect([near.path?.route, far.path?.route]).toEqual(['direct', 'direct'])
    expect(near.exportKey('test', 32)).toEqual(far.exportKey('test', 32))
    await says(near, far, 'hello')
    await says(far, near, 'back')
  })

  test('have one link when both look at the same moment, though signals are lost, doubled and overtake each other', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    let count = 0
    paths.signalFate = () => [[], [30], [1, 60], [90]][count++ % 4] ?? []
    look(a, b)
    look(b, a)
    const [near, far] = await linked(a, b)
    await says(near, far, 'one')
    expect([a.links.length, b.links.length]).toEqual([1, 1])
  })

  test('go through a relay where nothing else passes, and move to a better path without losing a byte when one opens', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    paths.close(a.address, b.address)
    paths.close(a.address, b.relay)
    paths.close(a.relay, b.address)
    look(a, b)
    const [near, far] = await linked(a, b)
    expect(near.path).toMatchObject({ route: 'relay', to: { address: b.relay, relay: 'relay-1' } })
    const change = changed(near)
    const arrived: Buffer[] = []
    far.socket.on('data', (chunk: Buffer) => arrived.push(chunk))
    const sent: Buffer[] = []
    const flow = setInterval(() => {
      const chunk = Buffer.alloc(3000, sent.length)
      sent.push(chunk)
      near.socket.write(chunk)
    }, 5)
    paths.open(a.address, b.address)
    // A network change makes them look at once.
    a.traversal.networkChanged()
    b.traversal.networkChanged()
    expect(await change).toMatchObject({ from: 'relay', to: 'direct' })
    clearInterval(flow)
    near.socket.end()
    await once(far.socket, 'end')
    expect(Buffer.concat(arrived).equals(Buffer.concat(sent))).toBe(true)
    expect(near.path?.to).toEqual({ address: b.address, port: 4000 })
  }, 30_000)

  test('move to the relay when the direct path falls silent, and lose nothing', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    look(a, b)
    const [near, far] = await linked(a, b)
    const change = changed(near)
    paths.close(a.address, b.address)
    a.traversal.networkChanged()
    expect(await change).toMatchObject({ from: 'direct', to: 'relay' })
    await says(near, far, 'over the relay')
    await says(far, near, 'and back')
  }, 30_000)

  test('open further links beside the first, announced over it', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    look(a, b)
    const [near, far] = await linked(a, b)
    const dialled = near.path?.beside((stream) => far.path?.take(stream), AbortSignal.timeout(5000))
    const beside = await dialled
    const taken = (await b.untilLinks(2)).at(-1)
    if (!beside || !taken) throw new Error('unreachable: both are there')
    await says(beside, taken, 'beside')
    await says(near, far, 'the first one goes on')
  })

  test('have another link when the first is lost and one of them looks again', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    const { stop } = look(b, a)
    const [near, far] = await linked(a, b)
    stop()
    near.destroy()
    await once(far.socket, 'close')
    look(b, a)
    const [again, other] = await linked(a, b, 2)
    await says(again, other, 'again')
  })

  test('meet again when one of them was restarted, whoever looks', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    look(a, b)
    const [, far] = await linked(a, b)
    a.restart()
    await once(far.socket, 'close')
    look(b, a)
    const [near, again] = await linked(a, b, 2)
    await says(near, again, 'in another life')
  })
})

describe.concurrent('where there is no way', () => {
  test('whoever looks is told why, in words of both networks', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    for (const host of [a, b]) {
      host.candidates = [host.direct]
      host.network = { udp: true, mapping: 'each', relay: false }
    }
    paths.close(a.address, b.address)
    const { code, message } = await look(a, b).failure
    expect(code).toBe('network.no-path')
    expect(message).toContain('symmetric NAT')
    expect(a.traversal.pairs(b.peer)).toMatchObject([{ to: { address: b.address }, isSelected: false }])
    expect(a.traversal.pairs(b.peer)[0]?.reason).not.toBe('')
  }, 15_000)

  test('a peer that never answers is told apart', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    paths.signalFate = () => []
    const { code, message } = await look(a, b).failure
    expect([code, message]).toEqual(['network.no-path', expect.stringContaining('did not answer')])
  }, 15_000)
})

describe.concurrent('a peer', () => {
  test('that looks is dialled at a few of the addresses it tells, by both sides, once each', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    paths.close(a.address, b.address)
    const many = Array.from({ length: 20 }, (_, i) => ({ ...b.direct, address: `203.0.113.${i + 1}` }))
    a.candidates = [a.direct, a.relayed]
    b.candidates = [...many, b.relayed]
    look(a, b)
    await linked(a, b)
    expect(a.told).toHaveLength(4)
    expect(new Set(a.told).size).toBe(4)
    expect(b.told).toEqual([a.address])
  }, 20_000)

  test('that is not welcome starts nothing, and is answered with nothing', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    b.isWelcome = false
    const { failure } = look(a, b)
    await failure
    expect(b.traversal.size).toBe(0)
    expect(b.wants).toBe(0)
    expect(b.refusals.snapshot()['policy.refused']).toBeGreaterThan(0)
    expect(paths.signals).toBeLessThanOrEqual(10)
  }, 15_000)

  test('that is dropped is sent nothing more', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    look(a, b)
    const [near] = await linked(a, b)
    const closed = once(near.socket, 'close')
    a.traversal.drop(b.peer)
    await closed
    expect([a.traversal.size, a.wants]).toEqual([0, 0])
  })

  test('that sends rubbish is counted, and starts nothing', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    b.signalled(a.peer, Buffer.from('rubbish'))
    expect(b.refusals.snapshot()).toEqual({ 'peer.malformed': 1 })
    expect(b.traversal.size).toBe(0)
  })

  test('is forgotten, and nothing kept fresh for it, when nobody wants it any more', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    const { stop } = look(a, b)
    const [near, far] = await linked(a, b)
    expect([a.wants, b.wants]).toEqual([1, 1])
    stop()
    near.destroy()
    await once(far.socket, 'close')
    while (a.traversal.size + b.traversal.size > 0) await new Promise((resolve) => setTimeout(resolve, 100))
    expect([a.wants, b.wants]).toEqual([0, 0])
    expect(a.traversal.pairs(b.peer).length).toBeGreaterThan(0)
  }, 40_000)
})
