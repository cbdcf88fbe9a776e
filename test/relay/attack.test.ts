import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeAddress, encodeXorAddress } from '../../daemon/nat/stun/attributes.ts'
import { StunWriter } from '../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../daemon/nat/stun/registry.ts'
import { encodeChannelData } from '../../daemon/nat/turn/channel-data.ts'
import { MAX_CHANNELS } from '../../daemon/relay/channels.ts'
import { MAX_PERMISSIONS } from '../../daemon/relay/permissions.ts'
import { ANNA, BEN, EVE, HOUR, only, RELAY, RelayWorld, type WorldClient } from './relay-world.ts'

const HOME = { address: '1.2.3.4', port: 4000 }
const EVIL = { address: '66.6.6.6', port: 666 }
const VICTIM = { address: '9.8.7.6', port: 53 }

/** IP and UDP, which a forged request costs as well. */
const UDP_OVERHEAD = 28

function bareAllocate(world: RelayWorld): Buffer {
  const writer = new StunWriter('request', METHOD.allocate, world.bytes(12))
  return writer.add(ATTRIBUTE.requestedTransport, Buffer.from([17, 0, 0, 0])).finish({ fingerprint: false })
}

const requestFrom = (world: RelayWorld, port: number, address = EVIL.address): WorldClient =>
  world.client(EVE, { address, port })

describe('who has no right to it gets no relay', () => {
  test.each([
    ['no credentials', { username: '', password: '' }],
    ['a wrong password', { password: 'guessed' }],
    ['a name without an expiry', { username: ANNA }],
    ['a name that is over', { username: `1:${ANNA}` }],
    ["another peer's name and its own password", { username: `1999999999:${ANNA}` }],
    ['a peer id that is none', { username: '1999999999:root' }],
    ['a name of a kilobyte', { username: `1999999999:${'a'.repeat(1000)}` }],
    ['an expiry with a sign', { username: `-1:${ANNA}` }],
  ])('with %s', (_what, options) => {
    for (const old of [true, false]) {
      const world = new RelayWorld()
      world.trusted.add(EVE)
      const eve = world.client(EVE, EVIL, { ...options, old })
      expect(eve.allocate().code).toBe(401)
      expect(world.server.allocations.size + world.openPorts).toBe(0)
    }
  })

  test('with good credentials, and nobody trusts it', () => {
    const world = new RelayWorld()
    expect(world.client(EVE, EVIL, { old: true }).allocate().code).toBe(403)
    expect(world.client(EVE, EVIL).allocate().code).toBe(401)
    expect(world.openPorts).toBe(0)
  })

  test('with the requests of somebody else, from another address', () => {
    const world = new RelayWorld()
    const anna = world.client(ANNA, HOME)
    anna.request(METHOD.refresh)
    const { packet } = anna.write(METHOD.allocate, (writer) =>
      writer.add(ATTRIBUTE.requestedTransport, Buffer.from([17, 0, 0, 0])),
    )
    const eve = world.client(EVE, EVIL)
    expect(eve.exchange(packet)?.code).toBe(438)
    expect(world.openPorts).toBe(0)
    expect(anna.exchange(packet)?.code).toBe(0)
  })
})

describe('somebody who forges', () => {
  function withAnna() {
    const world = new RelayWorld()
    const anna = world.client(ANNA, HOME)
    const relayed = only(anna.allocate().relayed)
    anna.permit(VICTIM.address)
    anna.bind(0x4000, VICTIM)
    return { world, anna, relayed }
  }

  test('ChannelData and Send from another 5-tuple moves nothing', () => {
    const { world, anna } = withAnna()
    for (const eve of [requestFrom(world, HOME.port), world.client(EVE, { ...HOME, port: 1 })]) {
      eve.channelData(0x4000, 'forged')
      eve.send(VICTIM, 'forged')
    }
    world.client(EVE, HOME, { transport: 'tcp' }).channelData(0x4000, 'forged')
    expect(world.out).toEqual([])
    anna.channelData(0x4000, 'own')
    expect(only(world.out).text).toBe('own')
  })

  test('a peer without permission reaches nobody', () => {
    const { world, anna, relayed } = withAnna()
    world.fromPeer(EVIL, relayed, 'forged')
    expect(anna.received).toEqual([])
  })

  test('indications that are bent, and channels that are not bound, move nothing', () => {
    const { world, anna } = withAnna()
    const indications: ((writer: StunWriter, transaction: Buffer) => void)[] = [
      () => {},
      (writer) => void writer.add(ATTRIBUTE.data, Buffer.from('x')),
      (writer, t) => void writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(VICTIM, t)),
      (writer, t) =>
        void writer
          .add(ATTRIBUTE.xorPeerAddress, encodeXorAddress({ ...VICTIM, port: 0 }, t))
          .add(ATTRIBUTE.data, Buffer.from('x')),
      (writer) => void writer.add(ATTRIBUTE.xorPeerAddress, Buffer.alloc(3)).add(ATTRIBUTE.data, Buffer.from('x')),
      (writer, t) =>
        void writer
          .add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(VICTIM, t))
          .add(ATTRIBUTE.data, Buffer.from('x'))
          .add(0x7abc, Buffer.alloc(4)),
    ]
    for (const write of indications) {
      const transaction = world.bytes(12)
      const writer = new StunWriter('indication', METHOD.send, transaction)
      write(writer, transaction)
      anna.raw(writer.finish())
    }
    for (const channel of [0x4001, 0x7fff]) anna.channelData(channel, 'x')
    const cut = encodeChannelData(0x4000, Buffer.from('hello'), false)
    anna.raw(cut.subarray(0, 3))
    anna.raw(cut.subarray(0, 7))
    anna.raw(Buffer.alloc(0))
    expect(world.out).toEqual([])
  })
})

test('a peer at an address that is forbidden is refused (403) in whatever clothes it comes', () => {
  const world = new RelayWorld()
  const anna = world.client(ANNA, HOME)
  anna.allocate((writer) => writer.add(ATTRIBUTE.additionalAddressFamily, Buffer.from([2, 0, 0, 0])))
  const forbidden = [
    '127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '255.255.255.255',
    '9.9.9.9',
    '::1',
    'fe80::1',
    'ff02::1',
  ]
  for (const address of [...forbidden, '64:ff9b::7f00:1', '2002:7f00:1::', '2001::7f00:1', 'fd00::1', '::7f00:1'])
    for (const code of [
      anna.permit(address),
      anna.permit('8.8.8.8', address),
      anna.bind(0x4000, { address, port: 80 }),
    ])
      expect({ address, code }).toEqual({ address, code: 403 })
  for (const ip of ['127.0.0.1', '8.8.8.8', '10.0.0.1']) {
    const mapped = Buffer.alloc(20)
    mapped[1] = 2
    mapped.writeUInt16BE(80, 2)
    Buffer.from('00000000000000000000ffff', 'hex').copy(mapped, 4)
    encodeAddress({ address: ip, port: 80 }).copy(mapped, 16, 4)
    for (const [method, more] of [
      [METHOD.createPermission, {}],
      [METHOD.channelBind, { channel: 0x40000000 }],
    ] as const) {
      const { code } = anna.request(method, (writer, transaction) => {
        if ('channel' in more) writer.add(ATTRIBUTE.channelNumber, more.channel)
        writer.add(ATTRIBUTE.xorPeerAddress, xored(mapped, transaction))
      })
      expect({ ip, code }).toEqual({ ip, code: 403 })
    }
  }
  const [{ permissions } = expect.fail('no allocation')] = [...world.server.allocations]
  expect(permissions.size).toBe(0)
})

function xored(value: Buffer, transaction: Buffer): Buffer {
  const mask = Buffer.concat([Buffer.from('2112', 'hex'), Buffer.from('2112a442', 'hex'), transaction])
  return Buffer.from(value.map((byte, at) => (at < 2 ? byte : byte ^ (mask[at - 2] as number))))
}

test('what was allowed ends when the owner allows it no more', () => {
  const world = new RelayWorld()
  world.allowPrivate = true
  const anna = world.client(ANNA, HOME)
  anna.allocate()
  expect(anna.permit('10.0.0.1', '8.8.8.8')).toBe(0)
  expect(anna.bind(0x4000, { address: '10.0.0.1', port: 80 })).toBe(0)
  world.allowPrivate = false
  world.server.review(world.now)
  anna.channelData(0x4000, 'x')
  anna.send({ address: '10.0.0.1', port: 80 }, 'x')
  anna.send({ address: '8.8.8.8', port: 80 }, 'allowed')
  expect(only(world.out).text).toBe('allowed')
})

describe('a server that anybody can ask', () => {
  test('answers strangers hardly more than they send', () => {
    const world = new RelayWorld()
    const binding = new StunWriter('request', METHOD.binding, world.bytes(12)).finish({ fingerprint: false })
    const guessed = world.client(EVE, EVIL, { old: true })
    guessed.request(METHOD.refresh)
    const factors = [bareAllocate(world), binding, guessed.write(METHOD.refresh).packet].map((packet) => {
      const victim = world.client(EVE, VICTIM)
      victim.raw(packet)
      return (only(victim.packets).length + UDP_OVERHEAD) / (packet.length + UDP_OVERHEAD)
    })
    expect(Math.max(...factors)).toBeLessThan(2.5)
    expect(factors[1]).toBeLessThan(1.3)
    expect(factors[2]).toBeLessThan(1.1)
  })

  test('answers one source so often, and then seldom; others and those who are known as before', () => {
    const world = new RelayWorld()
    const anna = world.client(ANNA, VICTIM)
    anna.allocate()
    const flood = (address: string): number =>
      Array.from({ length: 1000 }, (_, n) => {
        const eve = world.client(EVE, { address, port: 1000 + n })
        eve.raw(bareAllocate(world))
        return eve.packets.length
      }).reduce((sum, one) => sum + one, 0)
    // In the name of a victim who is a client itself.
    expect(flood(VICTIM.address)).toBeLessThanOrEqual(500)
    expect(anna.refresh().code).toBe(0)
    expect(flood('77.0.0.1')).toBe(500)
    world.advance(1000)
    expect(flood('77.0.0.1')).toBe(100)
    expect(flood('2a01:0:0:1::1') + flood('2a01:0:0:1::2')).toBe(500)
    expect(world.server.allocations.size).toBe(1)
  })

  test('answers all sources together so often', () => {
    const world = new RelayWorld()
    let answers = 0
    for (let n = 0; n < 20_000; n++) {
      const eve = requestFrom(world, 1000, `77.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)
      eve.raw(bareAllocate(world))
      answers += eve.packets.length
    }
    expect(answers).toBe(4000)
  })

  test('looks at so many wrong proofs of one address, and no more', () => {
    const world = new RelayWorld()
    world.trusted.add(EVE)
    const eve = world.client(EVE, EVIL, { password: 'guessed' })
    eve.allocate()
    const { packet } = eve.write(METHOD.allocate)
    const answers = Array.from({ length: 100 }, () => eve.exchange(packet)).filter((answer) => answer !== undefined)
    expect(answers.length).toBeLessThan(50)
    expect(answers.every(({ code }) => code === 401)).toBe(true)
  })

  test('a friend who asks for everything gets what the limits allow', () => {
    const world = new RelayWorld()
    for (let n = 0; n < 100; n++) world.client(BEN, { ...HOME, port: 1000 + n }).allocate()
    expect(world.server.allocations.size).toBe(10)
    expect(world.openPorts).toBe(10)
    for (let n = 0; n < 100; n++) {
      const [first] = world.server.allocations
      const ben = world.client(BEN, first?.client.from ?? HOME)
      ben.permit(`20.0.0.${n}`)
      ben.bind(0x4000 + n, { address: '20.0.0.1', port: 1 + n })
      expect(first?.permissions.size).toBeLessThanOrEqual(MAX_PERMISSIONS)
      expect(first?.channels.size).toBeLessThanOrEqual(MAX_CHANNELS)
    }
  })

  test('remembers no more than so many peers', () => {
    const world = new RelayWorld()
    const letters = 'abcdefghijklmnopqrstuvwxyz234567'
    for (let n = 0; n < 400; n++) {
      const peer = `${letters[n >> 5]}${letters[n & 31]}${ANNA.slice(2)}` as typeof ANNA
      world.trusted.add(peer)
      const client = world.client(peer, { address: `77.0.${n >> 8}.${n & 255}`, port: 1 }, { old: true })
      expect(client.allocate().code).toBe(0)
      expect(client.refresh(0).code).toBe(0)
    }
    expect(world.server.usage().length).toBeLessThanOrEqual(256)
  })
})

describe('bytes at random', () => {
  test('neither throw nor get anything', () => {
    const world = new RelayWorld()
    const anna = world.client(ANNA, HOME)
    anna.allocate()
    anna.permit(VICTIM.address)
    const methods = fc.constantFrom(...Object.values(METHOD), 0x123)
    const attribute = fc.record({
      type: fc.oneof(fc.constantFrom(...Object.values(ATTRIBUTE)), fc.nat(0xffff)),
      value: fc.uint8Array({ maxLength: 40 }),
    })
    const message = fc
      .record({
        kind: fc.constantFrom('request', 'indication', 'success', 'error'),
        method: methods,
        attributes: fc.array(attribute, { maxLength: 8 }),
        signed: fc.boolean(),
      })
      .map(({ kind, method, attributes, signed }) => {
        if (signed && kind === 'request')
          return anna.write(method, (writer) => {
            for (const { type, value } of attributes) writer.add(type, value)
          }).packet
        const writer = new StunWriter(kind as 'request', method, world.bytes(12))
        for (const { type, value } of attributes) writer.add(type, value)
        return writer.finish({ fingerprint: false })
      })
    const anything = fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(message, anything), fc.boolean(), (packet, isAnna) => {
        const client = isAnna ? anna : world.client(EVE, EVIL)
        client.raw(packet)
        world.advance(50)
        for (const { peer } of world.server.allocations) expect(peer).toBe(ANNA)
        expect(world.out.every(({ to }) => to.startsWith(`${VICTIM.address}:`))).toBe(true)
        expect(world.server.allocations.size).toBeLessThanOrEqual(1)
      }),
      { numRuns: 3000 },
    )
  })

  test('an allocation lives as its model does, and tables keep to their bounds', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('allocate' as const), who: fc.nat(3) }),
      fc.record({ do: fc.constant('refresh' as const), who: fc.nat(3), seconds: fc.constantFrom(0, 600, 1200, 9999) }),
      fc.record({ do: fc.constant('permit' as const), who: fc.nat(3), peer: fc.nat(80) }),
      fc.record({ do: fc.constant('bind' as const), who: fc.nat(3), peer: fc.nat(80), channel: fc.nat(80) }),
      fc.record({ do: fc.constant('send' as const), who: fc.nat(3), peer: fc.nat(80) }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 100_000, 299_999, 300_000, 600_000) }),
      fc.record({ do: fc.constant('distrust' as const) }),
    )
    const addressOf = (n: number): string => `20.0.0.${n}`
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = new RelayWorld()
        world.limits = { ...world.limits, allocations: 3, perPeer: 2 }
        const clients = [ANNA, ANNA, ANNA, BEN].map((peer, n) => ({
          peer,
          client: world.client(peer, { ...HOME, port: 4000 + n }),
          until: 0,
          permissions: new Map<string, number>(),
        }))
        for (const one of steps) {
          if (one.do === 'wait') world.advance(one.ms)
          if (one.do === 'distrust') {
            world.trusted.delete(BEN)
            world.server.review(world.now)
            for (const model of clients) if (model.peer === BEN) model.until = 0
          }
          if (!('who' in one)) continue
          const model = clients[one.who] as (typeof clients)[0]
          // Credentials end after an hour.
          if (world.now > HOUR || !world.trusted.has(model.peer)) continue
          const isLive = world.now < model.until
          if (one.do === 'allocate') {
            const live = clients.filter(({ until }) => world.now < until)
            const mine = live.filter(({ peer }) => peer === model.peer)
            const { code } = model.client.allocate()
            expect(code).toBe(isLive ? 437 : mine.length >= 2 ? 486 : live.length >= 3 ? 508 : 0)
            if (code === 0) {
              model.until = world.now + 600_000
              model.permissions.clear()
            }
          } else if (one.do === 'refresh') {
            expect(model.client.refresh(one.seconds).code).toBe(isLive ? 0 : 437)
            const lasts = one.seconds === 0 ? 0 : Math.min(3600, Math.max(600, one.seconds))
            if (isLive) model.until = one.seconds === 0 ? 0 : world.now + lasts * 1000
          } else if (one.do === 'permit') {
            const code = model.client.permit(addressOf(one.peer))
            expect([0, 508]).toContain(isLive ? code : 0)
            if (code === 0) model.permissions.set(addressOf(one.peer), world.now + 300_000)
          } else if (one.do === 'bind') {
            const code = model.client.bind(0x4000 + one.channel, { address: addressOf(one.peer), port: 9 })
            if (code === 0) model.permissions.set(addressOf(one.peer), world.now + 300_000)
          } else if (one.do === 'send') {
            const before = world.out.length
            model.client.send({ address: addressOf(one.peer), port: 9 }, 'x')
            const may = isLive && (model.permissions.get(addressOf(one.peer)) ?? 0) > world.now
            expect(world.out.length - before).toBe(may ? 1 : 0)
          }
        }
        const live = clients.filter(({ until }) => world.now < until)
        world.server.tick(world.now)
        expect(world.server.allocations.size).toBe(live.length)
        expect(world.openPorts).toBe(live.length)
        for (const { permissions, channels } of world.server.allocations) {
          expect(permissions.size).toBeLessThanOrEqual(MAX_PERMISSIONS)
          expect(channels.size).toBeLessThanOrEqual(MAX_CHANNELS)
        }
      }),
      { numRuns: 150 },
    )
  })
})

test('relays of this server are no way to its other ports', () => {
  const world = new RelayWorld()
  const anna = world.client(ANNA, HOME)
  anna.allocate()
  for (const port of [22, 53, 3478, 47800]) {
    anna.permit(RELAY[4])
    anna.send({ address: RELAY[4], port }, 'x')
  }
  expect(world.out).toEqual([])
})
