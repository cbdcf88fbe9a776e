import { BlockList, isIP, isIPv4, isIPv6, SocketAddress } from 'node:net'
import type { InterfaceAddress, NetworkInterface } from './network.ts'

function listOf(family: 'ipv4' | 'ipv6', ...prefixes: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of prefixes) list.addSubnet(network, prefix, family)
  return list
}

/** Whoever dials `0.0.0.0` or `::` reaches the machine itself as well (RFC 1122 section 3.2.1.3, "this host"). */
const LOOPBACK = {
  4: listOf('ipv4', ['127.0.0.0', 8], ['0.0.0.0', 8]),
  6: listOf('ipv6', ['::1', 128], ['::', 128]),
}
const LINK_LOCAL = { 4: listOf('ipv4', ['169.254.0.0', 16]), 6: listOf('ipv6', ['fe80::', 10]) }
/** RFC 1918, RFC 6598 and unique local addresses (RFC 4193). */
const PRIVATE = {
  4: listOf('ipv4', ['10.0.0.0', 8], ['172.16.0.0', 12], ['192.168.0.0', 16], ['100.64.0.0', 10]),
  6: listOf('ipv6', ['fc00::', 7]),
}

const label = (family: 4 | 6): 'ipv4' | 'ipv6' => (family === 4 ? 'ipv4' : 'ipv6')

/**
 * An address without its zone and in its one canonical spelling (RFC 5952), IPv4 in IPv6 as IPv4: `::ffff:7f00:1` is
 * `127.0.0.1`, whoever writes it otherwise. What is no address stays as it is, but for a zone.
 */
export function plainAddress(address: string): string {
  const bare = address.split('%', 1)[0] ?? ''
  if (!isIPv6(bare)) return bare
  const { address: canonical } = new SocketAddress({ address: bare, family: 'ipv6' })
  const embedded = canonical.startsWith('::ffff:') ? canonical.slice(7) : ''
  return isIPv4(embedded) ? embedded : canonical
}

/** How far an address reaches; what is no address (a name, say) counts as global. */
export function scopeOf(address: string): InterfaceAddress['scope'] {
  const plain = plainAddress(address)
  const family = isIP(plain)
  if (family !== 4 && family !== 6) return 'global'
  if (LOOPBACK[family].check(plain, label(family))) return 'loopback'
  if (LINK_LOCAL[family].check(plain, label(family))) return 'link-local'
  return PRIVATE[family].check(plain, label(family)) ? 'private' : 'global'
}

/** The directed broadcast address of an IPv4 network; undefined where the prefix leaves none (/31, /32; RFC 3021). */
export function broadcastOf(address: string, prefix: number): string | undefined {
  if (isIP(address) !== 4 || prefix > 30) return undefined
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const hosts = 2 ** (32 - prefix)
  const last = Math.floor(number / hosts) * hosts + hosts - 1
  return [24, 16, 8, 0].map((shift) => Math.floor(last / 2 ** shift) % 256).join('.')
}

/** The network of each address that was asked about: making one costs forty times what a look into it does. */
const networks = new WeakMap<InterfaceAddress, BlockList>()

function networkOf(own: InterfaceAddress): BlockList {
  const known = networks.get(own)
  if (known) return known
  const network = listOf(label(own.family), [own.address, own.prefix])
  networks.set(own, network)
  return network
}

/** True when `address` is on the network of an interface's address. */
export function sameSubnet(address: string, own: InterfaceAddress): boolean {
  const plain = plainAddress(address)
  return isIP(plain) === own.family && networkOf(own).check(plain, label(own.family))
}

/**
 * The interface an address belongs to: by its zone if it has one, else by the interfaces' networks, of which the
 * smallest wins, as in routing. A link-local address without a zone belongs to no interface in particular when
 * several have such a network.
 */
export function interfaceOf(address: string, interfaces: readonly NetworkInterface[]): NetworkInterface | undefined {
  const zone = address.split('%')[1]
  if (zone) return interfaces.find(({ name, index }) => name === zone || (index > 0 && String(index) === zone))
  const near = interfaces
    .map((one) => ({ one, prefix: longestPrefix(address, one) }))
    .filter(({ prefix }) => prefix >= 0)
    .sort((a, b) => b.prefix - a.prefix)
  if (near.length > 1 && scopeOf(address) === 'link-local') return undefined
  return near[0]?.one
}

/** The length of the longest prefix of an interface that an address matches; -1 if there is none. */
function longestPrefix(address: string, { addresses }: NetworkInterface): number {
  return Math.max(-1, ...addresses.filter((own) => sameSubnet(address, own)).map(({ prefix }) => prefix))
}

/** True when one of these interfaces has this very address. */
export function isOwnAddress(address: string, interfaces: readonly NetworkInterface[]): boolean {
  const plain = plainAddress(address)
  return interfaces.some(({ addresses }) => addresses.some((own) => own.address === plain))
}
