import { describe, expect, test } from 'vitest'
import { type LocalCandidate, priorityOf } from '../../../daemon/nat/candidate.ts'
import type { CandidateSource } from '../../../daemon/nat/pool/candidate-source.ts'
import { CandidatePool } from '../../../daemon/nat/pool/pool.ts'
import { parseStunServer } from '../../../daemon/nat/pool/stun-server.ts'
import { encodeAddress, encodeXorAddress } from '../../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'
import type { HostPort } from '../../../daemon/types.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'
import { networkInterface } from '../../simulated-network.ts'
import { VirtualClock } from '../../virtual-clock.ts'

const PORT = 47_800
const HOME = [networkInterface('eth0', ['192.168.1.2/24', 'fd00::2/64', 'fe80::2/64'])]

/** Relays or mapped ports: what there is while somebody wants them. */
class Source implements CandidateSource {
  wants = 0
  list: readonly LocalCandidate[] = []
  tell: () => void = () => {}

  candidates(): readonly LocalCandidate[] {
    return this.wants > 0 ? this.list : []
  }

  want(): () => void {
    this.wants++
    return () => this.wants--
  }

  onChange(listener: () => void): () => void {
    this.tell = listener
    return () => {
      this.tell = () => {}
    }
  }
}

const extra = (kind: 'relay' | 'mapped', address: string): LocalCandidate => ({
  kind,
  address,
  port: 5000,
  priority: priorityOf(kind, 1),
  foundation: kind,
  interface: '',
  ...(kind === 'relay' && { relay: 'relay-1' }),
})

/** A pool, and servers that see it at these addresses; those that are not there do not answer. */
class World {
  readonly clock = new VirtualClock()
  readonly relays = new Source()
  readonly mapped = new Source()
  readonly sees = new Map<string, HostPort>()
  readonly names = new Map<string, readonly string[]>()
  /** Second addresses of servers. */
  readonly others = new Map<string, string>()
  readonly asked: string[] = []
  lookups = 0
  changes = 0
  readonly pool: CandidatePool

  constructor() {
    this.pool = new CandidatePool({
      clock: this.clock,
      port: () => PORT,
      hasFamily: () => true,
      send: (packet, to) => this.#server(StunMessage.decode(packet), to),
      random: seededBytes(seeded(1)),
      resolve: async (host) => {
        this.lookups++
        const found = this.names.get(host)
        if (!found) throw new Error('ENOTFOUND')
        return found
      },
      relays: this.relays,
      mapped: this.mapped,
    })
    this.pool.onChange(() => this.changes++)
    this.pool.networkChanged(HOME)
  }

  stun(...servers: readonly string[]): this {
    this.pool.configure(servers.map(parseStunServer), 'all')
    return this
  }

  /** What peers are told, as `srflx 198.51.100.1:40000`. */
  get told(): readonly string[] {
    return this.pool.candidates().map(({ kind, address, port }) => `${kind} ${address} ${port}`)
  }

  /** Lets time pass, and what waits for promises happen. */
  async pass(ms: number): Promise<void> {
    for (let step = 0; step < 20; step++) {
      this.clock.advance(ms / 20)
      for (let i = 0; i < 4; i++) await Promise.resolve()
    }
  }

  #server(request: StunMessage, to: HostPort): void {
    this.asked.push(to.address)
    const seen = this.sees.get(to.address)
    if (!seen) return
    const { transaction } = request
    const writer = new StunWriter('success', METHOD.binding, transaction)
    writer.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(seen, transaction))
    const other = this.others.get(to.address)
    if (other) writer.add(ATTRIBUTE.otherAddress, encodeAddress({ address: other, port: 3479 }))
    const answer = writer.finish()
    this.clock.after(20, () => void this.pool.receive(StunMessage.decode(answer), to))
  }
}

describe('the candidates of a host', () => {
  test('are none, and no server is asked, until somebody wants them', async () => {
    const world = new World().stun('192.0.2.10')
    await world.pass(60_000)
    expect([world.told, world.asked, world.relays.wants]).toEqual([[], [], 0])
  })

  test('are its interfaces, how servers see it, mapped ports and relays, best first', async () => {
    const world = new World().stun('192.0.2.10')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    world.relays.list = [extra('relay', '203.0.113.5')]
    world.mapped.list = [extra('mapped', '198.51.100.1')]
    world.pool.want()
    await world.pass(100)
    expect(world.told).toEqual([
      'host fd00::2 47800',
      'host 192.168.1.2 47800',
      'mapped 198.51.100.1 5000',
      'srflx 198.51.100.1 40000',
      'relay 203.0.113.5 5000',
    ])
    const priorities = world.pool.candidates().map(({ priority }) => priority)
    expect(priorities).toEqual([...priorities].sort((a, b) => b - a))
    expect(new Set(world.pool.candidates().map(({ foundation }) => foundation)).size).toBe(5)
  })

  test('cost a hundred peers what they cost one', async () => {
    const cost = async (peers: number) => {
      const world = new World().stun('192.0.2.10', '192.0.2.11')
      for (const server of ['192.0.2.10', '192.0.2.11'])
        world.sees.set(server, { address: '198.51.100.1', port: 40_000 })
      for (let i = 0; i < peers; i++) world.pool.want()
      await world.pass(600_000)
      return { asked: world.asked.length, relays: world.relays.wants, changes: world.changes, candidates: world.told }
    }
    expect(await cost(100)).toEqual(await cost(1))
  })

  test('are kept for a minute after the last who wanted them, and then nobody is asked any more', async () => {
    const world = new World().stun('192.0.2.10')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    const releases = [world.pool.want(), world.pool.want()]
    await world.pass(1000)
    for (const release of releases) release()
    await world.pass(50_000)
    const again = world.pool.want()
    await world.pass(50_000)
    expect(world.told).toHaveLength(3)
    again()
    again()
    await world.pass(61_000)
    const asked = world.asked.length
    await world.pass(600_000)
    expect([world.told, world.asked.length, world.relays.wants]).toEqual([[], asked, 0])
  })

  test('change with the network: servers are asked again at once, and only what differs is told', async () => {
    const world = new World().stun('192.0.2.10')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    world.pool.want()
    await world.pass(1000)
    const before = { changes: world.changes, asked: world.asked.length }
    world.pool.networkChanged(HOME)
    await world.pass(1000)
    expect(world.asked.length).toBe(before.asked + 1)
    expect(world.changes).toBe(before.changes)
    world.sees.set('192.0.2.10', { address: '203.0.113.9', port: 1 })
    world.pool.networkChanged([networkInterface('wlan0', ['10.0.0.7/8'])])
    await world.pass(1000)
    expect(world.told).toEqual(['host 10.0.0.7 47800', 'srflx 203.0.113.9 1'])
  })

  test('are told once, however many servers see them, and not as reflexive where there is no NAT', async () => {
    const world = new World().stun('192.0.2.10', '192.0.2.11')
    world.sees.set('192.0.2.10', { address: '192.168.1.2', port: PORT })
    world.sees.set('192.0.2.11', { address: '192.168.1.2', port: PORT })
    world.pool.want()
    await world.pass(100)
    expect(world.told).toEqual(['host fd00::2 47800', 'host 192.168.1.2 47800'])
    expect(world.pool.summary()).toEqual({ udp: true, mapping: 'none', relay: false })
  })

  test.each([
    ['the same port for both', 40_000, 'same'],
    ['a port for each', 40_001, 'each'],
  ] as const)('tell what the NAT does: %s', async (_, port, mapping) => {
    const world = new World().stun('192.0.2.10', '192.0.2.11')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    world.sees.set('192.0.2.11', { address: '198.51.100.1', port })
    world.pool.want()
    expect(world.pool.summary().udp).toBe(null)
    await world.pass(100)
    expect(world.pool.summary()).toMatchObject({ udp: true, mapping })
  })

  test.each([
    ['another', 41_000, 'each'],
    ['the same', 40_000, 'same'],
    ['no answer of it: nothing', undefined, 'unknown'],
  ] as const)('tell what the NAT does, of one server with a second address: %s', async (_, port, mapping) => {
    const world = new World().stun('192.0.2.10')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    world.others.set('192.0.2.10', '192.0.2.66')
    if (port !== undefined) world.sees.set('192.0.2.66', { address: '198.51.100.1', port })
    world.pool.want()
    await world.pass(100)
    expect(world.pool.summary().mapping).toBe(mapping)
    expect(world.told.filter((one) => one.startsWith('srflx'))).toEqual(['srflx 198.51.100.1 40000'])
    await world.pass(600_000)
    // Whoever a server names there gets a few packets, and no more.
    expect(world.asked.filter((address) => address === '192.0.2.66').length).toBeLessThanOrEqual(4)
  })

  test('are asked of no second address any more when nobody may learn what it tells', async () => {
    const world = new World().stun('192.0.2.10')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    world.others.set('192.0.2.10', '192.0.2.66')
    world.pool.want()
    await world.pass(100)
    const { length } = world.asked
    expect(world.asked.at(-1)).toBe('192.0.2.66')
    world.pool.configure([parseStunServer('192.0.2.10')], 'relay')
    await world.pass(60_000)
    expect(world.asked.length).toBe(length)
  })

  test('tell that UDP does not get out, soon enough for a failure to be explained', async () => {
    const world = new World().stun('192.0.2.10')
    world.pool.want()
    await world.pass(4000)
    expect(world.pool.summary().udp).toBe(false)
    expect(world.pool.state()).toMatchObject([{ server: '192.0.2.10:3478', state: 'silent', detail: 'no answer' }])
    // The same settings, read anew.
    world.pool.configure([parseStunServer('192.0.2.10')], 'all')
    expect(world.pool.state()).toMatchObject([{ state: 'silent' }])
  })

  test('wait for no name; what is found later is asked then', async () => {
    const world = new World().stun('stun.example.org', '192.0.2.10')
    world.sees.set('192.0.2.10', { address: '198.51.100.1', port: 40_000 })
    world.sees.set('192.0.2.20', { address: '198.51.100.1', port: 40_000 })
    world.pool.want()
    await world.pass(1000)
    expect(world.told).toContain('srflx 198.51.100.1 40000')
    expect(world.pool.state()[0]).toMatchObject({ server: 'stun.example.org:3478', state: 'unresolved' })
    world.names.set('stun.example.org', ['192.0.2.20', '192.0.2.21', '2001:db8::20'])
    await world.pass(30_000)
    expect([...new Set(world.asked)]).toEqual(['192.0.2.10', '192.0.2.20', '2001:db8::20'])
    expect(world.lookups).toBeLessThan(6)
  })

  test('are only those of relays, or none, where the policy says so: and then no STUN server is asked', async () => {
    for (const [share, told] of [
      ['relay', ['relay 203.0.113.5 5000']],
      ['none', []],
    ] as const) {
      const world = new World()
      world.relays.list = [extra('relay', '203.0.113.5')]
      world.pool.configure([parseStunServer('192.0.2.10')], share)
      world.pool.want()
      await world.pass(1000)
      expect(world.told).toEqual(told)
      expect(world.asked).toEqual([])
    }
  })

  test('are no more than a peer looks at, from no more servers than eight', async () => {
    const world = new World()
    const many = Array.from({ length: 40 }, (_, i) => `10.0.${i}.1/24`)
    world.pool.networkChanged([networkInterface('eth0', many)])
    world.stun(...Array.from({ length: 20 }, (_, i) => `192.0.2.${i + 1}`))
    world.pool.want()
    await world.pass(100)
    expect(world.told).toHaveLength(32)
    expect(new Set(world.asked).size).toBe(8)
  })

  test('end with the pool', async () => {
    const world = new World().stun('192.0.2.10')
    world.pool.want()
    world.pool.close()
    world.pool.close()
    const { length } = world.asked
    await world.pass(600_000)
    expect([world.asked.length, world.relays.wants]).toEqual([length, 0])
  })
})

describe('a STUN server in the settings', () => {
  test.each([
    ['stun.example.org', { host: 'stun.example.org', port: 3478 }],
    ['Stun.Example.org:19302', { host: 'stun.example.org', port: 19_302 }],
    ['stun:192.0.2.1', { host: '192.0.2.1', port: 3478 }],
    ['[2001:db8::1]:5000', { host: '2001:db8::1', port: 5000 }],
    ['2001:db8::1', { host: '2001:db8::1', port: 3478 }],
  ])('%s', (text, server) => expect(parseStunServer(text)).toEqual(server))

  test.each(['', 'a b', 'host:0', 'host:65536', '[::1', '[zz]:1', 'stuns:host', 'host:port'])('%s is none', (text) =>
    expect(() => parseStunServer(text)).toThrow(expect.objectContaining({ code: 'usage.invalid-setting' })),
  )
})
