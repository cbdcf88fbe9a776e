import { describe, expect, test } from 'vitest'
import { type LocalCandidate, priorityOf } from '../../daemon/nat/candidate.ts'
import { encodeXorAddress } from '../../daemon/nat/stun/attributes.ts'
import { StunWriter } from '../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../daemon/nat/stun/registry.ts'
import type { TransportAddress } from '../../daemon/nat/transport-address.ts'
import { scopeOf } from '../../daemon/network/addresses.ts'
import { SHARES, type Share } from '../../daemon/peers/peer-policy.ts'
import type { PeerId } from '../../daemon/types.ts'
import { SimulatedPaths, TraversalHost } from '../nat/traversal-host.ts'
import { addressesIn } from './address-scan.ts'

/** Of interfaces, of a router behind another, and of interfaces that the internet reaches. */
const INNER = ['192.168.7.5', '10.20.30.40', '169.254.9.9', '100.64.3.2', 'fd12:3456:789a::7']
const OUTER_ROUTER = '192.168.254.2'
const GLOBAL = ['2001:db8:77::5', '203.0.113.9']
const LURE = '192.168.7.66'

/** Notes all that leaves a host. */
class WatchedPaths extends SimulatedPaths {
  readonly told: Buffer[] = []
  readonly packets: { readonly bytes: Buffer; readonly from: string; readonly to: TransportAddress }[] = []
  watched: TraversalHost | undefined

  override carry(packet: Buffer, from: string, to: TransportAddress): void {
    if (from === this.watched?.address || from === this.watched?.relay)
      this.packets.push({ bytes: Buffer.from(packet), from, to })
    super.carry(packet, from, to)
  }

  override signal(from: TraversalHost, to: PeerId, content: Uint8Array): void {
    if (from === this.watched) this.told.push(Buffer.from(content))
    super.signal(from, to, content)
  }
}

function candidate(kind: 'host' | 'mapped', address: string, port: number): LocalCandidate {
  return { kind, address, port, priority: priorityOf(kind, port), foundation: 'f', interface: '' }
}

/** Everything that a host which shares so much sends while it finds a way to a peer that would like to know more. */
async function watch(share: Share) {
  const paths = new WatchedPaths()
  const [host, peer] = await TraversalHost.pair(paths)
  try {
    paths.watched = host
    host.share = share
    const own = [...INNER, ...GLOBAL].map((address, index) => candidate('host', address, 5000 + index))
    const seen: LocalCandidate = { ...host.direct, kind: 'srflx', priority: priorityOf('srflx', 1) }
    host.candidates = [...own, candidate('mapped', OUTER_ROUTER, 6000), seen, host.relayed]
    peer.candidates = [peer.direct, peer.relayed, candidate('host', LURE, 4000)]
    const failed = new Promise<void>((resolve) => void host.traversal.look(peer.peer, () => resolve()))
    peer.traversal.look(host.peer, () => {})
    await Promise.race([failed, host.untilLinks(1)])
    const [link] = host.links
    link?.socket.write('hello')
    await new Promise((resolve) => setTimeout(resolve, 50))
    const all = [...INNER, OUTER_ROUTER, ...GLOBAL, host.address, host.relay]
    const bytes = [...paths.told, ...paths.packets.map((packet) => packet.bytes)]
    return {
      found: all.filter((address) => bytes.some((one) => addressesIn(one, [address]).length > 0)),
      told: all.filter((address) => paths.told.some((one) => addressesIn(one, [address]).length > 0)),
      sources: new Set(paths.packets.map(({ from }) => from)),
      straightTo: new Set(paths.packets.flatMap(({ from, to }) => (from === host.address ? [to.address] : []))),
      signals: paths.told.length,
      isLinked: link !== undefined,
      host,
      peer,
    }
  } finally {
    await host[Symbol.asyncDispose]()
    await peer[Symbol.asyncDispose]()
  }
}

describe('every byte that leaves a host in signals, checks and packets', () => {
  test.each(SHARES.filter((share) => share !== 'none'))(
    'names what `%s` lets peers learn, and nothing else',
    async (share) => {
      const { told, found, sources, straightTo, isLinked, host, peer } = await watch(share)
      const wanted = {
        all: [...INNER, OUTER_ROUTER, ...GLOBAL, host.address, host.relay],
        public: [...GLOBAL, host.address, host.relay],
        relay: [host.relay],
      }[share]
      expect(isLinked).toBe(true)
      expect(told.sort()).toEqual([...wanted].sort())
      expect(found.sort()).toEqual([...wanted].sort())
      // What arrives shows where it left from, too.
      if (share === 'relay') expect(sources).toEqual(new Set([host.relay]))
      else expect(sources).toContain(host.address)
      const isPrivate = (address: string) => scopeOf(address) !== 'global'
      expect([...straightTo].filter(isPrivate)).toEqual(share === 'all' ? [LURE] : [])
      expect(peer.told).not.toContain(share === 'relay' ? host.address : LURE)
    },
    20_000,
  )

  test('is none where nothing is shared', async () => {
    const { signals, sources } = await watch('none')
    expect([signals, sources.size]).toEqual([0, 0])
  }, 20_000)
})

test('addresses are recognised in every encoding', () => {
  const id = Buffer.alloc(12, 7)
  for (const address of ['192.168.7.5', 'fd12:3456:789a::7']) {
    const answer = new StunWriter('success', METHOD.binding, id)
      .add(ATTRIBUTE.xorMappedAddress, encodeXorAddress({ address, port: 1 }, id))
      .finish({})
    const raw = Buffer.from(address.includes(':') ? 'fd123456789a00000000000000000007' : 'c0a80705', 'hex')
    const texts = [address, raw.toString('hex'), `xx${raw.toString('hex').toUpperCase()}`]
    const encoded = ['', 'a', 'ab'].map((before) =>
      Buffer.concat([Buffer.from(before), raw, Buffer.from('z')]).toString('base64'),
    )
    for (const bytes of [answer, Buffer.concat([id, raw]), ...[...texts, ...encoded].map((text) => Buffer.from(text))])
      expect(addressesIn(bytes, [address, '172.16.9.6', 'fd99::8'])).toEqual([address])
  }
})
