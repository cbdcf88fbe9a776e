import { expect, test } from 'vitest'
import { MAX_REMOTE_CANDIDATES } from '../../../../daemon/nat/candidate.ts'
import type { HostPort } from '../../../../daemon/types.ts'
import { Attacker } from './attacker.ts'
import { IceWorld } from './ice-world.ts'
import { PERFECT } from './link.ts'
import { PLAIN_HOST } from './world-spec.ts'

const [TARGET, ATTACKER, VICTIM, FRIEND] = [0, 1, 2, 3] as const
/**
 * What an agent sends to one address that never answers, one way to it: the 7 requests of a transaction of RFC 8489 (section 6.2.1, Rc) and
 * one more for a check of the peer's own; then one in 5 seconds, as RFC 7675 (section 5.1) has it for addresses that do answer.
 */
const mostTo = (ms: number): number => 8 + Math.ceil(ms / 5000)
/** Time without a sign of the peer after which nothing is sent at all. */
const LIFE = 300_000
/** What it sends to all such addresses together: 50 a second (Ta is 20 ms; RFC 8445 section 14.2 allows 5), 5 a second in the long run. */
const CHECKS_A_SECOND = 55
const mostInAll = (ms: number): number => 400 + Math.ceil(ms / 200)
/** RFC 8445 section 6.1.2.5. */
const MOST_PAIRS = 100
/** Checks of an agent whose answers are waited for. */
const MOST_TRANSACTIONS = 256
/** Checks that are kept until their sender has said who it is. */
const MOST_EARLY = 8

/** Four hosts with public addresses: who is attacked, who attacks, who is to be flooded, and a friend of the first one's. */
function build({ friend = false, expects = true }: { friend?: boolean; expects?: boolean } = {}) {
  const hosts = [0, 1, 2, 3].map(() => ({ ...PLAIN_HOST, places: ['internet' as const] }))
  const world = new IceWorld({
    seed: 1,
    spec: { carriers: [], homes: [], hosts, relay: false },
    quality: () => PERFECT,
    signals: { delay: [5, 5], loss: 0, duplicate: 0 },
    restarts: false,
  })
  const attacker = new Attacker(world, ATTACKER, TARGET)
  const flooded: { readonly size: number; readonly at: number }[] = []
  world.internet.host(VICTIM).onDatagram = (payload, from) => {
    if (from.port !== 3478) flooded.push({ size: payload.length, at: world.internet.timeline.now })
  }
  if (friend) {
    world.host(TARGET).connect(FRIEND, true)
    world.host(FRIEND).connect(TARGET, false)
  }
  if (expects) world.host(TARGET).connect(ATTACKER, true)
  world.advance(2000)
  const victim = (port: number): HostPort => ({ address: world.internet.host(VICTIM).addresses[0] ?? '', port })
  return { world, attacker, flooded, victim, sent: world.host(TARGET).stunSent }
}

function bytesOf(packets: readonly { readonly size: number }[]): number {
  return packets.reduce((sum, { size }) => sum + size, 0)
}

/** The victim's one port, so that its host counts what comes. */
const PORT = 47_800

test('a candidate that points at a victim: few checks, then fewer, then none', () => {
  const { world, attacker, flooded, victim } = build()
  attacker.describe([victim(PORT)])
  world.advance(10_000)
  expect(flooded.length).toBeLessThanOrEqual(mostTo(10_000))
  world.advance(LIFE)
  expect(flooded.length).toBeLessThanOrEqual(mostTo(LIFE))
  const before = flooded.length
  world.advance(3_600_000)
  expect(flooded).toHaveLength(before)
})

test('the same victim told again and again, with other credentials each time', () => {
  const { world, attacker, flooded, victim } = build()
  for (let second = 0; second < 600; second++) {
    attacker.describe([victim(PORT)], { ufrag: `evil${second}`, pwd: attacker.own.pwd })
    world.advance(1000)
  }
  expect(flooded.length).toBeLessThanOrEqual(mostTo(600_000))
})

test('endless candidates: no more pairs than there may be, and no more checks a second', () => {
  const { world, attacker, sent } = build()
  const begin = sent.length
  for (let round = 0; round < 300; round++) {
    const addresses = Array.from({ length: 200 }, (_, at) => ({
      address: `198.19.${round % 250}.${at}`,
      port: 1000 + round,
    }))
    attacker.describe(addresses)
    world.advance(1000)
  }
  expect(world.peer(TARGET, ATTACKER).agent.pairs().length).toBeLessThanOrEqual(MAX_REMOTE_CANDIDATES)
  expect(sent.length - begin).toBeLessThanOrEqual(mostInAll(300_000))
  expect(world.peer(TARGET, ATTACKER).checks.mostWithin(1000, 0)).toBeLessThanOrEqual(CHECKS_A_SECOND)
  expect(world.host(TARGET).mux.transactions).toBeLessThanOrEqual(MOST_TRANSACTIONS)
})

test('checks of a stranger, from everywhere and by the thousand, are not answered and start nothing', () => {
  const { world, attacker, sent } = build({ friend: true })
  const pairs = world.peer(TARGET, FRIEND).agent.pairs().length
  const ufrag = attacker.target?.ufrag ?? ''
  world.peer(TARGET, ATTACKER).close()
  world.advance(60_000)
  const begin = sent.length
  for (let count = 0; count < 2000; count++) {
    attacker.check({
      source: { address: `198.19.${count >> 8}.${count & 255}`, port: 1000 + count },
      pwd: 'guessed',
      ufrag,
    })
    attacker.check({
      source: { address: `198.19.${count >> 8}.${count & 255}`, port: 1000 },
      pwd: 'guessed',
      ufrag: `u${count}`,
    })
  }
  world.advance(1000)
  // What two friends say to each other in that time.
  expect(sent.length - begin).toBeLessThanOrEqual(5)
  expect(world.peer(TARGET, FRIEND).agent.pairs()).toHaveLength(pairs)
  expect(world.peer(TARGET, FRIEND).agent.selected).toBeDefined()
})

test('checks of the peer itself that claim to come from a victim: an answer to each, and few checks', () => {
  const { world, attacker, flooded, victim } = build()
  attacker.describe([attacker.address])
  let [asked, bytes] = [0, 0]
  for (let count = 0; count < 600; count++) {
    bytes += attacker.check({ source: victim(PORT), nominates: true }).length
    asked++
    world.advance(100)
  }
  expect(flooded.length).toBeLessThanOrEqual(asked + mostTo(60_000))
  expect(bytesOf(flooded)).toBeLessThanOrEqual(bytes)
  expect(world.peer(TARGET, ATTACKER).agent.selected).toBeUndefined()
})

test('checks of the peer from thousands of addresses: as many pairs as there may be', () => {
  const { world, attacker, sent } = build()
  attacker.describe([attacker.address])
  const begin = sent.length
  for (let count = 0; count < 3000; count++) {
    attacker.check({ source: { address: `198.19.${count >> 8}.${count & 255}`, port: 1000 + count } })
    if (count % 50 === 0) world.advance(1000)
  }
  world.advance(10_000)
  expect(world.peer(TARGET, ATTACKER).agent.pairs().length).toBeLessThanOrEqual(MOST_PAIRS)
  expect(sent.length - begin).toBeLessThanOrEqual(3000 + mostInAll(70_000))
})

test('messages of the peer, replayed from other addresses, move nothing and flood nobody', () => {
  const { world, attacker, flooded, victim } = build({ friend: true })
  const { agent, selections } = world.peer(TARGET, FRIEND)
  const overheard: Buffer[] = []
  const { host } = world.host(TARGET)
  const { onDatagram } = host
  host.onDatagram = (payload, from) => {
    if (from.address === world.internet.host(FRIEND).addresses[0] && (payload[0] ?? 255) < 4) overheard.push(payload)
    onDatagram(payload, from)
  }
  world.advance(60_000)
  const told = selections.length
  let bytes = 0
  for (let round = 0; round < 50; round++)
    for (const payload of overheard) {
      attacker.send(payload, victim(PORT))
      bytes += payload.length
      world.advance(50)
    }
  expect(overheard.length).toBeGreaterThan(4)
  expect(selections).toHaveLength(told)
  expect(agent.selected?.to.address).toBe(world.internet.host(FRIEND).addresses[0])
  expect(bytesOf(flooded)).toBeLessThanOrEqual(bytes)
})

test('its own messages, reflected to it, move nothing', () => {
  const { world, attacker } = build({ friend: true })
  const { agent, selections } = world.peer(TARGET, FRIEND)
  const told = selections.length
  const { host } = world.host(TARGET)
  const { onSent } = host
  host.onSent = (payload, to) => {
    onSent(payload, to)
    if ((payload[0] ?? 255) < 4) attacker.send(payload)
  }
  world.advance(120_000)
  expect(selections).toHaveLength(told)
  expect(agent.selected).toBeDefined()
})

test('consent that is given from another address is none', () => {
  const { world, attacker } = build()
  const elsewhere = { address: '198.19.0.9', port: 9 }
  let isHonest = true
  attacker.onCheck = (message, from) => attacker.answer(message, from, isHonest ? {} : { source: elsewhere })
  attacker.describe([attacker.address])
  world.advance(200)
  attacker.check({ isControlling: false })
  world.advance(5000)
  const { agent } = world.peer(TARGET, ATTACKER)
  expect(agent.selected?.to).toMatchObject(attacker.address)
  isHonest = false
  world.advance(31_000)
  expect(agent.selected).toBeUndefined()
})

test('consent that is given with another password is none', () => {
  const { world, attacker } = build()
  let pwd = attacker.own.pwd
  attacker.onCheck = (message, from) => attacker.answer(message, from, { pwd })
  attacker.describe([attacker.address])
  world.advance(200)
  attacker.check({ isControlling: false })
  world.advance(5000)
  const { agent } = world.peer(TARGET, ATTACKER)
  expect(agent.selected).toBeDefined()
  pwd = 'guessed+guessed+guessed'
  world.advance(31_000)
  expect(agent.selected).toBeUndefined()
})

test('a peer that changes its role with every check gets an answer to each, and no more', () => {
  const { world, attacker, sent } = build()
  attacker.onCheck = (message, from) => attacker.answer(message, from)
  attacker.describe([attacker.address])
  const begin = sent.length
  for (let count = 0; count < 500; count++) {
    const tieBreaker = Buffer.alloc(8, count % 2 ? 0 : 0xff)
    attacker.check({ isControlling: count % 3 === 0, tieBreaker, nominates: true })
    world.advance(20)
  }
  expect(sent.length - begin).toBeLessThanOrEqual(500 + mostInAll(10_000))
  expect(world.peer(TARGET, ATTACKER).selections.length).toBeLessThanOrEqual(3)
})

test('checks for user fragments that nobody has: nothing is sent, and little is kept', () => {
  const { world, attacker, sent } = build({ expects: false })
  world.advance(60_000)
  const begin = sent.length
  for (let count = 0; count < 20_000; count++) {
    attacker.check({ ufrag: `nobody${count}`, pwd: 'x' })
    if (count % 1000 === 0) world.advance(100)
  }
  world.advance(1000)
  expect(sent).toHaveLength(begin)
})

test('checks that come before the description of the peer do not hinder it', () => {
  const { world, attacker } = build()
  attacker.onCheck = (message, from) => attacker.answer(message, from)
  for (let count = 0; count < 50; count++) {
    attacker.check({ isControlling: false })
    world.advance(20)
  }
  attacker.describe([attacker.address])
  world.advance(5000)
  expect(world.peer(TARGET, ATTACKER).agent.selected?.to).toMatchObject(attacker.address)
})

test('checks from thousands of addresses before the description of the peer: few are kept', () => {
  const { world, attacker, sent } = build()
  const begin = sent.length
  for (let count = 0; count < 3000; count++) {
    attacker.check({ source: { address: `198.19.${count >> 8}.${count & 255}`, port: 1000 + count } })
    if (count % 50 === 0) world.advance(100)
  }
  world.advance(1000)
  // An answer to each, and no check of anybody.
  expect(sent.length - begin).toBeLessThanOrEqual(3000)
  attacker.describe([attacker.address])
  world.advance(1000)
  expect(world.peer(TARGET, ATTACKER).agent.pairs().length).toBeLessThanOrEqual(1 + MOST_EARLY)
})

test('a peer that answers every check with a role conflict gets no more checks than one that says nothing', () => {
  const { world, attacker } = build()
  attacker.onCheck = (message) => attacker.conflict(message)
  attacker.describe([attacker.address])
  const { checks } = world.peer(TARGET, ATTACKER)
  world.advance(60_000)
  expect(checks.total).toBeGreaterThan(0)
  expect(checks.total).toBeLessThanOrEqual(mostTo(60_000))
})

test('after it is closed an agent sends nothing, whatever comes', () => {
  const { world, attacker, sent } = build()
  const peer = world.peer(TARGET, ATTACKER)
  attacker.describe([attacker.address])
  world.advance(3000)
  peer.close()
  const begin = sent.length
  for (let count = 0; count < 100; count++) attacker.check({ nominates: true })
  attacker.describe([attacker.address])
  world.advance(60_000)
  expect(sent).toHaveLength(begin)
})
