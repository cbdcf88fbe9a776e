import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import {
  decodeFriendMessage,
  encodeFriendMessage,
  type FriendMessage,
  MAX_WISHES,
} from '../../daemon/friends/friend-message.ts'
import { pairToken } from '../../daemon/friends/pair-token.ts'
import { MAX_CARRIED_FOR, Switchboard } from '../../daemon/friends/switchboard.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId } from '../../daemon/types.ts'
import { describeSignaller } from '../signaling/signaller-suite.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { FriendlyHost, settle } from './friend-network.ts'

let clock: VirtualClock
let a: FriendlyHost
let b: FriendlyHost
let friend: FriendlyHost

/** Everybody trusts everybody, and only the friend has sessions. */
beforeEach(async () => {
  clock = new VirtualClock()
  ;[a, b, friend] = await Promise.all([FriendlyHost.make(clock), FriendlyHost.make(clock), FriendlyHost.make(clock)])
  await a.trust(b, friend)
  await b.trust(a, friend)
  await friend.trust(a, b)
  a.meet(friend)
  b.meet(friend)
  await settle()
})

const carriedTo = (host: FriendlyHost): Uint8Array[] => {
  const arrived: Uint8Array[] = []
  host.friends.signaller.onSignal((sealed) => void arrived.push(sealed))
  return arrived
}

describeSignaller('a friend', async () => {
  const time = new VirtualClock()
  const [one, two, between, other] = await Promise.all([1, 2, 3, 4].map(() => FriendlyHost.make(time)))
  if (!one || !two || !between || !other) throw new Error('unreachable: four were made')
  const all = [one, two, between, other]
  for (const host of all) await host.trust(...all.filter((another) => another !== host))
  for (const host of [one, two, other]) host.meet(between)
  await settle()
  const end = (host: FriendlyHost) => ({
    identity: host.identity,
    signaller: host.friends.signaller,
    close: () => {
      host.part(between)
    },
  })
  return {
    a: end(one),
    b: end(two),
    others: [end(other)],
    cut: async () => {
      two.part(between)
      await settle()
    },
    mend: async () => {
      two.meet(between)
      await settle()
    },
    run: () => time.advance(10_000),
    stop: () => {},
  }
})

describe('a friend of two hosts', () => {
  test('is told by neither whom else they trust: tokens of pairs are all that leaves', async () => {
    const stranger = await FriendlyHost.make(clock)
    await a.trust(stranger)
    await settle()
    for (const { bytes } of a.sent) {
      const text = Buffer.from(bytes).toString('latin1')
      expect(text).not.toContain(stranger.peer)
      expect(text).not.toContain(b.peer)
    }
    expect(a.sent.length).toBeGreaterThan(1)
  })

  test('carries nothing for hosts that do not both wish it', async () => {
    await b.book.setTrust(a.peer, 'unknown')
    b.friends.changed()
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(false)
    const arrived = carriedTo(b)
    await friend.arrive(
      a.peer,
      encodeFriendMessage({ kind: 'carry', token: pairToken(a.peer, b.peer), sealed: randomBytes(9) }),
    )
    await settle()
    expect(arrived).toEqual([])
    expect(friend.refusals.snapshot()['policy.refused']).toBe(1)
  })

  test('carries nothing once it does not trust one of them, or does not want to', async () => {
    await friend.book.setTrust(b.peer, 'unknown')
    friend.friends.changed()
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(false)
    await friend.trust(b)
    b.friends.changed()
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(true)
    friend.isWanted = false
    friend.friends.changed()
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(false)
  })

  test('is used by nobody who does not want it', async () => {
    b.isWanted = false
    b.friends.changed()
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(false)
    expect(b.friends.signaller.reaches(a.peer)).toBe(false)
  })

  test('is asked by whom it trusts only later as well', async () => {
    const late = await FriendlyHost.make(clock)
    await late.trust(a, friend)
    await a.trust(late)
    late.meet(friend)
    await settle()
    expect(late.friends.signaller.reaches(a.peer)).toBe(false)
    await friend.trust(late)
    await settle()
    expect(late.friends.signaller.reaches(a.peer)).toBe(true)
    expect(a.friends.signaller.reaches(late.peer)).toBe(true)
  })

  test('holds each of them to a rate, and counts what it carries', async () => {
    const arrived = carriedTo(b)
    for (let i = 0; i < 300; i++) a.friends.signaller.send(b.peer, randomBytes(10))
    await settle()
    expect(arrived).toHaveLength(200)
    expect(friend.refusals.snapshot()['peer.rate-limited']).toBe(100)
    expect(friend.friends.list().find(({ peer }) => peer === a.peer)?.carried).toEqual({ signals: 200, bytes: 2000 })
    clock.advance(1000)
    for (let i = 0; i < 30; i++) a.friends.signaller.send(b.peer, randomBytes(10))
    await settle()
    expect(arrived).toHaveLength(220)
  })

  test('shows whom it reaches for us', () => {
    expect(a.friends.list()).toEqual([
      expect.objectContaining({ peer: friend.peer, reaches: [b.peer], carried: { signals: 0, bytes: 0 } }),
    ])
  })

  test('goes on by itself when one of them comes back', async () => {
    b.part(friend)
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(false)
    b.meet(friend)
    await settle()
    expect(a.friends.signaller.reaches(b.peer)).toBe(true)
  })
})

describe('an introduction', () => {
  let stranger: FriendlyHost
  beforeEach(async () => {
    stranger = await FriendlyHost.make(clock)
    await stranger.trust(friend)
    await friend.trust(stranger)
    stranger.meet(friend)
    await settle()
  })

  test('reaches both, and trusts nobody by itself', async () => {
    friend.friends.introduce(a.peer, stranger.peer)
    await settle()
    expect(a.introduced).toEqual([{ by: friend.peer, peer: stranger.peer, name: '' }])
    expect(stranger.introduced).toEqual([{ by: friend.peer, peer: a.peer, name: '' }])
    expect(a.book.get(stranger.peer).trust).toBe('unknown')
  })

  test('of somebody whom its maker does not trust, or who is away, is refused', async () => {
    const unknown = await FriendlyHost.make(clock)
    const codeOf = (task: () => void): string => {
      try {
        task()
      } catch (error) {
        return (error as PartylineError).code
      }
      return 'none'
    }
    expect(codeOf(() => friend.friends.introduce(a.peer, unknown.peer))).toBe('policy.not-trusted')
    expect(codeOf(() => friend.friends.introduce(a.peer, a.peer))).toBe('usage.invalid-argument')
    stranger.part(friend)
    expect(codeOf(() => friend.friends.introduce(a.peer, stranger.peer))).toBe('network.no-session')
    expect(a.introduced).toEqual([])
  })

  test('of one who is known, blocked or ourselves says nothing new', async () => {
    for (const peer of [b.peer, a.peer])
      await a.arrive(friend.peer, encodeFriendMessage({ kind: 'introduce', peer, name: 'x' }))
    await a.book.setTrust(stranger.peer, 'blocked')
    await a.arrive(friend.peer, encodeFriendMessage({ kind: 'introduce', peer: stranger.peer, name: 'x' }))
    expect(a.introduced).toEqual([])
  })

  test('can be made only so often', async () => {
    for (let i = 0; i < 20; i++)
      await a.arrive(friend.peer, encodeFriendMessage({ kind: 'introduce', peer: stranger.peer, name: `name ${i}` }))
    expect(a.introduced).toHaveLength(8)
  })
})

test('of a host that is not trusted nothing is taken', async () => {
  const stranger = await FriendlyHost.make(clock)
  stranger.meet(a)
  const messages: FriendMessage[] = [
    { kind: 'wishes', tokens: [], ask: true },
    { kind: 'reaches', tokens: [pairToken(a.peer, b.peer)] },
    { kind: 'carried', sealed: randomBytes(8) },
    { kind: 'introduce', peer: b.peer, name: 'b' },
  ]
  for (const message of messages)
    await expect(a.arrive(stranger.peer, encodeFriendMessage(message))).rejects.toThrow(PartylineError)
  expect(a.introduced).toEqual([])
})

test('a switchboard has so many customers, and no more', () => {
  const refusals = new Refusals()
  const told: string[] = []
  const board = new Switchboard({ refusals, tell: (peer) => void told.push(peer), mayCarry: () => true })
  const token = 'ab'.repeat(16)
  for (let i = 0; i <= MAX_CARRIED_FOR; i++) board.wish(`peer ${i}` as PeerId, [token])
  expect(board.carried().size).toBe(MAX_CARRIED_FOR)
  expect(refusals.snapshot()['local.limit']).toBe(1)
})

test("a pair that more than two name is nobody's", () => {
  const told: { peer: string; tokens: readonly string[] }[] = []
  const board = new Switchboard({
    refusals: new Refusals(),
    tell: (peer, message) => void (message.kind === 'reaches' && told.push({ peer, tokens: message.tokens })),
    mayCarry: () => true,
  })
  const token = 'ab'.repeat(16)
  for (const peer of ['x', 'y', 'z'] as PeerId[]) board.wish(peer, [token])
  expect(told).toEqual([
    { peer: 'x', tokens: [token] },
    { peer: 'y', tokens: [token] },
    { peer: 'x', tokens: [] },
    { peer: 'y', tokens: [] },
  ])
})

describe('messages of friends', () => {
  test('come out as they went in', () => {
    const message = {
      kind: 'carry',
      token: pairToken(a.peer, b.peer),
      sealed: new Uint8Array(randomBytes(100)),
    } as const
    expect(decodeFriendMessage(encodeFriendMessage(message))).toEqual(message)
  })

  test('that are no such are refused, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => decodeFriendMessage(bytes)).toThrow(PartylineError)
      }),
    )
    const many = Array.from({ length: MAX_WISHES + 1 }, () => 'ab'.repeat(16))
    for (const tokens of [many, ['ab'], ['zz'.repeat(16)]])
      expect(() => decodeFriendMessage(encodeFriendMessage({ kind: 'wishes', tokens, ask: false }))).toThrow(
        PartylineError,
      )
    expect(() => decodeFriendMessage(new Uint8Array(17_000))).toThrow(/bytes from a friend/)
  })
})
