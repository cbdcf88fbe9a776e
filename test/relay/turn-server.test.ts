import { beforeEach, describe, expect, test } from 'vitest'
import { decodeXorAddress } from '../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../daemon/nat/stun/registry.ts'
import { TurnAllocation } from '../../daemon/nat/turn/allocation.ts'
import { MAX_CHANNELS } from '../../daemon/relay/channels.ts'
import { MAX_PERMISSIONS } from '../../daemon/relay/permissions.ts'
import { MAX_RESERVATIONS } from '../../daemon/relay/reservations.ts'
import { ANNA, BEN, HOUR, isFamily, only, RELAY, RelayWorld, type WorldClient } from './relay-world.ts'

const HOME = { address: '1.2.3.4', port: 4000 }
const OTHER_HOME = { address: '5.6.7.8', port: 4000 }
const PEER = { address: '9.8.7.6', port: 7000 }
const SIXTH = { address: '2a01::7', port: 7000 }

let world: RelayWorld
let anna: WorldClient

beforeEach(() => {
  world = new RelayWorld()
  anna = world.client(ANNA, HOME)
})

const bytesOf = (...values: number[]): Buffer => Buffer.from(values)

describe('an allocation', () => {
  test('begins with a relayed address, the mapped one and ten minutes', () => {
    const { code, message, relayed } = anna.allocate()
    expect(code).toBe(0)
    expect(only(relayed).address).toBe(RELAY[4])
    expect(decodeXorAddress(message.get(ATTRIBUTE.xorMappedAddress) ?? bytesOf(), message.transaction)).toEqual(HOME)
    expect(message.get(ATTRIBUTE.lifetime)?.readUInt32BE()).toBe(600)
    expect(message.get(ATTRIBUTE.software)?.toString()).toMatch(/^partyline /)
    expect(message.integrity).toBe('sha256')
    expect(world.log).toEqual([`begun ${ANNA}`])
  })

  test('is answered alike when the request comes again, and refused (437) when another one comes', () => {
    anna.allocate()
    const { packet } = anna.write(METHOD.allocate, (writer) =>
      writer.add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0)),
    )
    expect(anna.exchange(packet)?.code).toBe(437)
    const ben = world.client(BEN, OTHER_HOME)
    const first = ben.allocate()
    const again = ben.packets.length
    const last = ben.packets.at(-1) as Buffer
    expect(first.code).toBe(0)
    expect(world.server.allocations.size).toBe(2)
    expect(again).toBe(2)
    expect(StunMessage.decode(last).class).toBe('success')
  })

  test('a retransmitted Allocate makes no second one', () => {
    const write = (writer: StunWriter): unknown => writer.add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0))
    anna.request(METHOD.refresh)
    const { packet } = anna.write(METHOD.allocate, write)
    const [one, two] = [anna.exchange(packet), anna.exchange(packet)]
    expect([one?.code, two?.code]).toEqual([0, 0])
    expect(two?.message.get(ATTRIBUTE.xorRelayedAddress)).toEqual(one?.message.get(ATTRIBUTE.xorRelayedAddress))
    expect(world.server.allocations.size).toBe(1)
    expect(world.openPorts).toBe(1)
  })

  test.each([
    ['no transport', 400, () => {}],
    ['TCP to peers', 442, (w: StunWriter) => w.add(ATTRIBUTE.requestedTransport, bytesOf(6, 0, 0, 0))],
    [
      'a family that there is not',
      440,
      (w: StunWriter) =>
        w
          .add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0))
          .add(ATTRIBUTE.requestedAddressFamily, bytesOf(9, 0, 0, 0)),
    ],
    [
      'one family and an additional one',
      400,
      (w: StunWriter) =>
        w
          .add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0))
          .add(ATTRIBUTE.requestedAddressFamily, bytesOf(2, 0, 0, 0))
          .add(ATTRIBUTE.additionalAddressFamily, bytesOf(2, 0, 0, 0)),
    ],
    [
      'IPv4 as the additional family',
      400,
      (w: StunWriter) =>
        w
          .add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0))
          .add(ATTRIBUTE.additionalAddressFamily, bytesOf(1, 0, 0, 0)),
    ],
    [
      'a reservation that there is not',
      508,
      (w: StunWriter) =>
        w
          .add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0))
          .add(ATTRIBUTE.reservationToken, bytesOf(1, 2, 3, 4, 5, 6, 7, 8)),
    ],
    [
      'a reservation and an even port',
      400,
      (w: StunWriter) =>
        w
          .add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0))
          .add(ATTRIBUTE.evenPort, bytesOf(0))
          .add(ATTRIBUTE.reservationToken, bytesOf(1, 2, 3, 4, 5, 6, 7, 8)),
    ],
    [
      'an attribute that nobody knows',
      420,
      (w: StunWriter) => w.add(ATTRIBUTE.requestedTransport, bytesOf(17, 0, 0, 0)).add(0x7abc, bytesOf(1)),
    ],
  ])('with %s is refused (%i)', (_what, code, write) => {
    const answer = anna.request(METHOD.allocate, (writer) => void write(writer))
    expect(answer.code).toBe(code)
    expect(answer.message.integrity).toBe('sha256')
    expect(world.server.allocations.size).toBe(0)
    expect(world.openPorts).toBe(0)
  })

  test('in both families has two addresses; without IPv6 it has one, and says so', () => {
    const both = (writer: StunWriter): unknown => writer.add(ATTRIBUTE.additionalAddressFamily, bytesOf(2, 0, 0, 0))
    expect(anna.allocate(both).relayed.map(({ address }) => address)).toEqual([RELAY[4], RELAY[6]])
    world.families.delete(6)
    const { relayed, message } = world.client(BEN, OTHER_HOME).allocate(both)
    expect(relayed.map(({ address }) => address)).toEqual([RELAY[4]])
    expect(message.get(ATTRIBUTE.addressErrorCode)?.subarray(0, 4)).toEqual(bytesOf(2, 0, 4, 40))
  })

  test('in IPv6 alone relays to IPv6 alone (443)', () => {
    const { relayed } = anna.allocate((writer) => writer.add(ATTRIBUTE.requestedAddressFamily, bytesOf(2, 0, 0, 0)))
    expect(relayed.map(({ address }) => address)).toEqual([RELAY[6]])
    expect(anna.permit(PEER.address)).toBe(443)
    expect(anna.permit(SIXTH.address)).toBe(0)
    anna.send(SIXTH, 'hello')
    expect(world.out).toEqual([{ to: '[2a01::7]:7000', text: 'hello', from: `[${RELAY[6]}]:${only(relayed).port}` }])
  })

  test('of a pair of ports: an even one, and the next one for whoever has the token, once', () => {
    const pair = anna.allocate((writer) => writer.add(ATTRIBUTE.evenPort, bytesOf(0x80)))
    const even = only(pair.relayed)
    expect(even.port % 2).toBe(0)
    const token = pair.message.get(ATTRIBUTE.reservationToken) ?? bytesOf()
    const take = (client: WorldClient) => client.allocate((writer) => writer.add(ATTRIBUTE.reservationToken, token))
    expect(take(world.client(BEN, OTHER_HOME)).code).toBe(508)
    expect(only(take(world.client(ANNA, { ...HOME, port: 4001 })).relayed)).toEqual({ ...even, port: even.port + 1 })
    expect(take(world.client(ANNA, { ...HOME, port: 4002 })).code).toBe(508)
  })

  test('reserved ports that nobody comes for are closed, and there are no more than so many', () => {
    world.limits = { ...world.limits, perPeer: 1000 }
    const codes = Array.from({ length: MAX_RESERVATIONS + 1 }, (_, n) => {
      const client = world.client(ANNA, { ...HOME, port: 10_000 + n })
      return client.allocate((writer) => writer.add(ATTRIBUTE.evenPort, bytesOf(0x80))).code
    })
    expect(codes.filter((code) => code === 0)).toHaveLength(MAX_RESERVATIONS)
    expect(codes.at(-1)).toBe(508)
    world.advance(31_000)
    expect(world.openPorts).toBe(MAX_RESERVATIONS)
  })

  test('ends when it is not kept up, and its port is closed', () => {
    const { relayed } = anna.allocate()
    world.advance(599_000)
    expect(world.server.allocations.size).toBe(1)
    world.advance(2000)
    expect(world.server.allocations.size).toBe(0)
    expect(world.openPorts).toBe(0)
    world.fromPeer(PEER, only(relayed), 'too late')
    expect(anna.received).toEqual([])
    expect(anna.refresh().code).toBe(437)
    expect(world.log.at(-1)).toBe(`ended ${ANNA}: it was not kept up`)
  })

  test.each([
    [undefined, 600],
    [1, 600],
    [1800, 1800],
    [4_000_000_000, 3600],
  ])('asked to last %s s lasts %i s', (asked, lasts) => {
    anna.allocate()
    const { message } = anna.refresh(asked)
    expect(message.get(ATTRIBUTE.lifetime)?.readUInt32BE()).toBe(lasts)
    world.advance(lasts * 1000 - 1)
    expect(world.server.allocations.size).toBe(1)
    world.advance(1)
    expect(world.server.allocations.size).toBe(0)
  })

  test('is given back with a lifetime of 0, one family of two as well', () => {
    anna.allocate((writer) => writer.add(ATTRIBUTE.additionalAddressFamily, bytesOf(2, 0, 0, 0)))
    const drop = anna.request(METHOD.refresh, (writer) =>
      writer.add(ATTRIBUTE.lifetime, 0).add(ATTRIBUTE.requestedAddressFamily, bytesOf(2, 0, 0, 0)),
    )
    expect(drop.code).toBe(0)
    expect(world.openPorts).toBe(1)
    expect(
      only([...world.server.allocations])
        .ports.map(({ address }) => address)
        .filter(isFamily(6)),
    ).toEqual([])
    expect(anna.refresh(0).code).toBe(0)
    expect(world.openPorts).toBe(0)
    expect(anna.refresh(0).code).toBe(437)
  })

  test('belongs to its user (441), who may have newer credentials by now', () => {
    anna.allocate()
    world.advance(HOUR / 8)
    expect(world.client(BEN, HOME).refresh().code).toBe(441)
    expect(world.client(BEN, HOME).permit(PEER.address)).toBe(441)
    expect(world.client(ANNA, HOME).refresh().code).toBe(0)
  })

  test('is one of so many of a peer (486), and of all (508)', () => {
    world.limits = { ...world.limits, allocations: 5, perPeer: 3 }
    const codes = [ANNA, ANNA, ANNA, ANNA, BEN, BEN, BEN].map(
      (peer, n) => world.client(peer, { ...HOME, port: 4000 + n }).allocate().code,
    )
    expect(codes).toEqual([0, 0, 0, 486, 0, 0, 508])
    expect(world.openPorts).toBe(5)
  })

  test('ends at once when its peer is trusted no more', () => {
    anna.allocate()
    world.client(BEN, OTHER_HOME).allocate()
    world.trusted.delete(ANNA)
    world.server.review(world.now)
    expect([...world.server.allocations].map(({ peer }) => peer)).toEqual([BEN])
    // A hashed name is not even known any more.
    expect(anna.allocate().code).toBe(401)
    expect(world.client(ANNA, HOME, { old: true }).allocate().code).toBe(403)
    expect(world.server.allocations.size).toBe(1)
  })

  test('over a connection ends with it', () => {
    const stream = world.client(ANNA, OTHER_HOME, { transport: 'tls' })
    stream.allocate()
    world.server.clientGone(stream.tuple)
    expect(world.server.allocations.size).toBe(0)
  })
})

describe('credentials', () => {
  test('that are over, or of another secret, are worth nothing', () => {
    const early = world.client(ANNA, HOME)
    world.advance(2 * HOUR)
    expect(early.allocate().code).toBe(401)
    const other = world.client(ANNA, OTHER_HOME)
    world.secrets = [Buffer.alloc(32, 9)]
    expect(other.allocate().code).toBe(401)
  })

  test('of the secret before are good', () => {
    world.secrets = [Buffer.alloc(32, 9), ...world.secrets]
    expect(anna.allocate().code).toBe(0)
  })

  test('of a peer that nobody trusts are refused', () => {
    world.trusted.delete(ANNA)
    expect(world.client(ANNA, HOME, { username: '9999999999:abc', password: 'x' }).allocate().code).toBe(401)
    expect(anna.allocate().code).not.toBe(0)
  })

  test('of a client of RFC 5389 are proven by MD5 and SHA-1', () => {
    const old = world.client(ANNA, HOME, { old: true })
    const { code, message } = old.allocate()
    expect(code).toBe(0)
    expect(message.integrity).toBe('sha1')
    expect(world.client(ANNA, OTHER_HOME, { old: true, password: 'wrong' }).allocate().code).toBe(401)
  })

  test('a client that leaves out, or alters, what algorithms it was offered is told off (400)', () => {
    anna.allocate()
    for (const algorithms of [
      [bytesOf(0, 1, 0, 0), bytesOf(0, 1, 0, 0)],
      [bytesOf(0, 2, 0, 0, 0, 1, 0, 0), bytesOf(0, 3, 0, 0)],
      [undefined, bytesOf(0, 1, 0, 0)],
    ])
      expect(world.client(ANNA, HOME, { old: true, algorithms }).refresh().code).toBe(400)
  })

  test('a nonce is good for an hour, and for the address it was made for', () => {
    anna.allocate()
    for (let n = 0; n < 7; n++) {
      world.advance(9 * 60_000)
      expect(world.server.allocations.size).toBe(1)
      const { packet } = anna.write(METHOD.refresh)
      const answer = anna.exchange(packet)
      expect(answer?.code).toBe(n < 6 ? 0 : 438)
    }
    const { packet } = anna.write(METHOD.refresh)
    const thief = world.client(ANNA, OTHER_HOME)
    expect(thief.exchange(packet)?.code).toBe(438)
  })
})

describe('permissions', () => {
  beforeEach(() => void anna.allocate())

  test('let packets out and in for five minutes', () => {
    const to = only([...world.server.allocations]).ports[0]?.address ?? PEER
    anna.send(PEER, 'before')
    world.fromPeer(PEER, to, 'before')
    expect(anna.permit(PEER.address)).toBe(0)
    anna.send(PEER, 'with')
    world.fromPeer({ ...PEER, port: 1 }, to, 'from any port')
    world.advance(300_000)
    anna.send(PEER, 'after')
    world.fromPeer(PEER, to, 'after')
    expect(world.out.map(({ text }) => text)).toEqual(['with'])
    expect(anna.received).toEqual([{ from: '9.8.7.6:1', text: 'from any port', by: 'data' }])
  })

  test('are so many at most (508), and none of those that are too many', () => {
    const addresses = Array.from({ length: MAX_PERMISSIONS - 1 }, (_, n) => `20.0.0.${n}`)
    expect(anna.permit(...addresses.slice(0, 32))).toBe(0)
    expect(anna.permit(...addresses.slice(32))).toBe(0)
    expect(anna.permit('20.0.1.1', '20.0.1.2')).toBe(508)
    const { permissions } = only([...world.server.allocations])
    expect(permissions.size).toBe(MAX_PERMISSIONS - 1)
    expect(anna.permit('20.0.1.1')).toBe(0)
    world.advance(300_001)
    expect(anna.permit('20.0.1.3')).toBe(0)
    expect(permissions.size).toBe(1)
  })

  test('want an address (400)', () => {
    expect(anna.permit()).toBe(400)
  })

  test('without an allocation there are none (437)', () => {
    expect(world.client(BEN, OTHER_HOME).permit(PEER.address)).toBe(437)
    expect(world.client(BEN, OTHER_HOME).bind(0x4000, PEER)).toBe(437)
  })
})

describe('channels', () => {
  beforeEach(() => void anna.allocate())

  test('carry packets both ways for ten minutes, while there is a permission', () => {
    const to = only([...world.server.allocations]).ports[0]?.address ?? PEER
    expect(anna.bind(0x4001, PEER)).toBe(0)
    anna.channelData(0x4001, 'hello')
    world.fromPeer(PEER, to, 'hi')
    world.advance(300_000)
    anna.channelData(0x4001, 'no permission')
    expect(anna.permit(PEER.address)).toBe(0)
    anna.channelData(0x4001, 'again')
    world.advance(299_000)
    expect(anna.permit(PEER.address)).toBe(0)
    expect(anna.refresh().code).toBe(0)
    world.advance(1001)
    anna.channelData(0x4001, 'over')
    world.fromPeer(PEER, to, 'by indication')
    expect(world.out.map(({ text }) => text)).toEqual(['hello', 'again'])
    expect(anna.received.map(({ by, text }) => `${by} ${text}`)).toEqual(['channel hi', 'data by indication'])
  })

  test('are padded over a stream, and not over UDP', () => {
    const stream = world.client(BEN, OTHER_HOME, { transport: 'tcp' })
    const { relayed } = stream.allocate()
    stream.bind(0x4000, PEER)
    world.fromPeer(PEER, only(relayed), 'hello')
    expect(stream.packets.at(-1)).toHaveLength(12)
    anna.bind(0x4000, PEER)
    world.fromPeer(PEER, only([...world.server.allocations].slice(0, 1)).ports[0]?.address ?? PEER, 'hello')
    expect(anna.packets.at(-1)).toHaveLength(9)
  })

  test.each([
    ['a number out of range', 0x3fff, PEER],
    ['a number out of range', 0x8000, PEER],
    ['port 0', 0x4000, { ...PEER, port: 0 }],
  ])('with %s are refused (400)', (_what, number, peer) => {
    expect(anna.bind(number, peer)).toBe(400)
  })

  test('belong to one peer, and a peer has one (400); the same again is kept up', () => {
    expect(anna.bind(0x4000, PEER)).toBe(0)
    expect(anna.bind(0x4000, { ...PEER, port: 1 })).toBe(400)
    expect(anna.bind(0x4001, PEER)).toBe(400)
    expect(anna.bind(0x4000, PEER)).toBe(0)
    expect(anna.bind(0x4001, { ...PEER, port: 1 })).toBe(0)
  })

  test('are so many at most (508)', () => {
    const codes = Array.from({ length: MAX_CHANNELS + 1 }, (_, n) => anna.bind(0x4000 + n, { ...PEER, port: 100 + n }))
    expect(codes.filter((code) => code === 0)).toHaveLength(MAX_CHANNELS)
    expect(codes.at(-1)).toBe(508)
  })
})

describe('between clients of one server', () => {
  test('packets stay inside, and both need a permission', () => {
    const ben = world.client(BEN, OTHER_HOME)
    const [here, there] = [only(anna.allocate().relayed), only(ben.allocate().relayed)]
    expect(anna.permit(there.address)).toBe(0)
    anna.send(there, 'too early')
    expect(ben.permit(here.address)).toBe(0)
    anna.send(there, 'hello')
    expect(ben.bind(0x4000, here)).toBe(0)
    ben.channelData(0x4000, 'hi')
    expect(ben.received).toEqual([{ from: `${here.address}:${here.port}`, text: 'hello', by: 'data' }])
    expect(anna.received).toEqual([{ from: `${there.address}:${there.port}`, text: 'hi', by: 'data' }])
    expect(world.out).toEqual([])
  })

  test('what goes to a port of the relay that nobody has goes nowhere', () => {
    anna.allocate()
    expect(anna.permit(RELAY[4])).toBe(0)
    anna.send({ address: RELAY[4], port: 22 }, 'hello')
    expect(anna.bind(0x4000, { address: RELAY[4], port: 22 })).toBe(0)
    anna.channelData(0x4000, 'hello')
    expect(world.out).toEqual([])
  })
})

describe('limits of bandwidth', () => {
  const kilobyte = 'x'.repeat(1000)

  test('hold a peer, whatever it has reserved, each way', () => {
    world.limits = { ...world.limits, bandwidth: 800_000 }
    const second = world.client(ANNA, { ...HOME, port: 4001 })
    const relayed = only(anna.allocate().relayed)
    second.allocate()
    for (const client of [anna, second]) client.permit(PEER.address)
    for (let n = 0; n < 100; n++) for (const client of [anna, second]) client.send(PEER, kilobyte)
    expect(world.out).toHaveLength(65)
    for (let n = 0; n < 100; n++) world.fromPeer(PEER, relayed, kilobyte)
    expect(anna.received).toHaveLength(65)
    world.advance(500)
    for (let n = 0; n < 100; n++) anna.send(PEER, kilobyte)
    expect(world.out).toHaveLength(115)
    expect(only(world.server.usage()).dropped).toBe(135 + 35 + 50)
  })

  test('hold all together', () => {
    world.limits = { ...world.limits, totalBandwidth: 800_000 }
    const ben = world.client(BEN, OTHER_HOME)
    for (const client of [anna, ben]) {
      client.allocate()
      client.permit(PEER.address)
      for (let n = 0; n < 50; n++) client.send(PEER, kilobyte)
    }
    expect(world.out).toHaveLength(65)
  })
})

test('tells who relays how much', () => {
  anna.allocate()
  anna.permit(PEER.address)
  world.now = 10_000
  anna.send(PEER, 'x'.repeat(1000))
  world.now = 11_000
  const { peer, allocations, sent, received } = only(world.server.usage())
  expect({ peer, allocations, bytes: sent.bytes, packets: sent.packets, rate: sent.rate(world.now) }).toEqual({
    peer: ANNA,
    allocations: 1,
    bytes: 1000,
    packets: 1,
    rate: 8000,
  })
  expect(received.bytes).toBe(0)
  expect(sent.rate(world.now + 5000)).toBe(0)
})

test('tells anybody their address (Binding), with a fingerprint for those that send one', () => {
  const stranger = world.client(ANNA, { address: '77.1.2.3', port: 999 })
  for (const fingerprint of [true, false]) {
    const packet = new StunWriter('request', METHOD.binding, world.bytes(12)).finish({ fingerprint })
    const { message } = stranger.exchange(packet) ?? expect.fail('no answer')
    const mapped = message.get(ATTRIBUTE.xorMappedAddress) ?? bytesOf()
    expect(decodeXorAddress(mapped, message.transaction)).toEqual({ address: '77.1.2.3', port: 999 })
    expect(message.has(ATTRIBUTE.fingerprint)).toBe(fingerprint)
  }
})

test('our own client gets its relay, sends through it and gives it back', () => {
  const credentials = world.book.issue(ANNA, HOUR) ?? expect.fail('no secret')
  const inbox: string[] = []
  const outbox: Buffer[] = []
  const allocation: TurnAllocation = new TurnAllocation(
    { id: 'r', ...credentials, isStream: false, channels: 'all', random: (n) => world.bytes(n) },
    {
      output: (packet) => void outbox.push(packet),
      data: (packet) => void inbox.push(packet.toString()),
      changed: () => {},
    },
  )
  const tuple = {
    ...world.client(ANNA, HOME).tuple,
    send: (packet: Buffer) => {
      if ((packet[0] ?? 0) >= 0x40) allocation.receiveChannelData(packet, world.now)
      else allocation.receive(StunMessage.decode(packet), world.now)
    },
  }
  const pump = (): void => {
    for (let packet = outbox.shift(); packet; packet = outbox.shift()) world.server.receive(packet, tuple, world.now)
  }
  allocation.allocate(world.now)
  pump()
  expect(allocation.state).toBe('allocated')
  const relayed = only([...world.server.allocations]).ports[0]?.address ?? PEER
  for (const text of ['one', 'two', 'three']) {
    allocation.send(Buffer.from(text), PEER, world.now)
    pump()
    world.fromPeer(PEER, relayed, `${text} back`)
  }
  pump()
  expect(world.out.map(({ text }) => text)).toEqual(['one', 'two', 'three'])
  expect(inbox).toEqual(['one back', 'two back', 'three back'])
  expect(only([...world.server.allocations]).channels.size).toBe(1)
  allocation.close(world.now)
  pump()
  expect(world.server.allocations.size).toBe(0)
})
