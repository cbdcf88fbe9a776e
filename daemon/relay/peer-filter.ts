import { BlockList, isIP } from 'node:net'
import { plainAddress } from '../network/addresses.ts'

type Prefix = readonly [network: string, prefix: number]

function listOf(family: 'ipv4' | 'ipv6', prefixes: readonly Prefix[]): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of prefixes) list.addSubnet(network, prefix, family)
  return list
}

/** No single host of another network can have these, whatever the settings say (IANA, "IPv4 Special-Purpose Address Registry"). */
const NEVER_4 = listOf('ipv4', [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  // Multicast, reserved, and the limited broadcast address.
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
])

/** Private use, carriers, documentation, benchmarks, 6to4 relays: somebody's own network. */
const PRIVATE_4 = listOf('ipv4', [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
])

/** Global unicast (RFC 4291 section 2.4). All that embeds IPv4 outside it, mapped, compatible and NAT64, is refused along with the rest. */
const GLOBAL_6 = listOf('ipv6', [['2000::', 3]])

/** Of these, what leads elsewhere than it says: 6to4 (RFC 7526), and Teredo, which is among the protocol assignments (RFC 2928). */
const EMBEDDING_6 = listOf('ipv6', [
  ['2001::', 23],
  ['2002::', 16],
])

/** Unique local and documentation. */
const PRIVATE_6 = listOf('ipv6', [
  ['fc00::', 7],
  ['2001:db8::', 32],
  ['3fff::', 20],
])

/** What an address is to a relay. */
type Reach = 'public' | 'private' | 'never'

function reachOf(address: string): Reach {
  const family = isIP(address)
  // Another spelling of the same address, IPv4 in IPv6 among them, would pass a list of addresses unnoticed.
  if (family === 0 || plainAddress(address) !== address) return 'never'
  if (family === 4) {
    if (NEVER_4.check(address, 'ipv4')) return 'never'
    return PRIVATE_4.check(address, 'ipv4') ? 'private' : 'public'
  }
  if (PRIVATE_6.check(address, 'ipv6')) return 'private'
  return GLOBAL_6.check(address, 'ipv6') && !EMBEDDING_6.check(address, 'ipv6') ? 'public' : 'never'
}

/** What a relay knows of the addresses around it. Spelled canonically. */
export interface PeerFilterOptions {
  /** Those of this server's relays: what goes there stays inside. */
  readonly relays: () => ReadonlySet<string>
  /** All of this host's, and the broadcast addresses of its networks. */
  readonly own: () => ReadonlySet<string>
  /** Setting `relay.allow-private`. */
  readonly allowPrivate: () => boolean
}

/** To whom clients may send through the relay (RFC 8656 sections 21.1.5 and 21.4): what lies behind it is not theirs to reach. */
export class PeerFilter {
  readonly #options: PeerFilterOptions

  constructor(options: PeerFilterOptions) {
    this.#options = options
  }

  /** True for an address that a client may have a permission for. What is sent to one that is a relay here, see `mayLeaveTo`. */
  allows(address: string): boolean {
    return this.isRelay(address) || this.mayLeaveTo(address)
  }

  /** True for an address that a relay of this server has. */
  isRelay(address: string): boolean {
    return this.#options.relays().has(address)
  }

  /** True for an address to which packets may go out. */
  mayLeaveTo(address: string): boolean {
    const reach = reachOf(address)
    if (reach === 'never') return false
    return this.#options.allowPrivate() || (reach === 'public' && !this.#options.own().has(address))
  }
}
