import { conclude } from './conclusion.ts'
import { examineFiltering, examineHubs, examineIdentity, examineMethod, examinePeople } from './discovery-checks.ts'
import type { Check, HostFindings, PeerFindings } from './findings.ts'
import {
  examineAccounts,
  examineIPv6,
  examineMapping,
  examinePolicy,
  examineRelay,
  examineWayOut,
} from './internet-checks.ts'
import { examineNat, examinePaths, examineServers } from './nat-checks.ts'
import {
  examineAddresses,
  examineClock,
  examineFirewall,
  examineInterfaces,
  examineMdnsPort,
  examineMulticast,
  examinePort,
  examineRefusals,
  examineSubnets,
} from './network-checks.ts'
import { examineAdmission, examineKey, examineKnown, examineReach, examineSession, examineWays } from './peer-checks.ts'

/** What `partyline doctor` looks at, in this order. */
export const HOST_CHECKS: readonly Check<HostFindings>[] = [
  { id: 'interfaces', title: 'Network interfaces', examine: examineInterfaces },
  { id: 'addresses', title: 'Addresses', examine: examineAddresses },
  { id: 'subnets', title: 'Several interfaces', examine: examineSubnets },
  { id: 'way-out', title: 'Way to the internet', examine: examineWayOut },
  { id: 'ipv6', title: 'IPv6', examine: examineIPv6 },
  { id: 'port', title: 'Port', examine: examinePort },
  { id: 'port-mdns', title: 'Port of mDNS', examine: examineMdnsPort },
  { id: 'firewall', title: 'Firewall of this machine', examine: examineFirewall },
  { id: 'multicast-self', title: 'Multicast on this machine', examine: examineMulticast },
  { id: 'discovery-mdns', title: 'Discovery by mDNS', examine: examineMethod('mdns', 'discovery.mdns') },
  { id: 'discovery-beacon', title: 'Discovery by beacon', examine: examineMethod('beacon', 'discovery.beacon') },
  { id: 'discovery-xmpp', title: 'Discovery by XMPP', examine: examineMethod('xmpp', 'discovery.xmpp') },
  { id: 'people', title: 'Who is there', examine: examinePeople },
  { id: 'multicast-lan', title: 'Multicast on the network', examine: examineFiltering },
  { id: 'identity', title: 'Identity', examine: examineIdentity },
  { id: 'hubs', title: 'Hubs', examine: examineHubs },
  { id: 'nat-servers', title: 'STUN and TURN servers', examine: examineServers },
  { id: 'nat', title: 'NAT', examine: examineNat },
  { id: 'mapping', title: 'Port mapping', examine: examineMapping },
  { id: 'accounts', title: 'XMPP accounts', examine: examineAccounts },
  { id: 'relay', title: 'Relay', examine: examineRelay },
  { id: 'policy', title: 'Policy', examine: examinePolicy },
  { id: 'clock', title: 'Clock', examine: examineClock },
  { id: 'refusals', title: 'Refusals', examine: examineRefusals },
]

/** What `partyline doctor PEER` looks at before the peer's addresses. */
export const PEER_CHECKS: readonly Check<PeerFindings>[] = [
  { id: 'known', title: 'Discovery', examine: examineKnown },
  { id: 'session', title: 'Session', examine: examineSession },
  { id: 'ways', title: 'Ways from anywhere', examine: examineWays },
  { id: 'policy', title: 'Policy', examine: examineAdmission },
]

/** And after them. */
export const PEER_VERDICTS: readonly Check<PeerFindings>[] = [
  { id: 'paths', title: 'Paths through NAT', examine: examinePaths },
  { id: 'reach', title: 'Seen and reached', examine: examineReach },
  { id: 'key', title: 'Key', examine: examineKey },
  { id: 'conclusion', title: 'Conclusion', examine: conclude },
]
