import { describe, expect, test } from 'vitest'
import { type AccessRequest, AccessRequests, MAX_ANSWERED, MAX_REQUESTS, ONCE } from '../../daemon/policy/requests.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const peerOf = (number: number): PeerId => String(number).padStart(52, 'a') as PeerId
const PEER = peerOf(0)

class World {
  readonly clock = new VirtualClock()
  readonly told: AccessRequest[] = []
  changes = 0
  readonly requests = new AccessRequests({
    clock: this.clock,
    onNew: (request) => this.told.push(request),
    onChange: () => this.changes++,
  })

  ask(peer = PEER, name = 'ben', address = '203.0.113.7:1'): boolean {
    return this.requests.ask({ peer, name, from: 'internet', address, by: undefined })
  }

  /** So many ask that had not, one after another. */
  crowd(count: number): void {
    for (let i = 1; i <= count; i++) {
      this.clock.advance(3000)
      this.ask(peerOf(i))
    }
  }
}

describe('a peer that asks', () => {
  test('is one request, however often it tries, and the owner is told once', () => {
    const world = new World()
    expect([world.ask(), world.ask()]).toEqual([true, true])
    world.clock.advance(20_000)
    world.ask(PEER, 'ben', '203.0.113.7:2')
    expect(world.told).toHaveLength(1)
    expect(world.requests.list()).toMatchObject([{ peer: PEER, name: 'ben', address: '203.0.113.7:2', count: 2 }])
    const [request] = world.requests.list()
    expect((request?.last ?? 0) - (request?.first ?? 0)).toBe(20_000)
  })

  test('is shown by a name without anything that fools the eye', () => {
    const world = new World()
    world.ask(PEER, '\u202egnp.exe\n\u0007 ben')
    expect(world.requests.list()[0]?.name).toBe('gnp.exe ben')
  })

  test('that is let in once is so for a while', () => {
    const world = new World()
    world.ask()
    world.requests.grant(PEER)
    expect([world.requests.isGranted(PEER), world.requests.list()]).toEqual([true, []])
    world.clock.advance(ONCE)
    expect(world.requests.isGranted(PEER)).toBe(false)
  })

  test('that is refused is not heard for a while', () => {
    const world = new World()
    world.ask()
    world.requests.refuse(PEER)
    expect([world.ask(), world.requests.list()]).toEqual([false, []])
    world.clock.advance(600_000)
    expect(world.ask()).toBe(true)
  })

  test('after the other word of the owner, goes by the later one', () => {
    const { requests } = new World()
    requests.grant(PEER)
    requests.refuse(PEER)
    expect(requests.isGranted(PEER)).toBe(false)
    requests.grant(PEER)
    expect([
      requests.isGranted(PEER),
      requests.ask({ peer: PEER, name: '', from: 'lan', address: '', by: undefined }),
    ]).toEqual([true, true])
  })
})

describe('a crowd that asks', () => {
  test('takes no more room than there is: the oldest goes', () => {
    const world = new World()
    world.crowd(MAX_REQUESTS + 10)
    const peers = world.requests.list().map(({ peer }) => peer)
    expect(peers).toHaveLength(MAX_REQUESTS)
    expect([peers[0], peers.at(-1)]).toEqual([peerOf(MAX_REQUESTS + 10), peerOf(11)])
  })

  test('all at once is not told of but in part, and those that wait lose nothing', () => {
    const world = new World()
    world.ask()
    for (let i = 1; i <= 1000; i++) world.ask(peerOf(i))
    expect(world.told).toHaveLength(16)
    expect(world.requests.get(PEER)).toBeDefined()
  })

  test('of those that were let in or refused, as many are remembered as there is room for', () => {
    const { requests } = new World()
    for (let i = 0; i <= MAX_ANSWERED; i++) requests.grant(peerOf(i))
    expect([requests.isGranted(peerOf(0)), requests.isGranted(peerOf(1))]).toEqual([false, true])
  })
})
