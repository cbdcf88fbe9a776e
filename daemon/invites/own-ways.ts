import type { HubStatus } from '../../ipc/methods.ts'
import { tellableAddresses } from '../hub/host-addresses.ts'
import { formatHubTicket, parseHub } from '../hub/ticket.ts'
import { isPeerId } from '../identity/peer-id.ts'
import { isOwnAddress, scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Share } from '../peers/peer-policy.ts'
import { MAX_ACCOUNTS, MAX_ADDRESSES, MAX_HUBS, type Ways } from '../peers/ways.ts'
import type { HostPort, PeerId } from '../types.ts'

/** Most bytes of ways in a ticket or a signal, as JSON: a QR code has to hold them. */
const MAX_WAYS = 1500

interface OwnWaysParts {
  readonly self: PeerId
  /** Which addresses others may learn. */
  readonly share: Share
  readonly hub: HubStatus
  readonly interfaces: readonly NetworkInterface[]
  readonly port: number
  /** XMPP accounts of this host. */
  readonly accounts: readonly string[]
  /** Where routers forward a port of theirs to ours. */
  readonly mapped: readonly HostPort[]
}

/** How this host may be reached, as far as it knows by itself: over its accounts, at the hubs it is at or runs, at mapped ports and its own addresses. */
export function ownWays({ self, share, hub, interfaces, port, accounts, mapped }: OwnWaysParts): Ways {
  const isTold = (share === 'all' || share === 'public') && port > 0
  const mayTell = (address: string): boolean => share === 'all' || (isTold && scopeOf(address) === 'global')
  const own = isTold ? tellableAddresses(interfaces).filter(mayTell) : []
  const far = own.filter((address) => scopeOf(address) === 'global')
  const near = own.filter((address) => scopeOf(address) === 'private')
  const joined = hub.hubs.flatMap(({ peer, name, address, port: at, state }) => {
    if (state !== 'joined' || !isPeerId(peer) || scopeOf(address) === 'loopback' || address.includes('%')) return []
    // A hub on a network of ours tells of that network, and one that is ours of us.
    if (share !== 'all' && (scopeOf(address) !== 'global' || isOwnAddress(address, interfaces))) return []
    return [formatHubTicket({ peer, name, addresses: [{ address, port: at }] })]
  })
  const at = hub.addresses.filter(mayTell).map((address) => ({ address, port: hub.port }))
  const run = hub.running && isTold && at.length > 0 ? [{ peer: self, name: hub.name, addresses: at }] : []
  return {
    accounts: accounts.slice(0, MAX_ACCOUNTS),
    hubs: [...run.map(formatHubTicket), ...joined].slice(0, MAX_HUBS),
    addresses: [
      ...(isTold
        ? mapped
            .filter(({ address }) => mayTell(address))
            .map(({ address, port: at }) => ({ address, port: at, mapped: true as const }))
        : []),
      ...[...far, ...near].map((address) => ({ address, port })),
    ].slice(0, MAX_ADDRESSES),
  }
}

/** As many of them as a ticket holds: the last addresses go first, then the last hubs, then the last accounts. */
export function fitWays(ways: Ways): Ways {
  const fitted = { accounts: [...ways.accounts], hubs: [...ways.hubs], addresses: [...ways.addresses] }
  while (Buffer.byteLength(JSON.stringify(fitted)) > MAX_WAYS) {
    const longest = [fitted.addresses, fitted.hubs, fitted.accounts].find((list) => list.length > 1) ?? fitted.hubs
    if (longest.length === 0) return { ...fitted, accounts: [] }
    longest.pop()
  }
  return fitted
}

/** True where one of them works from the internet, as far as addresses tell. */
export function isReachableFromOutside({ accounts, hubs, addresses }: Ways): boolean {
  const isFar = ({ address }: { readonly address: string }): boolean => scopeOf(address) === 'global'
  return accounts.length > 0 || addresses.some(isFar) || hubs.some((hub) => addressesOf(hub).some(isFar))
}

function addressesOf(hub: string): readonly { readonly address: string }[] {
  try {
    return parseHub(hub).addresses
  } catch {
    return []
  }
}
