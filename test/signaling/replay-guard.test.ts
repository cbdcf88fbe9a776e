import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Clock } from '../../daemon/clock.ts'
import { ForwardClock } from '../../daemon/signaling/forward-clock.ts'
import { REMEMBERED, RETENTION, ReplayGuard, TOLERANCE } from '../../daemon/signaling/replay-guard.ts'
import { MAX_SENDERS, Rounds } from '../../daemon/signaling/rounds.ts'
import type { PeerId } from '../../daemon/types.ts'

const START = 1_800_000_000_000
const alice = 'alice' as PeerId
const bob = 'bob' as PeerId
const at = (now: number) => ({ now, wall: START + now })

function guard(limits = REMEMBERED): ReplayGuard {
  return new ReplayGuard(at(0), new Rounds(5000), limits)
}

describe('the replay guard', () => {
  test('takes a signal whose time is within two minutes, either way, and none beyond', () => {
    const now = 10 * TOLERANCE
    for (const [time, kind] of [
      [-TOLERANCE - 1, 'old'],
      [-TOLERANCE, 'fresh'],
      [0, 'fresh'],
      [TOLERANCE, 'fresh'],
      [TOLERANCE + 1, 'old'],
    ] as const)
      expect(guard().accept(alice, { id: 'id', time: START + now + time, round: 0 }, at(now)).kind).toBe(kind)
  })

  test('refuses what was stamped before the start: the process before may have taken it', () => {
    expect(guard().accept(alice, { id: 'id', time: START - 1, round: 0 }, at(5000))).toEqual({
      kind: 'old',
      unseen: true,
    })
    expect(guard().accept(alice, { id: 'id', time: START, round: 0 }, at(5000))).toEqual({ kind: 'fresh' })
  })

  test('tells a repeated id, of its sender only', () => {
    const one = guard()
    one.accept(alice, { id: 'id', time: START, round: 0 }, at(0))
    expect(one.accept(alice, { id: 'id', time: START, round: 0 }, at(700))).toEqual({ kind: 'repeated', after: 700 })
    expect(one.accept(alice, { id: 'id', time: START + 9, round: 0 }, at(700))).toEqual({
      kind: 'repeated',
      after: 700,
    })
    expect(one.accept(bob, { id: 'id', time: START, round: 0 }, at(700))).toEqual({ kind: 'fresh' })
  })

  test('tells a repeated id even when its time is over, so that nobody asks for the signal again', () => {
    const one = guard()
    one.accept(alice, { id: 'id', time: START, round: 0 }, at(TOLERANCE))
    expect(one.accept(alice, { id: 'id', time: START, round: 0 }, at(TOLERANCE + 1)).kind).toBe('repeated')
    expect(one.accept(alice, { id: 'other', time: START, round: 0 }, at(TOLERANCE + 1))).toEqual({
      kind: 'old',
      unseen: true,
    })
  })

  test('forgets what is refused by its time for good', () => {
    const one = guard()
    for (let n = 0; n < 100; n++)
      one.accept(`peer${n}` as PeerId, { id: 'id', time: START + TOLERANCE, round: 0 }, at(0))
    expect(one.size).toBe(100)
    expect(one.accept('peer0' as PeerId, { id: 'id', time: START + TOLERANCE, round: 0 }, at(RETENTION)).kind).toBe(
      'repeated',
    )
    const later = RETENTION + 30_000
    expect(one.accept('peer1' as PeerId, { id: 'id', time: START + TOLERANCE, round: 0 }, at(later))).toEqual({
      kind: 'old',
      unseen: true,
    })
    expect(one.size).toBe(0)
  })

  test('remembers 1,024 of a sender; then the oldest times are over, for that sender only', () => {
    const one = guard()
    for (let n = 0; n <= REMEMBERED.perSender; n++)
      expect(one.accept(alice, { id: `id${n}`, time: START + n, round: 0 }, at(2000)).kind).toBe('fresh')
    expect(one.size).toBe(REMEMBERED.perSender + 1 - 128)
    expect(one.accept(alice, { id: 'id0', time: START, round: 0 }, at(2000))).toEqual({ kind: 'old', unseen: false })
    expect(one.accept(alice, { id: 'new', time: START + 127, round: 0 }, at(2000))).toEqual({
      kind: 'old',
      unseen: false,
    })
    expect(one.accept(alice, { id: 'new', time: START + 128, round: 0 }, at(2000))).toEqual({ kind: 'fresh' })
    expect(one.accept(bob, { id: 'id0', time: START, round: 0 }, at(2000))).toEqual({ kind: 'fresh' })
  })

  test('remembers 16,384 in all; then the oldest times are over for everyone', () => {
    const one = guard()
    for (let n = 0; n <= REMEMBERED.inAll; n++)
      expect(one.accept(`peer${n}` as PeerId, { id: 'id', time: START + n, round: 0 }, at(20_000)).kind).toBe('fresh')
    expect(one.size).toBe(REMEMBERED.inAll + 1 - 2048)
    for (const peer of ['peer0', 'peer2047', 'somebody'] as PeerId[])
      expect(one.accept(peer, { id: 'id', time: START + 2047, round: 0 }, at(20_000))).toEqual({
        kind: 'old',
        unseen: false,
      })
    expect(one.accept('somebody' as PeerId, { id: 'id', time: START + 2048, round: 0 }, at(20_000))).toEqual({
      kind: 'fresh',
    })
  })

  test('is not sure about any time for as long as it may have forgotten too much', () => {
    const one = guard({ perSender: 8, inAll: 100 })
    for (let n = 0; n < 9; n++) one.accept(alice, { id: `id${n}`, time: START + n, round: 0 }, at(1000))
    const old = START - TOLERANCE
    expect(one.accept(alice, { id: 'id', time: old, round: 0 }, at(1000 + RETENTION))).toEqual({
      kind: 'old',
      unseen: false,
    })
    expect(one.accept(bob, { id: 'id', time: old, round: 0 }, at(1000 + RETENTION))).toEqual({
      kind: 'old',
      unseen: true,
    })
    expect(one.accept(alice, { id: 'id', time: old, round: 0 }, at(1001 + RETENTION))).toEqual({
      kind: 'old',
      unseen: true,
    })
  })

  test('stays unsure of a sender whose other ids are over', () => {
    const one = guard({ perSender: 8, inAll: 100 })
    const accept = (id: string, time: number, now: number) =>
      one.accept(alice, { id, time: START + time, round: 0 }, at(now))
    for (let n = 0; n < 8; n++) accept(`id${n}`, TOLERANCE, 0)
    expect(accept('late', TOLERANCE - 1, RETENTION - 1)).toEqual({ kind: 'fresh' })
    expect(accept('late', TOLERANCE - 1, RETENTION + 30_000)).toEqual({ kind: 'old', unseen: false })
  })

  test('never lets an id pass twice while its time stays the same, whatever is sent and however time leaps', () => {
    const step = fc.record({
      peer: fc.constantFrom(alice, bob),
      id: fc.nat({ max: 40 }),
      passes: fc.constantFrom(0, 0, 1, 1000, TOLERANCE / 2, TOLERANCE + 1),
      leap: fc.constantFrom(0, 0, 0, TOLERANCE, -TOLERANCE, 1e9, -1e9),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 200 }), (steps) => {
        let now = 0
        let offset = START
        const forward = new ForwardClock({ now: () => now, wall: () => now + offset } as Clock)
        const one = new ReplayGuard({ now, wall: forward.wall() }, new Rounds(0), { perSender: 4, inAll: 6 })
        const times = new Map<string, number>()
        const passed = new Set<string>()
        for (const { peer, id, passes, leap } of steps) {
          now += passes
          offset += leap
          const key = `${peer}${id}`
          const wall = forward.wall()
          const time = times.get(key) ?? wall + ((id % 5) - 2) * (TOLERANCE / 2)
          times.set(key, time)
          if (one.accept(peer, { id: key, time, round: 0 }, { now, wall }).kind !== 'fresh') continue
          expect(passed).not.toContain(key)
          passed.add(key)
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('rounds of corrections', () => {
  test('void what was stamped before, once a signal follows them', () => {
    const rounds = new Rounds(5000)
    const one = new ReplayGuard(at(0), rounds)
    const accept = (id: string, round: number) => one.accept(alice, { id, time: START, round }, at(0)).kind
    const [first, second] = [rounds.next(), rounds.next()]
    expect(accept('own clock', 0)).toBe('fresh')
    expect(accept('second', second)).toBe('fresh')
    expect(accept('first', first)).toBe('old')
    expect(accept('own clock again', 0)).toBe('old')
    expect(accept('second again', second)).toBe('fresh')
    expect(one.accept(bob, { id: 'id', time: START, round: 0 }, at(0)).kind).toBe('fresh')
  })

  test('are refused when they are of another process, or of none yet', () => {
    const rounds = new Rounds(5000)
    rounds.next()
    for (const [round, counts] of [
      [1, false],
      [5000, false],
      [5001, true],
      [5002, false],
    ] as const)
      expect(rounds.counts(alice, round)).toBe(counts)
  })

  test('are remembered of 4,096 senders; others then have to be corrected first', () => {
    const rounds = new Rounds(5000)
    for (let n = 0; n < MAX_SENDERS; n++) rounds.accepted(`peer${n}` as PeerId, rounds.next())
    expect(rounds.counts(alice, 0)).toBe(true)
    expect(rounds.counts('peer0' as PeerId, 0)).toBe(false)
    rounds.accepted(bob, rounds.next())
    for (const peer of [alice, 'peer0' as PeerId]) {
      expect(rounds.counts(peer, 0)).toBe(false)
      expect(rounds.counts(peer, rounds.next())).toBe(true)
    }
    expect(rounds.counts('peer1' as PeerId, 5002)).toBe(true)
  })
})

describe('the forward clock', () => {
  test('follows leaps forward and no leap back, and never stands still', () => {
    let now = 0
    let wall = START
    const clock = new ForwardClock({ now: () => now, wall: () => wall } as Clock)
    expect(clock.wall()).toBe(START)
    wall += 1e9
    expect(clock.wall()).toBe(START + 1e9)
    wall -= 2e9
    now += 5000
    expect(clock.wall()).toBe(START + 1e9 + 5000)
  })
})
