import type { HubStatus } from '../../ipc/methods.ts'
import { tellableAddresses } from '../hub/host-addresses.ts'
import { formatHubTicket, parseHub } from '../hub/ticket.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { Share } from '../nat/pool/pool.ts'
import { scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import { MAX_ADDRESSES, MAX_HUBS, type Ways } from '../peers/ways.ts'
import type { PeerId } from '../types.ts'

/** Most bytes of ways in a ticket or a signal, as JSON: a QR code has to hold them. */
const MAX_WAYS = 1500

interface OwnWaysParts {
  readonly self: PeerId
  /** Which addresses others may learn. */
  readonly share: Share
  readonly hub: HubStatus
  readonly interfaces: readonly NetworkInterface[]
  readonly port: number
}

/** How this host may be reached, as far as it knows by itself: at the hubs it is at or runs, and at its own addresses. */
export function ownWays({ self, share, hub, interfaces, port }: OwnWaysParts): Ways {
  const isTold = share === 'all' && port > 0
  const own = isTold ? tellableAddresses(interfaces) : []
  const far = own.filter((address) => scopeOf(address) === 'global')
  const near = own.filter((address) => scopeOf(address) === 'private')
  const joined = hub.hubs.flatMap(({ peer, name, address, port: at, state }) => {
    if (state !== 'joined' || !isPeerId(peer) || scopeOf(address) === 'loopback' || address.includes('%')) return []
    return [formatHubTicket({ peer, name, addresses: [{ address, port: at }] })]
  })
  const at = hub.addresses.map((address) => ({ address, port: hub.port }))
  const run = hub.running && isTold && at.length > 0 ? [{ peer: self, name: hub.name, addresses: at }] : []
  return {
    accounts: [],
    hubs: [...run.map(formatHubTicket), ...joined].slice(0, MAX_HUBS),
    addresses: [...far, ...near].slice(0, MAX_ADDRESSES).map((address) => ({ address, port })),
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
