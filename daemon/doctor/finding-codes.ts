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
  'network.way-out-unused': {
    severity: 'warn',
    title: 'The way to the internet is an interface that does not take part',
    fix: 'Let it take part with `partyline config set network.interfaces NAMES`, or take it out of network.exclude.',
  },
  'vpn.default-route': {
    severity: 'warn',
    title: 'A VPN takes what goes to the internet',
    fix: 'Switch off the VPN, or have it leave out the internet (split tunnel).',
  },
  'ipv6.no-route': {
    severity: 'warn',
    title: 'There is an IPv6 address of the internet, and no route',
    fix: 'Check IPv6 at the router, or switch it off there; peers are dialled in vain at addresses that cannot be reached.',
  },
  'port.mdns-taken': {
    severity: 'warn',
    title: 'Another program keeps the port of mDNS for itself',
    fix: 'Stop that program, or have it share UDP port 5353 with others (SO_REUSEADDR), and start Partyline again.',
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
  'firewall.drops': {
    severity: 'warn',
    title: 'The packet filter of this machine drops what others send to our ports',
    fix: "Open this host's ports in nftables.",
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
  'stun.silent': {
    severity: 'warn',
    title: 'A STUN server does not answer',
    fix: 'Check names and ports in `nat.stun`; where UDP is blocked, TURN over TCP or TLS still works.',
  },
  'turn.unreachable': {
    severity: 'warn',
    title: 'A TURN server cannot be reached',
    fix: 'Check names and ports in `nat.turn`, and that the server runs; where UDP is blocked, TURN over TCP or TLS still works.',
  },
  'turn.wrong-password': {
    severity: 'fail',
    title: 'A TURN server does not accept user name or password',
    fix: 'Correct the server with `partyline config set nat.turn turn:USER:PASSWORD@HOST`.',
  },
  'turn.refused': {
    severity: 'warn',
    title: 'A TURN server gives no relay',
    fix: 'See what the server says; another one can be set beside it in `nat.turn`.',
  },
  'nat.server-unknown': {
    severity: 'warn',
    title: 'The name of a STUN or TURN server has no address',
    fix: 'Check the name in `nat.stun` and `nat.turn`, and that DNS works.',
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
  'nat.double': {
    severity: 'warn',
    title: 'There are two NATs, one behind the other',
    fix: 'Put the outer router into bridge mode, have it forward to the inner one, or ask the provider for a public address; IPv6 and a relay help as well.',
  },
  'mapping.failed': {
    severity: 'warn',
    title: 'The router forwards no port to this host',
    fix: 'Switch on UPnP, NAT-PMP or PCP at the router, or forward the TCP and UDP port of `partyline status` by hand; without that, peers elsewhere are reached by holes through the NAT.',
  },
  'account.wrong-password': {
    severity: 'fail',
    title: 'An XMPP server does not accept the password of an account',
    fix: 'Give the right password with `partyline account add JID`.',
  },
  'account.bad-certificate': {
    severity: 'fail',
    title: 'The certificate of an XMPP server is not trusted',
    fix: 'Check the clock of this machine, and who answers for the server; for a server of your own give the certificate of its authority: `partyline account add JID --ca FILE`.',
  },
  'account.unreachable': {
    severity: 'warn',
    title: 'An XMPP server cannot be reached',
    fix: 'Check the address of the account, and that this network lets TCP ports 5222 and 5223 out; it is tried again by itself.',
  },
  'relay.not-running': {
    severity: 'fail',
    title: 'A relay is wanted, and none runs',
    fix: 'See with `partyline relay start` what holds it back.',
  },
  'relay.private-only': {
    severity: 'warn',
    title: 'The relay has no address of the internet',
    fix: 'Forward its ports at the router and give the outer address, or run the relay on a host with a public address.',
  },
  'policy.request-waiting': {
    severity: 'warn',
    title: 'A peer asks to be let in',
    fix: 'See `partyline requests`, and let it in with `partyline requests accept PEER`.',
  },
  'policy.metered': {
    severity: 'warn',
    title: 'A metered network is spared',
    fix: 'Let everything over it with `partyline config set policy.on-metered all`.',
  },
  'clock.wrong': {
    severity: 'fail',
    title: 'The clock is wrong',
    fix: 'Set date and time of this machine, best by NTP: certificates and invitations are judged by it.',
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
  'peer.link-lost': {
    severity: 'warn',
    title: 'The link of a session is lost',
    fix: 'See the conclusion below; the session goes on by itself when a path is found.',
  },
  'peer.obstacle': {
    severity: 'warn',
    title: 'Something is known to stand between this host and the peer',
    fix: 'See the conclusion below.',
  },
  'peer.no-signaller': {
    severity: 'warn',
    title: 'Nothing carries signals to the peer now',
    fix: 'Add an XMPP account (`partyline account add JID`), join the hub of the peer, or meet by an offer and an answer by hand.',
  },
  'peer.not-admitted': {
    severity: 'warn',
    title: 'The policy here does not let the peer open a session',
    fix: 'Let it in with `partyline trust PEER` or `partyline policy set PEER open open`.',
  },
  'peer.told-nothing': {
    severity: 'warn',
    title: 'The policy here keeps our addresses from the peer',
    fix: 'Let it learn them with `partyline policy set PEER share all`.',
  },
  'peer.seen-unreachable': {
    severity: 'fail',
    title: 'The peer is seen, and cannot be reached',
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
