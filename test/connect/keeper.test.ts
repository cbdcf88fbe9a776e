import { beforeEach, describe, expect, test } from 'vitest'
import { Keeper, MAX_AT_ONCE, MAX_KEPT } from '../../daemon/connect/keeper.ts'
import type { PeerId } from '../../daemon/types.ts'
import { seededRandom } from '../discovery/simulated-lan.ts'
import { VirtualClock } from '../virtual-clock.ts'

const ANNA = 'anna' as PeerId
const BEN = 'ben' as PeerId
const MINUTE = 60_000

let clock: VirtualClock
let peers: PeerId[]
let reached: Set<PeerId>
let sessions: Set<PeerId>
let attempts: { peer: PeerId; at: number }[]
let isWanted: boolean
/** What opening does: fails unless told otherwise. */
let answer: (peer: PeerId) => Promise<void>
let keeper: Keeper

beforeEach(() => {
  clock = new VirtualClock()
  peers = [ANNA]
  reached = new Set([ANNA, BEN])
  sessions = new Set()
  attempts = []
  isWanted = true
  answer = () => Promise.reject(new Error('nobody there'))
  keeper = new Keeper({
    clock,
    random: seededRandom(3),
    isWanted: () => isWanted,
    peers: () => peers,
    hasSession: (peer) => sessions.has(peer),
    hasWay: (peer) => reached.has(peer),
    open: (peer) => {
      attempts.push({ peer, at: clock.now() })
      return answer(peer)
    },
  })
})

/** Lets time pass in steps, so that what is rejected in between is taken in. */
async function pass(time: number): Promise<void> {
  for (let passed = 0; passed < time; passed += 250) {
    clock.advance(250)
    for (let i = 0; i < 4; i++) await Promise.resolve()
  }
}

const succeeds = async (peer: PeerId): Promise<void> => {
  sessions.add(peer)
  keeper.opened(peer)
}

test('a session is opened soon, once, and left alone while it is there', async () => {
  answer = succeeds
  keeper.news()
  await pass(10 * MINUTE)
  expect(attempts).toHaveLength(1)
  expect(attempts[0]?.at).toBeLessThan(1000)
})

test('a peer that is not there is tried ever more rarely', async () => {
  keeper.news()
  await pass(60 * MINUTE)
  const pauses = attempts.slice(1).map(({ at }, index) => at - (attempts[index]?.at ?? 0))
  expect(attempts.length).toBeLessThan(25)
  expect(Math.max(...pauses)).toBeLessThan(7 * MINUTE)
  expect(pauses.slice(-3).every((pause) => pause > 3 * MINUTE)).toBe(true)
})

test('one whose line broke is tried every few seconds for a while, then rarely', async () => {
  keeper.news()
  keeper.closed(ANNA, 'network')
  await pass(5 * MINUTE)
  const gaps = attempts.slice(1).map(({ at }, index) => at - (attempts[index]?.at ?? 0))
  expect(Math.max(...gaps)).toBeLessThan(10_000)
  await pass(10 * MINUTE)
  const before = attempts.length
  await pass(30 * MINUTE)
  expect(attempts.length - before).toBeLessThan(12)
})

test('one that said goodbye is left in peace: it comes back by itself', async () => {
  keeper.news()
  keeper.closed(ANNA, 'peer')
  attempts = []
  await pass(3 * MINUTE)
  expect(attempts).toEqual([])
  await pass(5 * MINUTE)
  expect(attempts.length).toBeGreaterThan(0)
})

test('a session that the user ended is not opened again until there is one again', async () => {
  keeper.news()
  keeper.closed(ANNA, 'local')
  attempts = []
  keeper.news()
  await pass(60 * MINUTE)
  expect(attempts).toEqual([])
  keeper.opened(ANNA)
  keeper.closed(ANNA, 'network')
  await pass(5000)
  expect(attempts.length).toBeGreaterThan(0)
})

test('nothing is tried where there is no way, and at once when there is one', async () => {
  reached.clear()
  keeper.news()
  await pass(20 * MINUTE)
  expect(attempts).toEqual([])
  reached.add(ANNA)
  keeper.news()
  await pass(500)
  expect(attempts).toHaveLength(1)
})

test('somebody who is to be kept from now on is tried soon, and the pauses of others stay', async () => {
  keeper.news()
  await pass(10 * MINUTE)
  attempts = []
  peers = [ANNA, BEN]
  keeper.peersChanged()
  await pass(500)
  expect(attempts.map(({ peer }) => peer)).toEqual([BEN])
})

describe('many peers', () => {
  test('are opened a few at a time', async () => {
    peers = Array.from({ length: 20 }, (_, i) => `peer ${i}` as PeerId)
    reached = new Set(peers)
    const done: (() => void)[] = []
    answer = (peer) =>
      new Promise((resolve) => {
        done.push(() => {
          sessions.add(peer)
          resolve()
        })
      })
    keeper.news()
    await pass(5000)
    expect(attempts).toHaveLength(MAX_AT_ONCE)
    for (const one of done.splice(0, 2)) one()
    await pass(1000)
    expect(attempts).toHaveLength(MAX_AT_ONCE + 2)
  })

  test('are kept up to a bound, the first of them', async () => {
    peers = Array.from({ length: MAX_KEPT + 10 }, (_, i) => `peer ${i}` as PeerId)
    reached = new Set(peers)
    answer = succeeds
    keeper.news()
    await pass(60_000)
    expect([...sessions]).toEqual(expect.arrayContaining([peers[0], peers[MAX_KEPT - 1]]))
    expect(sessions.size).toBe(MAX_KEPT)
  })
})

test('nobody is kept who is not to be any more, and nobody at all where that is not wanted', async () => {
  keeper.news()
  peers = [BEN]
  await pass(1000)
  expect(new Set(attempts.map(({ peer }) => peer))).toEqual(new Set([BEN]))
  isWanted = false
  attempts = []
  keeper.news()
  await pass(10 * MINUTE)
  expect(attempts).toEqual([])
})

test('nothing happens after the end', async () => {
  keeper.news()
  keeper.stop()
  keeper.stop()
  keeper.news()
  await pass(MINUTE)
  expect(attempts).toEqual([])
})
