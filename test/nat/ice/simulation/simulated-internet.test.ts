import { describe, expect, test } from 'vitest'
import type { TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import { seeded } from '../../../datagram/random.ts'
import { Link, PERFECT } from './link.ts'
import { NAT_KINDS } from './nat.ts'
import { SimulatedInternet } from './simulated-internet.ts'
import { StunServer } from './stun-server.ts'
import { Timeline } from './timeline.ts'
import { homesOf, type WorldSpec } from './world-spec.ts'

const PAYLOAD = Buffer.from([0x80, 1, 2])
const [SERVER, OTHER] = ['192.0.2.10', '192.0.2.11']

function build(spec: WorldSpec) {
  const internet = new SimulatedInternet(spec, { random: seeded(3) })
  const heard = internet.hosts.map((host) => {
    const from: TransportAddress[] = []
    host.onDatagram = (payload, source) => void from.push(StunServer.answer(payload) ?? source)
    return from
  })
  const [a, b] = [internet.host(0), internet.host(1)]
  /** What a STUN server sees of a host now; undefined when no answer comes. */
  const seen = (index: number, address = SERVER) => {
    const before = heard[index]?.length
    internet.host(index).send(StunServer.question(), { address, port: StunServer.PORT })
    internet.timeline.advance(100)
    return heard[index]?.slice(before).at(-1)
  }
  return { internet, heard, a, b, seen }
}

describe('a NAT of the simulated internet', () => {
  test('shows the same port to everybody, or to each another', () => {
    for (const [kind, isSame] of [
      ['eim', true],
      ['eim-rnd', true],
      ['adm', false],
      ['sym', false],
    ] as const) {
      const { seen } = build(homesOf({ nat: NAT_KINDS[kind] }, {}))
      expect([kind, seen(0)?.port === seen(0, OTHER)?.port]).toEqual([kind, isSame])
    }
  })

  test('keeps the port inside for the first that has it', () => {
    const spec = homesOf({}, {})
    const { seen } = build({ ...spec, hosts: spec.hosts.map((host) => ({ ...host, places: [0] })) })
    expect(seen(0)?.port).toBe(47_800)
    expect(seen(1)?.port).not.toBe(47_800)
    expect(seen(1)?.address).toBe(seen(0)?.address)
  })

  test('forgets a mapping after the silence that it allows, and not before', () => {
    const { seen, internet } = build(homesOf({ nat: NAT_KINDS['eim-rnd'], timeout: 30_000 }, {}))
    const first = seen(0)
    internet.timeline.advance(29_000)
    expect(seen(0)).toEqual(first)
    internet.timeline.advance(31_000)
    expect(seen(0)).not.toEqual(first)
  })

  test('forgets everything when it is switched off and on, and may get another address', () => {
    const { seen, internet } = build(homesOf({ nat: NAT_KINDS['eim-rnd'] }, {}))
    const first = seen(0)
    internet.reboot(0, false)
    const second = seen(0)
    internet.reboot(0, true)
    const third = seen(0)
    expect(second).not.toEqual(first)
    expect(second?.address).toBe(first?.address)
    expect(third?.address).not.toBe(first?.address)
  })

  test('lets in what its filter allows', () => {
    for (const [kind, expected] of [
      ['cone', 1],
      ['arc', 0],
      ['eim', 0],
    ] as const) {
      const { seen, internet, b, heard } = build(homesOf({ nat: NAT_KINDS[kind] }, {}))
      const to = seen(0)
      if (to) b.send(PAYLOAD, to)
      internet.timeline.advance(100)
      expect([kind, heard[0]?.length]).toEqual([kind, 1 + expected])
    }
  })

  test('a home without UDP hears nobody', () => {
    expect(build(homesOf({ udp: false }, {})).seen(0)).toBeUndefined()
  })
})

describe('a host of the simulated internet', () => {
  test('asleep, its clock stands still, it hears nothing, and what was due comes when it wakes', () => {
    const { internet, a, b, heard, seen } = build(homesOf({ nat: NAT_KINDS.cone }, {}))
    const to = seen(0) as TransportAddress
    const done: string[] = []
    a.onWake = () => void done.push(`woke at ${a.now}`)
    a.after(1000, () => void done.push(`task at ${a.now}`))
    a.sleep(60_000)
    b.send(PAYLOAD, to)
    internet.timeline.advance(60_500)
    expect(heard[0]).toHaveLength(1)
    expect(done).toEqual([`woke at ${100}`])
    internet.timeline.advance(600)
    expect(done).toEqual([`woke at ${100}`, `task at ${1100}`])
  })

  test('says at once that there is no way, or that a packet is too long', () => {
    const { a, internet } = build(homesOf({}, {}))
    expect(a.send(Buffer.alloc(1473), { address: SERVER, port: 1 })).toBe('EMSGSIZE')
    expect(a.send(Buffer.alloc(1472), { address: SERVER, port: 1 })).toBeUndefined()
    expect(a.send(PAYLOAD, { address: '2001:db8:2::c', port: 1 })).toBe('ENETUNREACH')
    internet.move(0, [])
    expect(a.send(PAYLOAD, { address: SERVER, port: 1 })).toBe('ENETUNREACH')
    expect(a.uplink).toBeUndefined()
  })

  test('moves to another home, with the addresses of that one', () => {
    const { internet, a, seen } = build(homesOf({}, { nat: NAT_KINDS.sym }))
    const first = seen(0)
    internet.move(0, [1])
    expect(a.addresses).toEqual(['192.168.2.11'])
    expect(seen(0)?.address).not.toBe(first?.address)
  })
})

describe('a relay of the simulated internet', () => {
  const spec = homesOf({ nat: NAT_KINDS.sym }, { nat: NAT_KINDS.sym }, { relay: true }, { relay: true })

  test('lets in only those whom its owner has written to, and dies with its server or the place of its owner', () => {
    const { internet, a, b, heard, seen } = build(spec)
    const allocation = internet.relay.allocate(a, internet.leg(0))
    const peer = seen(1)
    if (!allocation || !peer) throw new Error('no relay')
    a.allocations.set(allocation.id, allocation)
    const send = () => {
      b.send(PAYLOAD, allocation)
      internet.timeline.advance(100)
      return heard[0]?.length
    }
    expect(send()).toBe(0)
    a.send(PAYLOAD, { ...peer, relay: allocation.id })
    internet.timeline.advance(100)
    expect(send()).toBe(1)
    expect(heard[0]?.[0]?.relay).toBe(allocation.id)
    internet.timeline.advance(301_000)
    expect(send()).toBe(1)
    internet.move(0, [1])
    expect(allocation.isAlive).toBe(false)
    internet.setRelay(false)
    expect(internet.relay.allocate(a, internet.leg(0))).toBeUndefined()
  })
})

describe('a link of the simulated internet', () => {
  const packet = (length = 3) => ({
    source: { address: SERVER, port: 1 },
    to: { address: OTHER, port: 1 },
    payload: Buffer.alloc(length),
  })
  function arrivals(faults: object, length = 3): number[] {
    const timeline = new Timeline()
    const link = new Link(timeline, seeded(5), { ...PERFECT, ...faults })
    const order: number[] = []
    for (let index = 0; index < 1000; index++) {
      link.carry(packet(length), 'out', () => void order.push(index))
      timeline.advance(1)
    }
    timeline.advance(1000)
    return order
  }

  test('keeps the order, whatever the jitter', () => {
    const order = arrivals({ latency: 20, jitter: 30 })
    expect(order).toEqual(order.toSorted((a, b) => a - b))
    expect(order).toHaveLength(1000)
  })

  test('loses, doubles and reorders as much as it is told', () => {
    const lost = 1000 - arrivals({ loss: 0.1 }).length
    expect(lost).toBeGreaterThan(70)
    expect(lost).toBeLessThan(130)
    const doubled = arrivals({ duplicate: 0.1 }).length - 1000
    expect(doubled).toBeGreaterThan(70)
    expect(doubled).toBeLessThan(130)
    const order = arrivals({ reorder: 0.1 })
    expect(order).not.toEqual(order.toSorted((a, b) => a - b))
    expect(new Set(order).size).toBe(1000)
  })

  test('swallows what is longer than its MTU', () => {
    expect(arrivals({ mtu: 1280 }, 1252)).toHaveLength(1000)
    expect(arrivals({ mtu: 1280 }, 1253)).toHaveLength(0)
  })
})

test('the same seed gives the same run', () => {
  const run = (seed: number) => {
    const spec = homesOf({ nat: NAT_KINDS.sym }, {})
    const quality = () => ({ ...PERFECT, latency: 10, jitter: 20, loss: 0.2, duplicate: 0.1, reorder: 0.1 })
    const internet = new SimulatedInternet(spec, { random: seeded(seed), quality })
    const heard: string[] = []
    internet.host(0).onDatagram = (payload) => void heard.push(`${internet.timeline.now} ${payload.toString('hex')}`)
    for (let index = 0; index < 50; index++) {
      internet.host(0).send(StunServer.question(), { address: index % 2 ? SERVER : OTHER, port: StunServer.PORT })
      internet.timeline.advance(10)
    }
    return heard
  }
  expect(run(1)).toEqual(run(1))
  expect(run(1)).not.toEqual(run(2))
})
