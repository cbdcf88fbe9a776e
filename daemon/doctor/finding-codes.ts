/** `fail`: something does not work. `warn`: something works worse than it could, or will stop to under some conditions. */
interface FindingEntry {
  readonly severity: 'warn' | 'fail'
  readonly title: string
  /** What to do; a check that knows names, addresses and ports says it with those. */
  readonly fix: string
}

const ISOLATION = 'Switch off client (AP, guest) isolation at the access point, or use a cable.'
const OPEN_THERE = 'Open the port in the firewall of the other machine.'
const JOIN = 'Join the network of the other machine, or let the router between the two pass TCP and UDP.'

/** Everything that the doctor can find wrong. Codes are stable; the part before the dot says where to look. */
export const FINDINGS = {
  'network.no-interface': {
    severity: 'fail',
    title: 'No network interface takes part',
    fix: 'Plug in a cable or join a Wi-Fi.',
  },
  'network.interface-absent': {
    severity: 'warn',
    title: 'A chosen network interface is not there',
    fix: 'Correct it with `partyline config set network.interfaces NAMES`, or take it back with `partyline config reset network.interfaces`.',
  },
  'network.self-made-address': {
    severity: 'warn',
    title: 'No DHCP server answered',
    fix: 'Nothing to do on a LAN without a router; otherwise check the cable and the DHCP server, or give the interface an address of its network.',
  },
  'network.same-subnet': {
    severity: 'warn',
    title: 'Two interfaces are on one network',
    fix: 'Unplug one of them, or leave it out with the setting network.exclude.',
  },
  'port.taken': {
    severity: 'warn',
    title: 'Another program holds our port',
    fix: 'Stop that program and start Partyline again, or open the port that is used instead in the firewall.',
  },
  'firewall.unproven': {
    severity: 'warn',
    title: 'A firewall is on, and nobody came through it',
    fix: "Open this host's ports in the firewall of this machine.",
  },
  'multicast.deaf': {
    severity: 'fail',
    title: 'This host does not hear its own multicast',
    fix: "Let multicast (UDP 5353 to 224.0.0.251 and ff02::fb) through this machine's firewall.",
  },
  'multicast.half-deaf': {
    severity: 'warn',
    title: 'This host hears its own multicast by IPv4 or IPv6 only',
    fix: "Let multicast (UDP 5353 to 224.0.0.251 and ff02::fb) through this machine's firewall.",
  },
  'multicast.filtered': {
    severity: 'warn',
    title: 'The network does not pass multicast',
    fix: 'Switch off multicast filtering, IGMP snooping and client isolation at the access point or switch, or keep a hub on this network (`partyline hub start` on one host, `partyline hub join ADDRESS` on the others).',
  },
  'multicast.mdns-filtered': {
    severity: 'warn',
    title: 'Broadcast passes and mDNS does not',
    fix: 'Switch off multicast filtering and IGMP snooping at the access point or switch.',
  },
  'discovery.failed': {
    severity: 'fail',
    title: 'A discovery method works on no interface',
    fix: 'Check that the interfaces have addresses and that no other program holds the port for itself.',
  },
  'discovery.partly-failed': {
    severity: 'warn',
    title: 'A discovery method fails on some interfaces',
    fix: 'Check that the interfaces have addresses and that no other program holds the port for itself.',
  },
  'lan.nobody': {
    severity: 'warn',
    title: 'Nobody else is seen',
    fix: 'Start `partyline daemon` on the other machine and see that both are on one network and no firewall is between them.',
  },
  'identity.twin': {
    severity: 'fail',
    title: 'Another host uses the identity of this one',
    fix: 'Move the identity file away on one of the two machines and start Partyline there again, for a new identity.',
  },
  'hub.not-joined': {
    severity: 'warn',
    title: 'A hub cannot be joined',
    fix: 'Check that the hub runs (`partyline hub status` there) and that its firewall lets its TCP port in, or forget it with `partyline hub leave HUB`.',
  },
  'nat.server-unusable': {
    severity: 'warn',
    title: 'A STUN or TURN server cannot be used',
    fix: 'Check names, ports and passwords in `nat.stun` and `nat.turn`; where UDP is blocked, TURN over TCP or TLS still works.',
  },
  'nat.no-server': {
    severity: 'fail',
    title: 'No STUN or TURN server can be used',
    fix: 'Check names, ports and passwords in `nat.stun` and `nat.turn`; where UDP is blocked, TURN over TCP or TLS still works.',
  },
  'nat.udp-blocked': {
    severity: 'warn',
    title: 'UDP to the internet is blocked',
    fix: 'Set a relay that is reached over TCP or TLS: `partyline config set nat.turn turns:USER:PASSWORD@HOST`.',
  },
  'nat.symmetric': {
    severity: 'warn',
    title: 'The router is a symmetric NAT',
    fix: 'Direct paths work only to peers whose router lets anybody in; set a relay for the others with `partyline config set nat.turn`.',
  },
  'clock.unset': {
    severity: 'warn',
    title: 'The clock was never set',
    fix: 'Set date and time of this machine.',
  },
  'refusals.many': {
    severity: 'warn',
    title: 'Much of what comes from others is refused',
    fix: 'See the codes in `partyline status`.',
  },
  'peer.unseen': {
    severity: 'warn',
    title: 'No discovery method sees the peer',
    fix: 'See that its machine is on, on this network, and runs Partyline.',
  },
  'peer.obstacle': {
    severity: 'warn',
    title: 'Something is known to stand between this host and the peer',
    fix: 'See the conclusion below.',
  },
  'peer.address-silent': {
    severity: 'warn',
    title: 'The peer does not answer at one of its addresses',
    fix: 'See the conclusion below.',
  },
  'peer.address-of-other': {
    severity: 'fail',
    title: 'Another host answers at one of the addresses of the peer',
    fix: 'See the check of the key.',
  },
  'peer.no-path': {
    severity: 'fail',
    title: 'No path through NAT leads to the peer',
    fix: 'Give one of the hosts a relay with `partyline config set nat.turn`, or bring both into one network.',
  },
  'peer.wrong-key': {
    severity: 'fail',
    title: 'Another key answers for the peer',
    fix: 'Ask for the peer id (`partyline id` there) and compare; drop an old identity with `partyline forget PEER`.',
  },
  'peer.blocked': {
    severity: 'fail',
    title: 'The peer is blocked here',
    fix: 'Run `partyline trust PEER` to undo it.',
  },
  'peer.away': {
    severity: 'warn',
    title: 'The peer is away',
    fix: 'Start Partyline on the other machine and see that it is on this network.',
  },
  'peer.undiscovered': {
    severity: 'warn',
    title: 'The peer answers, and discovery does not see it',
    fix: 'See `partyline doctor` on both machines for what holds discovery back.',
  },
  'peer.turned-down': {
    severity: 'fail',
    title: 'The peer is there and turns this host down',
    fix: 'Ask its owner to run `partyline doctor`, and to see in `partyline peers` whether this host is blocked.',
  },
  'peer.firewalled': {
    severity: 'fail',
    title: 'The peer is discovered, and a firewall there blocks data',
    fix: OPEN_THERE,
  },
  'peer.replaced': {
    severity: 'fail',
    title: 'Another host answers at every address of the peer',
    fix: 'Wait until discovery has seen the peer anew, and heed the check of the key.',
  },
  'peer.port-of-other': {
    severity: 'fail',
    title: 'Another program listens where the peer was seen',
    fix: 'See on the other machine that Partyline runs and which port `partyline status` shows.',
  },
  'peer.not-listening': {
    severity: 'fail',
    title: 'The peer was seen, and its port refuses',
    fix: 'Start Partyline on the other machine.',
  },
  'peer.silent': {
    severity: 'fail',
    title: 'The peer was seen, and nothing answers at its port',
    fix: OPEN_THERE,
  },
  'peer.gone': {
    severity: 'fail',
    title: 'The peer was seen, and no machine answers at its address',
    fix: `Wake the other machine; if it is awake: ${ISOLATION}`,
  },
  'peer.other-network': {
    severity: 'fail',
    title: 'The peer is on another network, and nothing answers from there',
    fix: JOIN,
  },
  'peer.hub-only': {
    severity: 'fail',
    title: 'The peer is seen through a hub only, and has told no address',
    fix: 'Wait a moment and try again; if that stays so, update Partyline on both machines.',
  },
  'peer.hub-other-network': {
    severity: 'fail',
    title: 'The peer is seen through a hub only, and is on another network',
    fix: JOIN,
  },
  'peer.isolated': {
    severity: 'fail',
    title: 'The network keeps its clients apart',
    fix: ISOLATION,
  },
  'peer.isolated-or-firewalled': {
    severity: 'fail',
    title: 'The network keeps its clients apart, or a firewall there drops',
    fix: ISOLATION,
  },
  'peer.chat-port-closed': {
    severity: 'fail',
    title: 'The port of a plain XMPP client does not take connections',
    fix: 'Open its TCP port in the firewall of its machine, or restart the client there.',
  },
} as const satisfies Record<string, FindingEntry>

export type FindingCode = keyof typeof FINDINGS
