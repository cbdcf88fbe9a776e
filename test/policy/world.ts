import type { NetworkInterface } from '../../daemon/network/network.ts'
import type { PeerPolicy } from '../../daemon/peers/peer-policy.ts'
import { Policy, type PolicySettings, type Way } from '../../daemon/policy/policy.ts'
import type { PeerId, Trust } from '../../daemon/types.ts'
import { networkInterface } from '../simulated-network.ts'

export const PEER = 'a'.repeat(52) as PeerId

export const SETTINGS: PolicySettings = {
  open: { lan: 'open', internet: 'trusted' },
  share: 'all',
  punch: true,
  onMetered: 'all',
  relays: true,
  carries: true,
}

/** What a policy goes by; every test changes what it is about. */
export class World {
  settings: PolicySettings = SETTINGS
  trust: Trust = 'unknown'
  said: PeerPolicy = {}
  isGranted = false
  seenOn: readonly string[] = []
  interfaces: readonly NetworkInterface[] = [networkInterface('eth0', ['192.168.50.1/24', '2001:db8:50::1/64'])]
  isMetered: (way: Way) => boolean = () => false

  readonly policy = new Policy({
    settings: () => this.settings,
    peer: () => ({ trust: this.trust, policy: this.said }),
    shares: () => (this.said.share ? [this.said.share] : []),
    isGranted: () => this.isGranted,
    interfaces: () => this.interfaces,
    seenOn: () => this.seenOn,
    isMetered: (way) => this.isMetered(way),
  })
}

/** The ends of a link over TCP, or of one over a path that may go through a relay. */
export function linkTo(address: string, path?: 'straight' | 'relayed', local = '192.168.50.1') {
  const at = { address, port: 47800 }
  const ends = { local: { address: local, port: 47800 }, remote: at }
  return path ? { ...ends, path: { to: path === 'relayed' ? { ...at, relay: 'relay-1' } : at } } : ends
}
