import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeXorAddress } from '../../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, ERROR, METHOD } from '../../../daemon/nat/stun/registry.ts'
import { RelayWorld } from './relay-world.ts'

const PEER = { address: '198.51.100.9', port: 5000 }

function talk(world: RelayWorld, text: string): boolean {
  return world.relays.send(Buffer.from(text), { ...PEER, relay: world.relay })
}

describe('a server that', () => {
  test('takes each nonce once only loses us nothing', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { nonceUses: 1 })
    world.open()
    world.relays.permit(world.relay, PEER.address)
    world.clock.advance(500)
    world.fromPeer(server, PEER, 'hello')
    talk(world, 'first')
    world.clock.advance(500)
    server.relayedOut.length = 0
    for (let n = 0; n < 400; n++) {
      talk(world, `${n}`)
      world.clock.advance(5000)
    }
    expect(server.relayedOut.map(({ data }) => data.toString())).toEqual(Array.from({ length: 400 }, (_, n) => `${n}`))
    expect(server.violations).toEqual([])
    expect(world.relay).toBe('relay-1')
  })

  test('calls every nonce stale is given up, and not asked without end', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { nonceUses: 0 })
    world.open()
    expect(world.reason).toMatch(/asks again and again/)
    world.clock.advance(500_000)
    expect(server.requests.length).toBeLessThan(10)
  })

  test('wants another password is given up, and not asked without end', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { password: 'looking-glass' })
    world.open()
    expect(world.reason).toMatch(/does not accept the user name or the password/)
    world.clock.advance(500_000)
    expect(server.requests.length).toBeLessThan(5)
  })

  test('wants a password where none is set says so', () => {
    const world = new RelayWorld({ servers: ['turn:192.0.2.1'] })
    world.add('192.0.2.1')
    world.open()
    expect(world.reason).toMatch(/none are set/)
  })

  test('goes over to another realm in the middle ends the relay, and is proven to in the new realm', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { lifetime: 60_000 })
    world.open()
    server.options.realm = 'elsewhere'
    server.restart()
    world.clock.advance(700_000)
    expect(world.relays.candidates()).toHaveLength(1)
    expect(server.requests.length).toBeLessThan(120)
  })

  test('speaks RFC 8489 gets SHA-256 and a hashed name', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { modern: true, nonceUses: 2 })
    world.open()
    talk(world, 'check')
    world.clock.advance(300)
    expect(server.relayedOut).toHaveLength(1)
  })

  test('was started anew and knows nothing is asked for another relay within half a minute', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    server.restart()
    world.clock.advance(30_000)
    expect(world.relays.candidates()).toMatchObject([{ relay: 'relay-2' }])
    expect(server.allocations).toHaveLength(1)
  })

  test('keeps nothing for long is asked at a bounded rate', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { lifetime: 0 })
    world.open()
    world.clock.advance(3_600_000)
    expect(server.requests.length).toBeLessThan(3600 / 2)
  })

  test('gives relays and takes them back is asked at a falling rate', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    server.options.refuse = (method) => (method === METHOD.refresh ? { code: ERROR.allocationMismatch } : undefined)
    world.open()
    world.clock.advance(3_600_000)
    expect(server.requests.length).toBeLessThan(1000)
  })

  test.each(['127.0.0.1', '0.0.0.0', '224.0.0.5', '255.255.255.255', '::1', '::', 'ff02::1', 'fe80::1'])(
    'gives us %s gives us nothing',
    (address) => {
      const world = new RelayWorld()
      const server = world.add('192.0.2.1', { relayed: [{ address, port: 50_000 }] })
      world.open()
      expect(world.relays.candidates()).toEqual([])
      expect(world.reason).toMatch(/nobody can reach/)
      world.clock.advance(1000)
      expect(server.allocations).toEqual([])
    },
  )

  test('refuses a channel is used with indications', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    server.options.refuse = (method) =>
      method === METHOD.channelBind ? { code: ERROR.insufficientCapacity } : undefined
    world.open()
    for (let n = 0; n < 100; n++) {
      talk(world, `${n}`)
      world.clock.advance(5000)
    }
    expect(server.relayedOut).toHaveLength(100)
    expect(server.count(METHOD.channelBind)).toBeLessThan(12)
    expect(server.violations).toEqual([])
  })

  test('passes on what nobody asked for makes us neither answer nor remember', () => {
    const world = new RelayWorld()
    world.add('192.0.2.1')
    world.open()
    world.relays.permit(world.relay, PEER.address)
    world.clock.advance(100)
    const sent = world.sent.length
    const transaction = Buffer.alloc(12, 1)
    for (let n = 0; n < 2000; n++) {
      const from = { address: n % 2 === 0 ? PEER.address : `10.0.${n >> 8}.${n & 255}`, port: 1 + n }
      const writer = new StunWriter('indication', METHOD.data, transaction)
      writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(from, transaction)).add(ATTRIBUTE.data, Buffer.from('x'))
      world.inject(writer.finish(), { address: '192.0.2.1', port: 3478 })
    }
    expect(world.received).toHaveLength(1000)
    expect(new Set(world.received.map(({ from }) => from.address))).toEqual(new Set([PEER.address]))
    expect(world.sent).toHaveLength(sent)
  })
})

/** Random numbers from 0 to 1 that are the same for a seed. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

describe('over a network that loses, doubles and reorders', () => {
  test('a relay opens, keeps all rules of the server, and carries what is sent', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 0, max: 30 }),
        fc.constantFrom(1, 3, 1_000_000),
        (seed, loss, nonceUses) => {
          const random = seeded(seed)
          const world = new RelayWorld({ seed: String(seed) })
          const server = world.add('192.0.2.1', {
            nonceUses,
            families: random() < 0.5 ? [4] : [4, 6],
            mobility: random() < 0.5,
          })
          world.lost = () => random() * 100 < loss
          world.delay = () => 5 + random() * 200
          world.relays.want()
          world.clock.advance(120_000)
          let said = 0
          for (let n = 0; n < 200; n++) {
            if (talk(world, `${n}`)) said++
            if (random() < 0.3) world.fromPeer(server, PEER, 'hello')
            if (random() < 0.01) world.relays.networkChanged()
            world.clock.advance(random() * 8000)
          }
          // A packet may come before the answer that says that it may go, or after the end of a channel, where those were lost.
          expect(server.violations.filter((one) => one.startsWith('channel '))).toEqual([])
          expect(server.allocations.length).toBeLessThanOrEqual(2)
          if (loss === 0) expect(server.violations).toEqual([])
          if (loss < 10) expect(server.relayedOut.length).toBeGreaterThan(said * 0.6)
          world.lost = () => false
          // A server that took no answer, since they were lost, is left alone for a quarter of an hour.
          world.clock.advance(1_000_000)
          expect(world.relays.candidates().length).toBeGreaterThan(0)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('a server that answers anything at all makes us neither fail nor flood', () => {
    const mutation = fc.record({ at: fc.nat(), to: fc.nat(255), cut: fc.option(fc.nat(80)) })
    fc.assert(
      fc.property(fc.nat(), fc.array(mutation, { minLength: 1, maxLength: 40 }), (seed, mutations) => {
        const world = new RelayWorld({ seed: String(seed) })
        const server = world.add('192.0.2.1', { mobility: true, modern: seed % 2 === 0 })
        let next = 0
        const receive = server.receive.bind(server)
        server.receive = (packet, from, now) =>
          receive(packet, from, now).map((answer) => {
            const { at, to, cut } = mutations[next++ % mutations.length] ?? { at: 0, to: 0, cut: null }
            if (next % 3 === 0) return answer
            const changed = Buffer.from(cut === null ? answer : answer.subarray(0, Math.max(0, answer.length - cut)))
            if (changed.length > 0) changed[at % changed.length] = to
            return changed.length > 0 ? changed : Buffer.from([0])
          })
        world.relays.want()
        for (let n = 0; n < 100; n++) {
          talk(world, 'x')
          world.relays.permit(world.relay, '198.51.100.7')
          world.clock.advance(2000)
        }
        // At most 100 packets of peers, and requests at the rate of one that never answers.
        expect(world.sent.length).toBeLessThan(600)
      }),
      { numRuns: 100 },
    )
  })

  test('answers written by anybody who knows the transaction make us neither fail nor flood', () => {
    const attribute = fc.record({
      type: fc.oneof(fc.constantFrom(...Object.values(ATTRIBUTE)), fc.nat(0xffff)),
      value: fc.uint8Array({ maxLength: 40 }),
    })
    const answers = fc.array(
      fc.record({
        kind: fc.constantFrom('success', 'error', 'indication', 'request' as const),
        code: fc.constantFrom(...Object.values(ERROR)),
        attributes: fc.array(attribute, { maxLength: 6 }),
      }),
      { minLength: 1, maxLength: 30 },
    )
    fc.assert(
      fc.property(answers, (written) => {
        const world = new RelayWorld()
        const server = world.add('192.0.2.1')
        let next = 0
        server.receive = (packet) => {
          if ((packet[0] as number) >= 0x40) return []
          const { method, transaction } = StunMessage.decode(packet)
          const { kind, code, attributes } = written[next++ % written.length] ?? {
            kind: 'error',
            code: 400,
            attributes: [],
          }
          const writer = new StunWriter(kind, method, transaction)
          if (kind === 'error') writer.add(ATTRIBUTE.errorCode, Buffer.from([0, 0, Math.floor(code / 100), code % 100]))
          for (const { type, value } of attributes) writer.add(type, value)
          return [writer.finish()]
        }
        world.relays.want()
        for (let n = 0; n < 60; n++) {
          talk(world, 'x')
          world.clock.advance(5000)
        }
        expect(world.sent.length).toBeLessThan(400)
      }),
      { numRuns: 200 },
    )
  })
})
