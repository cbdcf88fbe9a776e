import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { PartylineError } from '../../daemon/errors.ts'
import { decodeRendezvous, encodeRendezvous } from '../../daemon/nat/rendezvous/description.ts'
import { SimulatedPaths, TraversalHost } from './traversal-host.ts'

const PATIENCE = 20_000

/** Two hosts that no signaller connects; the first of them dials. */
async function strangers() {
  const paths = new SimulatedPaths()
  const [a, b] = await TraversalHost.pair(paths)
  for (const host of [a, b]) host.isSignalled = false
  const both = {
    [Symbol.asyncDispose]: async () => void (await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])),
  }
  return { paths, a, b, both }
}

describe('what people carry by hand', () => {
  test.each([
    ['the one that dials', 0],
    ['the other one', 1],
  ])('makes a link when %s gave the offer', async (_, first) => {
    const { paths, a, b, both } = await strangers()
    await using _both = both
    const [inviter, joiner] = first === 0 ? [a, b] : [b, a]
    const offer = inviter.traversal.offer()
    const carried = decodeRendezvous(encodeRendezvous(offer.description))
    if (carried.kind !== 'describe') throw new Error('an offer is a description')
    // Nothing gets in until the inviter has sent something out.
    paths.closed.add(`${joiner.address} ${inviter.address}`).add(`${joiner.relay} ${inviter.address}`)
    const answer = joiner.traversal.meet(inviter.peer, carried, PATIENCE)
    expect(joiner.wants).toBe(1)
    await sleep(300)
    paths.closed.clear()
    inviter.traversal.meet(joiner.peer, answer, PATIENCE, offer)
    inviter.traversal.look(joiner.peer, () => {})
    const [links] = await Promise.all([a.untilLinks(1), b.untilLinks(1)])
    expect(links[0]).toMatchObject({ peer: b.peer, carrier: 'udx', dialled: true })
    expect(paths.signals).toBe(0)
  })

  test('waits for longer than a search does, and says in the end that there is no way', async () => {
    const { paths, a, b, both } = await strangers()
    await using _both = both
    for (const from of [a.address, a.relay]) for (const to of [b.address, b.relay]) paths.close(from, to)
    const offer = a.traversal.offer()
    const answer = b.traversal.meet(a.peer, offer.description, 10_500)
    a.traversal.meet(b.peer, answer, 10_500, offer)
    const began = performance.now()
    const { promise, resolve } = Promise.withResolvers<PartylineError>()
    a.traversal.look(b.peer, resolve)
    expect(await promise).toMatchObject({ code: 'network.no-path' })
    expect(performance.now() - began).toBeGreaterThan(10_000)
  }, 20_000)

  test('is not given out where nothing may be told', async () => {
    const { a, b, both } = await strangers()
    await using _both = both
    const offer = a.traversal.offer()
    b.share = 'none'
    expect(() => b.traversal.offer()).toThrow(expect.objectContaining({ code: 'network.no-path' }))
    expect(() => b.traversal.meet(a.peer, offer.description, PATIENCE)).toThrow(
      expect.objectContaining({ code: 'network.no-path' }),
    )
    expect(b.traversal.size).toBe(0)
  })

  test('takes the place of what was looked for before', async () => {
    const { a, b, both } = await strangers()
    await using _both = both
    const failures: string[] = []
    b.traversal.look(a.peer, ({ code }) => failures.push(code))
    b.traversal.meet(a.peer, a.traversal.offer().description, PATIENCE)
    expect(failures).toHaveLength(1)
    expect([b.traversal.size, b.wants]).toEqual([1, 1])
  })
})
