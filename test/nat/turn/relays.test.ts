import { describe, expect, test } from 'vitest'
import { encodeXorAddress } from '../../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, ERROR, METHOD } from '../../../daemon/nat/stun/registry.ts'
import { MAX_SERVERS } from '../../../daemon/nat/turn/relays.ts'
import { parseTurnServer } from '../../../daemon/nat/turn/server-uri.ts'
import { RelayWorld } from './relay-world.ts'

const PEER = { address: '198.51.100.9', port: 5000 }

function talk(world: RelayWorld, text: string, peer = PEER): boolean {
  return world.relays.send(Buffer.from(text), { ...peer, relay: world.relay })
}

describe('relays', () => {
  test('asks nothing of a server before somebody wants a relay, and gives back what nobody wants for a minute', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.clock.advance(600_000)
    expect(world.sent).toEqual([])
    const release = world.open()
    const other = world.relays.want()
    expect(world.relays.candidates()).toMatchObject([
      { kind: 'relay', address: '192.0.2.1', relay: 'relay-1', related: world.client, foundation: 'relay0v4' },
    ])
    release()
    release()
    world.clock.advance(120_000)
    expect(server.allocations).toHaveLength(1)
    other()
    world.clock.advance(59_000)
    expect(server.allocations).toHaveLength(1)
    world.clock.advance(2000)
    expect(server.allocations).toHaveLength(0)
    expect(world.relays.candidates()).toEqual([])
    world.sent.length = 0
    world.clock.advance(3_600_000)
    expect(world.sent).toEqual([])
    world.open()
    expect(world.relays.candidates()).toMatchObject([{ relay: 'relay-2' }])
  })

  test('has one relay of both families where the server has both', () => {
    const world = new RelayWorld()
    world.add('192.0.2.1', { families: [4, 6] })
    world.open()
    expect(world.relays.candidates().map(({ address, relay }) => [address, relay])).toEqual([
      ['2001:db8::99', 'relay-1'],
      ['192.0.2.1', 'relay-1'],
    ])
    expect(talk(world, 'x', { address: '2001:db8::5', port: 9 })).toBe(true)
  })

  test('takes an IPv6 relay where the server has no other, and sends IPv4 peers nothing through it', () => {
    const world = new RelayWorld()
    world.add('192.0.2.1', { families: [6] })
    world.open()
    expect(world.relays.candidates().map(({ address }) => address)).toEqual(['2001:db8::99'])
    expect(talk(world, 'x')).toBe(false)
  })

  test('uses the two nearest of several servers, on which it leaves nothing behind at the others', () => {
    const hosts = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']
    const world = new RelayWorld({ servers: hosts.map((host) => `turn:alice:wonder@${host}`) })
    for (const host of hosts) world.add(host)
    world.delay = (address) => ({ '192.0.2.1': 90, '192.0.2.2': 10, '192.0.2.3': 40 })[address] ?? 60
    world.open()
    expect(world.relays.candidates().map(({ address }) => address)).toEqual(['192.0.2.2', '192.0.2.3'])
    expect([...world.servers.values()].map(({ allocations }) => allocations.length)).toEqual([0, 1, 1, 0])
    expect(world.relays.state().map(({ state }) => state)).toEqual(['idle', 'open', 'open', 'idle'])
  })

  test('another server takes over from one that fails', () => {
    const hosts = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
    const world = new RelayWorld({ servers: hosts.map((host) => `turn:alice:wonder@${host}`) })
    const servers = hosts.map((host) => world.add(host))
    world.delay = (address) => Number(address.at(-1)) * 10
    world.open()
    expect(world.relays.candidates().map(({ address }) => address)).toEqual(['192.0.2.1', '192.0.2.2'])
    world.servers.delete('192.0.2.1')
    world.clock.advance(40_000)
    expect(world.relays.candidates().map(({ address }) => address)).toEqual(['192.0.2.2', '192.0.2.3'])
    world.servers.set('192.0.2.1', servers[0] as never)
    world.clock.advance(120_000)
    expect(world.relays.candidates()).toHaveLength(2)
    expect(servers.flatMap(({ violations }) => violations)).toEqual([])
  })

  test('looks at a bounded number of servers', () => {
    const hosts = Array.from({ length: 20 }, (_, n) => `192.0.2.${n + 1}`)
    const world = new RelayWorld({ servers: hosts.map((host) => `turn:alice:wonder@${host}`) })
    world.open()
    expect(new Set(world.sent.map(({ to }) => to.address)).size).toBe(MAX_SERVERS)
  })

  test('sends through a channel once the peer has answered, and by no indication after that', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    for (let n = 0; n < 3; n++) talk(world, `early ${n}`)
    world.clock.advance(100)
    expect(server.relayedOut.map(({ by, data }) => `${by} ${data}`)).toEqual([
      'send early 0',
      'send early 1',
      'send early 2',
    ])
    expect(world.fromPeer(server, PEER, 'hello')).toBe(true)
    world.clock.advance(100)
    expect(world.received).toEqual([{ text: 'hello', from: { ...PEER, relay: 'relay-1' } }])
    server.relayedOut.length = 0
    // For hours, with a peer that answers.
    for (let n = 0; n < 2000; n++) {
      talk(world, `late ${n}`)
      world.clock.advance(5000)
      if (n % 10 === 0) world.fromPeer(server, PEER, 'still here')
    }
    expect(server.relayedOut).toHaveLength(2000)
    expect(new Set(server.relayedOut.map(({ by }) => by))).toEqual(new Set(['channel']))
    expect(server.violations).toEqual([])
    expect(world.received.filter(({ text }) => text === 'still here')).toHaveLength(200)
    expect(server.count(METHOD.channelBind)).toBeGreaterThan(15)
    expect(server.count(METHOD.channelBind)).toBeLessThan(30)
  })

  test('gives an address that answers nothing no channel for a few checks', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    for (let n = 0; n < 7; n++) {
      talk(world, 'check')
      world.clock.advance(1000)
    }
    expect(server.count(METHOD.channelBind)).toBe(0)
    talk(world, 'check')
    world.clock.advance(100)
    talk(world, 'by channel')
    world.clock.advance(100)
    expect(server.relayedOut.at(-1)).toMatchObject({ by: 'channel' })
  })

  test('keeps a permission while it is wanted, and no longer', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    expect(world.relays.permit(world.relay, PEER.address)).toBe(true)
    expect(world.relays.permit(world.relay, PEER.address)).toBe(true)
    world.clock.advance(1_200_000)
    expect(world.fromPeer(server, PEER, 'in')).toBe(true)
    world.relays.unpermit(world.relay, PEER.address)
    world.clock.advance(600_000)
    expect(world.fromPeer(server, PEER, 'in')).toBe(true)
    world.relays.unpermit(world.relay, PEER.address)
    world.clock.advance(301_000)
    expect(world.fromPeer(server, PEER, 'in')).toBe(false)
    const asked = server.count(METHOD.createPermission)
    world.clock.advance(1_200_000)
    expect(server.count(METHOD.createPermission)).toBe(asked)
    expect(asked).toBeLessThan(12)
  })

  test('asks for many permissions in few requests, and drops none for one that is refused', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    server.options.refuse = (method, message) =>
      method === METHOD.createPermission && message.all(0x0012).length > 1 && server.count(method) < 4
        ? { code: ERROR.forbidden }
        : undefined
    for (let n = 0; n < 40; n++) world.relays.permit(world.relay, `198.51.100.${n}`)
    world.clock.advance(60_000)
    for (let n = 0; n < 40; n++)
      expect(world.fromPeer(server, { address: `198.51.100.${n}`, port: 1 }, 'in'), `peer ${n}`).toBe(true)
  })

  test('asks no permission for loopback, unspecified, multicast or link-local addresses', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { families: [4, 6] })
    world.open()
    const bad = [
      '127.0.0.1',
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
      '::1',
      '::',
      'ff02::1',
      'fe80::1',
      '169.254.1.1',
    ]
    for (const address of [...bad, '::ffff:127.0.0.1', 'name.test', '']) {
      expect(world.relays.permit(world.relay, address), address).toBe(false)
      expect(talk(world, 'x', { address, port: 9 }), address).toBe(false)
    }
    world.clock.advance(5000)
    expect(server.count(METHOD.createPermission)).toBe(0)
    expect(talk(world, 'x', { address: '10.1.2.3', port: 9 })).toBe(true)
  })

  test('believes nobody but the server', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    world.relays.permit(world.relay, PEER.address)
    world.clock.advance(100)
    const forged = server.fromPeer(PEER, Buffer.from('forged'), world.clock.now())
    expect(forged).toBeDefined()
    if (!forged) return
    for (const from of [PEER, { address: '192.0.2.1', port: 3479 }, { address: '192.0.2.2', port: 3478 }])
      expect(world.inject(forged.packet, from)).toBe(false)
    expect(world.received).toEqual([])
    expect(world.inject(forged.packet, { address: '192.0.2.1', port: 3478 })).toBe(true)
  })

  test('waits for the true answer when a forged one comes first', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    const receive = server.receive.bind(server)
    let forged = 0
    server.receive = (packet, from, now) => {
      const answers = receive(packet, from, now)
      const { class: kind, method, transaction } = StunMessage.decode(answers[0] ?? Buffer.alloc(0))
      if (kind !== 'success') return answers
      const lie = () => {
        const relayed = encodeXorAddress({ address: '198.51.100.66', port: 6 }, transaction)
        return new StunWriter('success', method, transaction).add(ATTRIBUTE.xorRelayedAddress, relayed)
      }
      forged += 2
      return [lie().finish(), lie().finish({ integrity: { sha1: Buffer.from('guessed') } }), ...answers]
    }
    world.open()
    expect(forged).toBeGreaterThan(0)
    expect(world.relays.candidates().map(({ address }) => address)).toEqual(['192.0.2.1'])
  })

  test('talks to more addresses than there are channels, to the last of them by indications', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    const peers = Array.from({ length: 4200 }, (_, n) => ({ address: `198.51.100.${n % 50}`, port: 1000 + n }))
    const all = (text: string) => {
      for (const peer of peers) {
        talk(world, text, peer)
        world.clock.advance(1)
      }
      world.clock.advance(1000)
    }
    all('open')
    for (const peer of peers) {
      world.fromPeer(server, peer, 'answer')
      world.clock.advance(10)
    }
    all('bind')
    server.relayedOut.length = 0
    all('last')
    expect(world.relays.state()[0]?.relay?.channels).toBe(4096)
    const by = (kind: string) => server.relayedOut.filter((one) => one.by === kind).length
    expect([by('channel'), by('send')]).toEqual([4096, 104])
    expect(server.violations).toEqual([])
  })

  test('finds the server that the first one sends it to, and no end to it in a circle', () => {
    const world = new RelayWorld()
    const first = world.add('192.0.2.1')
    const second = world.add('192.0.2.2')
    const to = (address: string) => () => ({
      code: ERROR.tryAlternate,
      alternate: { address, port: 3478 },
      unsigned: true,
    })
    first.options.refuse = to('192.0.2.2')
    world.open()
    expect(world.relays.candidates()).toMatchObject([{ address: '192.0.2.2' }])
    expect(second.allocations).toHaveLength(1)

    const circle = new RelayWorld()
    circle.add('192.0.2.1').options.refuse = to('192.0.2.2')
    circle.add('192.0.2.2').options.refuse = to('192.0.2.1')
    circle.open()
    expect(circle.reason).toMatch(/in a circle/)
    circle.clock.advance(300_000)
    expect(circle.sent.length).toBeLessThan(6)

    const chain = new RelayWorld()
    for (let n = 1; n < 9; n++) chain.add(`192.0.2.${n}`).options.refuse = to(`192.0.2.${n + 1}`)
    chain.open()
    expect(chain.sent.length).toBe(4)
    const hole = new RelayWorld()
    hole.add('192.0.2.1').options.refuse = to('127.0.0.1')
    hole.open()
    expect(hole.reason).toMatch(/without a usable address/)
  })

  test.each([
    [ERROR.allocationQuotaReached, /as many relays .* as are allowed/, 60_000],
    [ERROR.insufficientCapacity, /no room/, 60_000],
    [ERROR.forbidden, /forbids/, 600_000],
    [ERROR.wrongCredentials, /another user/, 60_000],
    [ERROR.unsupportedTransport, /does not relay UDP/, 600_000],
    [499, /refused \(499 No\)/, 60_000],
  ])('leaves a server alone that answers %i, and says why', (code, reason, rest) => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    server.options.refuse = () => ({ code })
    world.open()
    expect(world.relays.state()).toMatchObject([{ state: 'resting', reason: expect.stringMatching(reason) }])
    const asked = server.requests.length
    world.clock.advance(rest - 2000)
    expect(server.requests).toHaveLength(asked)
    delete server.options.refuse
    world.clock.advance(rest)
    expect(world.relays.candidates()).toHaveLength(1)
    expect(world.reason).toBeUndefined()
  })

  test('takes back the relay that an earlier run left behind', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    expect(server.allocations).toHaveLength(1)
    const again = new RelayWorld({ seed: 'the daemon was killed' })
    again.servers.set('192.0.2.1', server)
    again.open()
    expect(again.relays.candidates()).toHaveLength(1)
    expect(server.allocations).toHaveLength(1)
  })

  test('knows a server by its address, however it was spelled', () => {
    const world = new RelayWorld({ servers: ['turn:alice:wonder@[2001:DB8:0:0::0:1]'] })
    world.add('2001:db8::1')
    world.open()
    expect(world.relays.candidates()).toHaveLength(1)
  })

  test('tells apart a server that is silent and one that is out of reach', () => {
    const world = new RelayWorld()
    world.relays.want()
    world.clock.advance(10_000)
    expect(world.reason).toMatch(/does not answer/)
    const sent = world.sent.length
    world.clock.advance(600_000)
    expect(world.sent.length - sent).toBeLessThan(60)

    const away = new RelayWorld()
    away.unreachable.add('192.0.2.1')
    away.open()
    expect(away.reason).toMatch(/no way to the server .*ENETUNREACH/)
    away.unreachable.clear()
    away.add('192.0.2.1')
    away.relays.networkChanged()
    away.clock.advance(500)
    expect(away.relays.candidates()).toHaveLength(1)
  })

  test('moves the relay along when our address changes, where the server can do that', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { mobility: true, nonceUses: 3 })
    world.open()
    talk(world, 'check')
    world.clock.advance(100)
    world.fromPeer(server, PEER, 'answer')
    world.clock.advance(100)
    world.client = { address: '203.0.113.99', port: 1024 }
    world.relays.networkChanged()
    world.clock.advance(300)
    expect(world.relays.candidates()).toMatchObject([{ relay: 'relay-1' }])
    expect(server.allocations).toMatchObject([{ client: '203.0.113.99:1024' }])
    talk(world, 'over the same channel')
    world.clock.advance(100)
    expect(server.relayedOut.at(-1)).toMatchObject({ by: 'channel' })
    world.fromPeer(server, PEER, 'and back')
    world.clock.advance(100)
    expect(world.received.at(-1)?.text).toBe('and back')
    expect(server.violations).toEqual([])
  })

  test('is not lost when the answer to its move is', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1', { mobility: true })
    world.open()
    world.client = { address: '203.0.113.99', port: 1024 }
    const hasMoved = () => server.allocations.some(({ client }) => client === '203.0.113.99:1024')
    let lost = 0
    world.lost = (_, direction) => direction === 'in' && hasMoved() && lost++ === 0
    world.relays.networkChanged()
    world.clock.advance(1000)
    expect(lost).toBeGreaterThan(1)
    expect(hasMoved()).toBe(true)
    world.clock.advance(120_000)
    expect(world.relays.candidates()).toMatchObject([{ relay: 'relay-1' }])
  })

  test('makes another relay when the server cannot, noticing by itself within half a minute', () => {
    const world = new RelayWorld()
    world.add('192.0.2.1')
    world.open()
    let changes = 0
    world.relays.onChange(() => changes++)
    world.client = { address: '203.0.113.99', port: 1024 }
    world.clock.advance(30_000)
    expect(changes).toBe(2)
    expect(world.relays.candidates()).toMatchObject([{ relay: 'relay-2', related: world.client }])
  })

  test('gives everything back on close, within a second even if the server is gone', async () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    const closed = world.relays.close()
    world.clock.advance(100)
    await closed
    expect(server.allocations).toEqual([])

    const other = new RelayWorld()
    other.add('192.0.2.1')
    other.open()
    other.lost = () => true
    const patience = other.relays.close()
    other.clock.advance(1000)
    await patience
    other.sent.length = 0
    other.clock.advance(3_600_000)
    expect(other.sent).toEqual([])
    expect(other.relays.candidates()).toEqual([])
    other.relays.want()
    other.clock.advance(1000)
    expect(other.sent).toEqual([])
  })

  test('gives back the relays of servers that are taken out of the settings', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    world.relays.setServers([])
    world.clock.advance(100)
    expect(server.allocations).toEqual([])
    expect(world.relays.candidates()).toEqual([])
  })

  test('keeps an open relay when its server hands out other credentials, and uses those for the next one', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    const release = world.open()
    world.relays.setServers([parseTurnServer('turn:bob:builder@192.0.2.1')])
    world.clock.advance(1_800_000)
    expect([world.relay, server.allocations.length]).toEqual(['relay-1', 1])
    Object.assign(server.options, { username: 'bob', password: 'builder' })
    release()
    world.clock.advance(120_000)
    world.open()
    expect([world.relay, server.allocations.length]).toEqual(['relay-2', 1])
  })

  test('asks at once with other credentials where the ones before were wrong', () => {
    const world = new RelayWorld({ servers: ['turn:alice:wrong@192.0.2.1'] })
    const server = world.add('192.0.2.1')
    world.open()
    expect(server.allocations).toEqual([])
    world.relays.setServers([parseTurnServer('turn:alice:wonder@192.0.2.1')])
    world.clock.advance(1000)
    expect(server.allocations).toHaveLength(1)
  })

  test('keeps the relay through hours of silence, at less than a packet in seven seconds', () => {
    const world = new RelayWorld()
    const server = world.add('192.0.2.1')
    world.open()
    world.sent.length = 0
    world.clock.advance(3_600_000)
    expect(server.allocations).toHaveLength(1)
    expect(world.relay).toBe('relay-1')
    expect(world.sent.length).toBeLessThan(3600 / 7)
  })
})
