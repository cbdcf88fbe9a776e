import { describe, expect, test } from 'vitest'
import { CandidatePair, type RemoteAddress } from '../../../daemon/nat/ice/candidate-pair.ts'
import { CheckList } from '../../../daemon/nat/ice/check-list.ts'
import { areCredentials, newCredentials } from '../../../daemon/nat/ice/credentials.ts'
import { CheckBudget, MAX_TRANSACTIONS, Pacer } from '../../../daemon/nat/ice/limits.ts'
import { MtuProbe } from '../../../daemon/nat/ice/mtu-probe.ts'
import { Nomination } from '../../../daemon/nat/ice/nomination.ts'
import { PairHealth } from '../../../daemon/nat/ice/pair-health.ts'
import { Role } from '../../../daemon/nat/ice/role.ts'
import { betterIn, scoreOf } from '../../../daemon/nat/ice/score.ts'
import { Transactions } from '../../../daemon/nat/ice/transactions.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'

const base = (relay?: string, family: 4 | 6 = 4, priority = 1000) => ({
  family,
  relay,
  kind: relay === undefined ? ('host' as const) : ('relay' as const),
  priority,
  foundation: relay ?? 'ip',
})
const remote = (address: string, over: Partial<RemoteAddress> = {}): RemoteAddress => ({
  kind: 'host',
  address,
  port: 1,
  priority: 1000,
  foundation: address,
  ...over,
})
const half = () => 0.5

test('credentials have the randomness and the form that RFC 8445 section 5.3 asks for', () => {
  const one = newCredentials(seededBytes(seeded(1)))
  expect(one.ufrag.length * 6).toBeGreaterThanOrEqual(24)
  expect(one.pwd.length * 6).toBeGreaterThanOrEqual(128)
  expect(areCredentials(one)).toBe(true)
  for (const [ufrag, pwd] of [
    ['abc', 'x'.repeat(22)],
    ['abcd', 'x'.repeat(21)],
    ['ab:d', 'x'.repeat(22)],
    ['a'.repeat(257), 'x'.repeat(22)],
    ['abcd', 'x'.repeat(257)],
  ] as const)
    expect(areCredentials({ ufrag, pwd })).toBe(false)
})

test('the priority of a pair is that of RFC 8445 section 6.1.2.3, the same at both ends', () => {
  const [low, high] = [2 ** 24, 126 * 2 ** 24 + 2 ** 24 - 1]
  const here = new CandidatePair(base(undefined, 4, high), remote('192.0.2.1', { priority: low }))
  const there = new CandidatePair(base(undefined, 4, low), remote('192.0.2.2', { priority: high }))
  expect(here.priority(true)).toBe(2n ** 32n * BigInt(low) + 2n * BigInt(high) + 1n)
  expect(here.priority(true)).toBe(there.priority(false))
  expect(here.priority(false)).toBe(there.priority(true))
})

describe('a check list', () => {
  const is = { controlling: true, own: () => false, kept: () => false }

  test('lets pairs of one foundation wait for the first of them (RFC 8445 section 6.1.2.6)', () => {
    const list = new CheckList()
    list.rebuild(
      [base()],
      [remote('192.0.2.1', { foundation: 'f' }), remote('192.0.2.2', { foundation: 'f', priority: 1 })],
      is,
    )
    expect(list.pairs.map(({ state }) => state)).toEqual(['waiting', 'frozen'])
    const [first, second] = list.pairs
    if (first) list.start(first)
    expect([...list.due(0, () => true)]).toEqual([])
    first?.fail('no answer', 0)
    expect([...list.due(0, () => true)]).toEqual([second])
  })

  test('checks what the peer has checked before all else (section 7.3.1.4)', () => {
    const list = new CheckList()
    list.rebuild([base()], [remote('192.0.2.1'), remote('192.0.2.2', { kind: 'relay' })], is)
    const [first, last] = list.pairs
    if (last) list.trigger(last)
    expect([...list.due(0, () => true)]).toEqual([last, first])
  })

  test('takes the families in turns (RFC 8421 section 4)', () => {
    const list = new CheckList()
    const six = ['2001:db8::1', '2001:db8::2', '2001:db8::3'].map((one, at) => remote(one, { priority: 5000 - at }))
    const four = ['192.0.2.1', '192.0.2.2'].map((one, at) => remote(one, { priority: 100 - at }))
    list.rebuild([base(), base(undefined, 6)], [...six, ...four], is)
    expect(list.pairs.map(({ base: { family } }) => family)).toEqual([6, 4, 6, 4, 6])
  })

  test('has no pair across families, none twice, none with ourselves', () => {
    const list = new CheckList()
    const own = ({ address }: RemoteAddress) => address === '192.0.2.9'
    list.rebuild([base()], [remote('2001:db8::1'), remote('192.0.2.1'), remote('192.0.2.1'), remote('192.0.2.9')], {
      ...is,
      own,
    })
    expect(list.pairs.map(({ key }) => key)).toEqual(['192.0.2.1:1'])
  })
})

describe('a role', () => {
  const make = (isControlling: boolean) => new Role(isControlling, () => Buffer.alloc(8, 0x80), 0)
  const [larger, smaller] = [Buffer.alloc(8, 0x90), Buffer.alloc(8, 0x70)]

  test('goes to whoever has the larger tie-breaker (RFC 8445 section 7.3.1.1)', () => {
    const results = [
      [true, larger],
      [true, smaller],
      [false, larger],
      [false, smaller],
    ] as const
    const outcome = results.map(([isControlling, theirs]) => {
      const role = make(isControlling)
      return [role.heard(isControlling ? 'controlling' : 'controlled', theirs, 0), role.isControlling]
    })
    expect(outcome).toEqual([
      [true, false],
      [false, true],
      [false, false],
      [true, true],
    ])
  })

  test('changes with a refusal of what was sent in it, once', () => {
    const role = make(true)
    expect(role.refused('controlling', 0)).toBe(true)
    expect(role.refused('controlling', 0)).toBe(false)
    expect(role.name).toBe('controlled')
  })
})

describe('nominations', () => {
  const [one, other] = [new CandidatePair(base(), remote('192.0.2.1')), new CandidatePair(base(), remote('192.0.2.2'))]

  test('never go back, but follow a pair whose address has changed', () => {
    const nomination = new Nomination()
    one.succeeded()
    one.health.answered(10, true, 0, half)
    expect(nomination.heard(2, one, 0)).toBe(true)
    expect(nomination.heard(1, other, 0)).toBe(false)
    expect(nomination.heard(2, other, 0)).toBe(false)
    expect(nomination.pair).toBe(one)
    expect(nomination.heard(2, other, 31_000)).toBe(true)
    nomination.forget(true)
    expect(nomination.heard(1, one, 0)).toBe(true)
  })
})

describe('the health of a pair', () => {
  test('is consent for 30 seconds after each answer, and none before the first (RFC 7675 section 5.1)', () => {
    const health = new PairHealth()
    expect(health.consentUntil).toBe(Number.NEGATIVE_INFINITY)
    health.answered(10, true, 1000, half)
    expect(health.consentUntil).toBe(31_000)
    health.carried(20_000)
    expect(health.consentUntil).toBe(31_000)
  })

  test('is asked for every four to six seconds, and at once when checks have no answer', () => {
    const health = new PairHealth()
    health.answered(20, true, 0, half)
    health.assign('selected', 0, half)
    expect(health.deadline).toBeLessThanOrEqual(5000)
    const times: number[] = []
    for (let now = 5000; !health.isExhausted; now += 10) {
      if (!health.isDue(now)) continue
      health.sent(now)
      times.push(now - 5000)
    }
    expect(times).toEqual([0, 100, 200, 300, 400])
  })

  test('is more trusted while something is heard, which is no answer', () => {
    const health = new PairHealth()
    health.answered(20, true, 0, half)
    health.assign('selected', 0, half)
    for (let at = 0; at < 9; at++) {
      health.sent(5000 + at * 100)
      health.heard(5001 + at * 100)
    }
    expect(health.isExhausted).toBe(false)
    health.sent(6000)
    expect(health.isExhausted).toBe(true)
  })
})

describe('the MTU of a pair', () => {
  /** Probes until done on a path that carries so much; returns the sizes that were sent. */
  function probe(mtu: MtuProbe, limit: number): number[] {
    const sizes: number[] = []
    for (let now = 0; now < 8000 && !mtu.isDone; now += 10) {
      const size = mtu.due(now, 20)
      if (size === undefined) continue
      sizes.push(size)
      if (size <= limit) mtu.arrived(size, now)
    }
    return sizes
  }

  test('is presumed to be 1200 until more is known', () => {
    expect(new MtuProbe(4).mtu).toBe(1200)
  })

  test('is found by one check on an Ethernet, by a few elsewhere', () => {
    const cable = new MtuProbe(4)
    expect([probe(cable, 1472), cable.mtu]).toEqual([[1472], 1472])
    for (const limit of [1200, 1250, 1280, 1400, 1460]) {
      const mtu = new MtuProbe(4)
      expect(probe(mtu, limit).length).toBeLessThanOrEqual(18)
      expect(mtu.mtu).toBeLessThanOrEqual(limit)
      expect(mtu.mtu).toBeGreaterThan(limit - 60)
    }
  })

  test('that is below 1200 is told, and tried again later', () => {
    const mtu = new MtuProbe(6)
    probe(mtu, 1000)
    expect([mtu.isNarrow, mtu.mtu, mtu.isDone]).toEqual([true, 548, false])
    expect(mtu.due(60_000, 20)).toBe(1200)
    mtu.arrived(1200, 60_020)
    expect([mtu.isNarrow, mtu.mtu]).toEqual([false, 1200])
  })
})

test('kinds count before measurements, and measurements only by a margin', () => {
  const make = (relay: string | undefined, rtt: number, over: Partial<RemoteAddress> = {}) => {
    const pair = new CandidatePair(base(relay), remote('192.0.2.1', over))
    pair.health.answered(rtt, true, 0, half)
    return pair
  }
  expect(betterIn(make(undefined, 190), make('r', 10))).toBe('kind')
  expect(betterIn(make(undefined, 10, { kind: 'mapped' }), make(undefined, 10, { kind: 'srflx' }))).toBe('kind')
  expect(betterIn(make(undefined, 80), make(undefined, 100))).toBeUndefined()
  expect(betterIn(make(undefined, 40), make(undefined, 100))).toBe('quality')
  expect(betterIn(make('r', 10), make('r', 10, { kind: 'relay' }))).toBe('kind')
  expect(scoreOf(make(undefined, 50))).toBeLessThan(scoreOf(make('r', 1)))
})

describe('limits', () => {
  test('all agents together begin a check in five milliseconds, after eight (RFC 8445 section 14.2)', () => {
    const pacer = new Pacer()
    const turns = Array.from({ length: 100 }, () => pacer.reserve(1000))
    expect(turns.filter((at) => at === 1000).length).toBeLessThanOrEqual(8)
    expect(turns.at(-1)).toBeGreaterThanOrEqual(1000 + 92 * 5)
  })

  test('one address gets eight checks, then one in five seconds', () => {
    const budget = new CheckBudget(0)
    let sent = 0
    for (let now = 0; now <= 100_000; now += 10) if (budget.take('192.0.2.1:1', now)) sent++
    expect(sent).toBeLessThanOrEqual(8 + 20)
    expect(sent).toBeGreaterThanOrEqual(8 + 19)
  })

  test('an agent waits for so many answers', () => {
    const transactions = new Transactions()
    const names = new Set<string>()
    transactions.watcher = { expects: (id) => void names.add(id), forgets: (id) => void names.delete(id) }
    const pair = new CandidatePair(base(), remote('192.0.2.1'))
    const random = seededBytes(seeded(1))
    for (let at = 0; at < 1000; at++)
      transactions.add({
        id: random(12),
        pair,
        purpose: 'upkeep',
        key: '',
        role: 'controlled',
        size: 0,
        packet: Buffer.alloc(0),
        sends: 1,
        tries: 1,
        sentAt: at,
        rto: 1,
        nextAt: Number.POSITIVE_INFINITY,
      })
    expect(transactions.size).toBeLessThanOrEqual(MAX_TRANSACTIONS)
    expect(names.size).toBe(transactions.size)
    transactions.drop()
    expect(names.size).toBe(0)
  })
})
