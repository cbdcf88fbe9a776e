import { generateKeyPairSync } from 'node:crypto'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { PeerBook } from '../../daemon/peers/peer-book.ts'
import { NO_WAYS, type Ways } from '../../daemon/peers/ways.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { MessageService } from '../../daemon/services/messages.ts'
import { decodeWays, WaysExchange } from '../../daemon/services/ways-exchange.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const newPeer = (): PeerId => identityOf(generateKeyPairSync('ed25519').privateKey).peer
const WAYS: Ways = {
  accounts: ['anna@example.org'],
  hubs: ['198.51.100.7:5223'],
  addresses: [{ address: '203.0.113.9', port: 47800 }],
}

/** A host with a session to every other one. */
class Host {
  readonly peer: PeerId
  readonly book: PeerBook
  readonly others = new Map<PeerId, Host>()
  readonly refusals = new Refusals()
  readonly exchange: WaysExchange
  own: Ways = NO_WAYS
  sent = 0
  #handler: (peer: PeerId, bytes: Uint8Array) => unknown = () => {}

  static async make(): Promise<Host> {
    const self = newPeer()
    return new Host(self, await PeerBook.open({ self, clock: new VirtualClock(), logger: silentLogger }))
  }

  private constructor(peer: PeerId, book: PeerBook) {
    this.peer = peer
    this.book = book
    this.exchange = new WaysExchange({
      messages: {
        handle: (_: string, handler: (from: PeerId, bytes: Uint8Array) => unknown) => {
          this.#handler = handler
        },
        send: async (to: PeerId, _: string, bytes: Uint8Array) => {
          this.sent++
          await this.others.get(to)?.arrive(peer, bytes)
        },
      } as unknown as MessageService,
      book,
      refusals: this.refusals,
      own: () => this.own,
      sessions: () => [...this.others.keys()],
    })
  }

  async arrive(from: PeerId, bytes: Uint8Array): Promise<void> {
    await this.#handler(from, bytes)
  }

  meet(other: Host): void {
    this.others.set(other.peer, other)
    other.others.set(this.peer, this)
    for (const one of [this, other]) one.exchange.changed()
  }

  async trust(other: Host): Promise<void> {
    await this.book.setTrust(other.peer, 'trusted')
    this.exchange.changed()
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
}

let a: Host
let b: Host
beforeEach(async () => {
  ;[a, b] = await Promise.all([Host.make(), Host.make()])
  a.own = WAYS
})

test('hosts that trust each other learn how they are reached, whoever trusted first', async () => {
  await a.trust(b)
  a.meet(b)
  await settle()
  expect(b.book.ways(a.peer)).toEqual(NO_WAYS)
  expect(b.refusals.snapshot()['policy.refused']).toBeGreaterThan(0)
  await b.trust(a)
  await settle()
  expect(b.book.ways(a.peer)).toEqual(WAYS)
})

test('what is other than before is told, and the same is not told again', async () => {
  await Promise.all([a.trust(b), b.trust(a)])
  a.meet(b)
  await settle()
  const before = a.sent
  a.exchange.changed()
  await settle()
  expect(a.sent).toBe(before)
  a.own = { ...WAYS, accounts: [] }
  a.exchange.changed()
  await settle()
  expect(b.book.ways(a.peer).accounts).toEqual([])
})

test('nothing goes to a peer that is not trusted', async () => {
  a.meet(b)
  await settle()
  expect(a.sent).toBe(0)
})

test('a peer is dialled where it says that it is reached only while it is trusted', async () => {
  await b.trust(a)
  await a.trust(b)
  a.meet(b)
  await settle()
  expect(b.book.addresses(a.peer)).toMatchObject([{ address: '203.0.113.9', port: 47800 }])
  await b.book.setTrust(a.peer, 'unknown')
  expect(b.book.addresses(a.peer)).toEqual([])
})

describe('what a peer says', () => {
  const valid = (change: object): Uint8Array => encode({ ...WAYS, ...change })

  test.each([
    ['too many accounts', { accounts: Array.from({ length: 5 }, (_, i) => `a${i}@example.org`) }],
    ['what is no account', { accounts: ['anna'] }],
    ['an account of a resource', { accounts: ['anna@example.org/home'] }],
    ['capitals, which servers do not tell apart', { accounts: ['Anna@example.org'] }],
    ['markup', { accounts: ['<a>@example.org'] }],
    ['a name for an address', { addresses: [{ address: 'example.org', port: 1 }] }],
    ['port 0', { addresses: [{ address: '203.0.113.9', port: 0 }] }],
    ['too many addresses', { addresses: Array.from({ length: 9 }, () => ({ address: '203.0.113.9', port: 1 })) }],
    ['a hub without end', { hubs: ['x'.repeat(1025)] }],
  ])('is refused with %s', (_, change) => {
    expect(() => decodeWays(valid(change))).toThrow(PartylineError)
  })

  test('is refused where it is nothing of the kind, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => decodeWays(bytes)).toThrow(PartylineError)
      }),
    )
    expect(() => decodeWays(new Uint8Array(20_000))).toThrow(/20000 bytes/)
  })
})
