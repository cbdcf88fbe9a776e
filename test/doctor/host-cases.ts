import type { FindingCode } from '../../daemon/doctor/finding-codes.ts'
import type { HostFindings } from '../../daemon/doctor/findings.ts'
import type { NatBehaviour } from '../../daemon/nat/stun/behaviour.ts'
import { networkInterface } from '../simulated-network.ts'
import { ETH0, finch, joinedHub, NO_HUB, NO_SERVERS, person, seen, session } from './findings.ts'

const VPN = networkInterface('tun0', ['10.8.0.2/24'])
const DOCKER = networkInterface('docker0', ['172.17.0.1/16'])
const WLAN_SAME = networkInterface('wlan0', ['192.168.50.77/24'])
const SELF_MADE = networkInterface('eth0', ['169.254.7.7/16', 'fe80::7/64'])
const ONLY_V6 = networkInterface('eth0', ['fe80::7/64', 'fd00:50::1/64'])
const deaf = { interface: 'eth0', family: 4, heard: false, problem: '' } as const
const byHub = person({ sightings: [seen('hub')] })
const state = { method: 'mdns', interface: 'eth0', state: 'failed', detail: 'EADDRINUSE' } as const
const off = { ...state, interface: '', state: 'off', detail: 'switched off' } as const

/** STUN servers in these states. */
function servers(...states: readonly string[]): HostFindings['internet'] {
  return {
    ...NO_SERVERS,
    state: '',
    servers: states.map((one) => ({
      server: 'stun.example.org',
      kind: 'stun',
      state: one,
      address: one === 'known' ? '198.51.100.1:4' : '',
      rtt: null,
      detail: one === 'known' ? '' : 'no answer',
    })),
  }
}

function behaviour(change: Partial<NatBehaviour>): NatBehaviour {
  const mapped = { address: '198.51.100.1', port: 4 }
  const eim = { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' } as const
  return { udp: true, mapped, ...eim, hairpin: false, ...change }
}

/** What a check of this host finds when something is otherwise than on a LAN on which all is well. */
export const HOST_CASES: readonly (readonly [
  check: string,
  when: string,
  change: Partial<HostFindings>,
  code: FindingCode | 'ok' | 'skip',
  says: RegExp,
  fix?: RegExp,
])[] = [
  ['interfaces', 'one takes part', { interfaces: [ETH0] }, 'ok', /eth0 \(cable, 192\.168\.50\.1\) takes part/],
  [
    'interfaces',
    'others are left out',
    { interfaces: [ETH0, VPN, DOCKER] },
    'ok',
    /Left out: tun0 \(VPN\) and docker0 \(container/,
  ],
  [
    'interfaces',
    'one is excluded, one has no address',
    {
      interfaces: [ETH0, { ...WLAN_SAME, participating: false }, networkInterface('eth1', [])],
      chosen: { include: [], exclude: ['wlan0'] },
    },
    'ok',
    /wlan0 \(excluded by the setting network.exclude\) and eth1 \(no address\)/,
  ],
  [
    'interfaces',
    'one that was chosen is not there',
    { chosen: { include: ['eth0', 'wlan7'], exclude: [] } },
    'network.interface-absent',
    /wlan7, which is not there/,
    /network\.interfaces/,
  ],
  [
    'interfaces',
    'only a VPN is there',
    { interfaces: [VPN] },
    'network.no-interface',
    /Left out: tun0 \(VPN\)/,
    /network\.interfaces/,
  ],
  [
    'interfaces',
    'only loopback is there',
    { interfaces: [networkInterface('lo', ['127.0.0.1/8'])] },
    'network.no-interface',
    /No network/,
    /cable/,
  ],
  ['addresses', 'all is well', {}, 'ok', /has an address/],
  ['addresses', 'there is IPv6 only', { interfaces: [ONLY_V6] }, 'ok', /IPv6 only, which is enough/],
  [
    'addresses',
    'no DHCP server answered',
    { interfaces: [SELF_MADE] },
    'network.self-made-address',
    /no DHCP server/,
    /DHCP/,
  ],
  ['addresses', 'no interface takes part', { interfaces: [] }, 'skip', /No interface/],
  ['subnets', 'there is one interface', {}, 'skip', /Fewer than two/],
  ['subnets', 'two are apart', { interfaces: [ETH0, networkInterface('eth1', ['10.0.0.1/8'])] }, 'ok', /their own/],
  [
    'subnets',
    'two are on one',
    { interfaces: [ETH0, WLAN_SAME] },
    'network.same-subnet',
    /eth0 and wlan0/,
    /network\.exclude wlan0/,
  ],
  ['port', 'it is the one asked for', {}, 'ok', /47800/],
  ['port', 'it is another', { port: { asked: 47800, actual: 50123 } }, 'port.taken', /uses 50123/, /ss -ltunp/],
  ['firewall', 'none is known', {}, 'skip', /Neither/],
  ['firewall', 'the system does not tell', { platform: 'darwin' }, 'skip', /does not tell/],
  ['firewall', 'others are seen through it', { firewall: 'ufw' }, 'ok', /anna is seen/],
  [
    'firewall',
    'others came through it',
    { firewall: 'ufw', sessions: [session({ dialled: false })] },
    'ok',
    /anna dialled/,
  ],
  [
    'firewall',
    'nobody came through it',
    { firewall: 'firewalld', people: [byHub] },
    'firewall.unproven',
    /firewalld/,
    /firewall-cmd .*47800\/tcp/,
  ],
  ['multicast-self', 'it is heard', {}, 'ok', /eth0/],
  ['multicast-self', 'nothing was tried', { multicast: [] }, 'skip', /No interface/],
  ['multicast-self', 'it is not heard', { multicast: [deaf] }, 'multicast.deaf', /eth0 \(IPv4\)/, /ufw allow/],
  [
    'multicast-self',
    'sending is forbidden',
    { multicast: [{ ...deaf, problem: 'EPERM' }] },
    'multicast.deaf',
    /EPERM.*forbids to send/,
    /5353/,
  ],
  [
    'multicast-self',
    'one family is heard',
    { multicast: [deaf, { ...deaf, family: 6, heard: true }], firewall: 'ufw' },
    'multicast.half-deaf',
    /IPv4/,
    /ufw/,
  ],
  ['discovery-mdns', 'it is active', {}, 'ok', /eth0: announces/],
  ['discovery-mdns', 'it is switched off', { discovery: [off] }, 'skip', /discovery\.mdns/],
  ['discovery-mdns', 'it does not run', { discovery: [] }, 'skip', /no interface/],
  ['discovery-mdns', 'it failed', { discovery: [state] }, 'discovery.failed', /EADDRINUSE/, /discovery\.mdns false/],
  [
    'discovery-mdns',
    'it failed on one of two',
    { discovery: [state, { ...state, interface: 'wlan0', state: 'active', detail: '' }] },
    'discovery.partly-failed',
    /fails on eth0\..*wlan0: active/,
    /eth0/,
  ],
  ['people', 'somebody is there', { people: [person(), finch()] }, 'ok', /1 host and 1 plain XMPP client are there/],
  ['people', 'one is there', { people: [person()] }, 'ok', /1 host is there/],
  [
    'people',
    'nobody is there',
    { people: [person({ state: 'away', sightings: [] })] },
    'lan.nobody',
    /Nobody else is seen/,
    /ufw allow 47800/,
  ],
  [
    'people',
    'nobody is there on a Wi-Fi of Windows',
    { people: [], platform: 'win32', interfaces: [networkInterface('wlan0', ['10.0.0.2/8'])] },
    'lan.nobody',
    /guest Wi-Fi/,
    /Private/,
  ],
  ['people', 'there is no network', { people: [], interfaces: [] }, 'skip', /No network/],
  ['multicast-lan', 'others are heard', {}, 'ok', /heard on eth0/],
  ['multicast-lan', 'nobody is there', { people: [] }, 'skip', /Nobody/],
  [
    'multicast-lan',
    'others are known by hub only',
    { people: [byHub] },
    'multicast.filtered',
    /filters multicast/,
    /hub start/,
  ],
  [
    'multicast-lan',
    'one that is seen through a hub has told no address',
    { people: [person({ sightings: [seen('hub', { interface: '', address: '192.168.50.254', port: 0 })] })] },
    'multicast.filtered',
    /anna is there and known only by a hub/,
    /IGMP snooping/,
  ],
  [
    'multicast-lan',
    'beacons are answered when asked and mDNS hears nobody',
    { people: [person({ sightings: [seen('hint'), seen('beacon')] })] },
    'multicast.filtered',
    /answered only when asked/,
    /hub join/,
  ],
  [
    'multicast-lan',
    'beacons are answered when asked and mDNS does not run',
    { people: [person({ sightings: [seen('hint'), seen('beacon')] })], discovery: [] },
    'skip',
    /by whom it could be told/,
  ],
  [
    'multicast-lan',
    'broadcast passes and mDNS does not',
    { people: [person({ sightings: [seen('beacon')] })] },
    'multicast.mdns-filtered',
    /none by mDNS/,
    /IGMP/,
  ],
  ['multicast-lan', 'some are known by hub and others heard', { people: [byHub, finch()] }, 'ok', /heard on eth0/],
  ['identity', 'it is the only one', {}, 'ok', /No other host/],
  ['identity', 'nobody looks', { twins: undefined }, 'skip', /Nobody looks/],
  [
    'identity',
    'another uses it',
    { twins: [{ address: '192.168.50.9', port: 1 }] },
    'identity.twin',
    /192\.168\.50\.9/,
    /away/,
  ],
  ['hubs', 'there is none', {}, 'skip', /No hub/],
  ['hubs', 'this host is one', { hub: { ...NO_HUB, running: true, name: 'party' } }, 'ok', /hub party, with 0 log-ins/],
  ['hubs', 'one is joined', { hub: { ...NO_HUB, hubs: [joinedHub()] } }, 'ok', /Joined: lanparty/],
  [
    'hubs',
    'one is being joined',
    { hub: { ...NO_HUB, hubs: [joinedHub({ state: 'joining', name: '' })] } },
    'ok',
    /joined: 192\.168\.50\.254/,
  ],
  [
    'hubs',
    'one failed',
    { hub: { ...NO_HUB, hubs: [joinedHub({ state: 'failed', detail: 'refused' })] } },
    'hub.not-joined',
    /lanparty \(refused\)/,
    /hub leave/,
  ],
  ['nat-servers', 'none is set', {}, 'skip', /hosts on this LAN need none.*config set nat\.stun/],
  ['nat-servers', 'one answers', { internet: servers('known') }, 'ok', /stun stun\.example\.org: 198\.51\.100\.1:4/],
  [
    'nat-servers',
    'one of two is silent',
    { internet: servers('known', 'silent') },
    'nat.server-unusable',
    /1 server of 2.*no answer/,
    /nat\.stun/,
  ],
  ['nat-servers', 'all are silent', { internet: servers('silent') }, 'nat.no-server', /1 server of 1/, /TCP or TLS/],
  ['nat', 'no server is set', {}, 'skip', /No STUN or TURN server is set/],
  ['nat', 'there is none', { internet: servers('known'), nat: behaviour({ mapping: 'none' }) }, 'ok', /no NAT/],
  [
    'nat',
    'it can be punched',
    { internet: servers('known'), nat: behaviour({}) },
    'ok',
    /one port for all destinations.*sent to are let in/,
  ],
  [
    'nat',
    'it is symmetric',
    { internet: servers('known'), nat: behaviour({ mapping: 'address-and-port-dependent' }) },
    'nat.symmetric',
    /symmetric NAT/,
    /nat\.turn/,
  ],
  [
    'nat',
    'UDP is blocked',
    { internet: servers('silent'), nat: behaviour({ udp: false }) },
    'nat.udp-blocked',
    /firewall/,
    /turns:/,
  ],
  [
    'nat',
    'the server has one address',
    { internet: servers('known'), nat: behaviour({ mapping: 'unknown' }) },
    'ok',
    /not known/,
  ],
  ['clock', 'it is set', {}, 'ok', /2026-11-23/],
  ['clock', 'it was never set', { wall: 0 }, 'clock.unset', /1970-01-01/, /Set date/],
  ['refusals', 'nothing is refused', {}, 'ok', /Nothing/],
  [
    'refusals',
    'little is refused for its time',
    { refused: { 'peer.replayed': 60 }, uptime: 86_400_000 },
    'ok',
    /Noth/,
  ],
  [
    'refusals',
    'much is refused',
    { refused: { 'peer.replayed': 60, 'peer.bad-signature': 4000, 'peer.bad-xml': 3 } },
    'refusals.many',
    /peer\.bad-signature \(4000 times.*peer\.replayed \(60 times/,
    /forging/,
  ],
]
