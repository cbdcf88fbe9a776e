import type { HostFindings } from '../../daemon/doctor/findings.ts'
import type { NatBehaviour } from '../../daemon/nat/stun/behaviour.ts'
import { networkInterface } from '../simulated-network.ts'
import { account, ETH0, NO_RELAY, NO_SERVERS, policyOf } from './findings.ts'
import type { HostCase } from './host-cases.ts'

/** Eth0 leads to the internet. */
const OUT = { 4: '192.168.50.1', 6: undefined }
const TUN = networkInterface('tun0', ['10.8.0.2/24'])
const GLOBAL = networkInterface('eth0', ['192.168.50.1/24', '2a00:1::1/64'])
const RELAY = { ...NO_RELAY, running: true, listeners: [{ transport: 'udp', port: 3478 } as const] }
const RULES = { 'policy.lan': 'open', 'policy.internet': 'trusted' }

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

/** A STUN server that answers, and a TURN server in this state. */
function turn(state: string, detail: string): HostFindings['internet'] {
  const { servers: known, ...rest } = servers('known')
  const server = { server: 'turn:turn.example.org', kind: 'turn', state, address: '', rtt: null, detail } as const
  return { ...rest, servers: [...known, server] }
}

type Mapping = HostFindings['internet']['mappings'][number]

/** A router that forwards a port. */
function mapped(change: Partial<Mapping> = {}): HostFindings['internet'] {
  const there = { transport: 'tcp', gateway: '192.168.50.254', protocol: 'pcp', address: '198.51.100.1:47800' } as const
  const mapping = { ...there, lifetime: 7_200_000, state: 'mapped', detail: '', doubleNat: false } as const
  return { ...servers('known'), mappings: [{ ...mapping, ...change }] }
}

/** What the checks of the internet find when something is otherwise than on a LAN without one. */
export const INTERNET_CASES: readonly HostCase[] = [
  ['way-out', 'there is none', {}, 'skip', /No route/],
  ['way-out', 'it is an interface that takes part', { wayOut: OUT }, 'ok', /leaves by eth0/],
  ['way-out', 'its interface is not known', { wayOut: { 4: '10.0.0.7', 6: undefined } }, 'ok', /A route leads/],
  [
    'way-out',
    'a VPN takes it',
    { interfaces: [ETH0, TUN], wayOut: { 4: '10.8.0.2', 6: undefined } },
    'vpn.default-route',
    /VPN tun0 takes what goes to the internet, past eth0/,
    /network\.interfaces eth0,tun0/,
  ],
  [
    'way-out',
    'it is an interface that was excluded',
    {
      interfaces: [ETH0, { ...networkInterface('wlan0', ['10.0.0.2/8']), participating: false }],
      wayOut: { 4: '10.0.0.2', 6: undefined },
    },
    'network.way-out-unused',
    /leaves by wlan0, which does not take part/,
    /network\.exclude/,
  ],
  ['ipv6', 'there is none', {}, 'skip', /IPv4 is enough/],
  ['ipv6', 'it is of the LAN', { interfaces: [networkInterface('eth0', ['fd00:50::1/64'])] }, 'ok', /on the LAN: eth0/],
  ['ipv6', 'it leads nowhere', { interfaces: [GLOBAL] }, 'ipv6.no-route', /eth0 has an IPv6 address/, /router/],
  ['ipv6', 'it works', { interfaces: [GLOBAL], wayOut: { 4: undefined, 6: '2a00:1::1' } }, 'ok', /no NAT/],
  ['nat-servers', 'none is set', {}, 'skip', /hosts on this LAN need none.*config set nat\.stun/],
  ['nat-servers', 'one answers', { internet: servers('known') }, 'ok', /stun stun\.example\.org: 198\.51\.100\.1:4/],
  [
    'nat-servers',
    'one of two is silent',
    { internet: servers('known', 'silent') },
    'stun.silent',
    /1 server of 2.*no answer/,
    /nat\.stun/,
  ],
  [
    'nat-servers',
    'all are silent',
    { internet: servers('silent'), wayOut: OUT },
    'nat.no-server',
    /None of 1 server/,
    /TCP or TLS/,
  ],
  ['nat-servers', 'there is no internet', { internet: servers('silent') }, 'skip', /No route/],
  [
    'nat-servers',
    'a name has no address',
    { internet: servers('unresolved', 'known') },
    'nat.server-unknown',
    /stun\.example\.org/,
    /DNS/,
  ],
  [
    'nat-servers',
    'a TURN server does not answer',
    { internet: turn('resting', 'the server does not answer (tried to reserve a relay)') },
    'turn.unreachable',
    /1 server of 2.*turn:turn\.example\.org/,
    /nat\.turn/,
  ],
  [
    'nat-servers',
    'a TURN server has not answered in all the time',
    { internet: turn('trying', '') },
    'turn.unreachable',
    /trying/,
    /nat\.turn/,
  ],
  [
    'nat-servers',
    'a TURN server does not take the password',
    { internet: turn('resting', 'the server does not accept the user name or the password (turn:turn.example.org)') },
    'turn.wrong-password',
    /password/,
    /turn:USER:PASSWORD@HOST/,
  ],
  [
    'nat-servers',
    'a TURN server has no room',
    { internet: turn('resting', 'the server has no room for another relay now (508)') },
    'turn.refused',
    /no room/,
    /another one/,
  ],
  ['nat-servers', 'a TURN server is not needed', { internet: turn('idle', '') }, 'ok', /idle/],
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
    { internet: servers('silent'), nat: behaviour({ udp: false }), stunTcp: 'open', wayOut: OUT },
    'nat.udp-blocked',
    /TCP to the internet works.*firewall/,
    /turns:/,
  ],
  [
    'nat',
    'UDP is blocked and an account is online',
    { internet: servers('silent'), nat: behaviour({ udp: false }), accounts: [account()], wayOut: OUT },
    'nat.udp-blocked',
    /firewall/,
    /turns:/,
  ],
  [
    'nat',
    'nothing at all answers',
    { internet: servers('silent'), nat: behaviour({ udp: false }), stunTcp: 'timeout', wayOut: OUT },
    'skip',
    /nothing can be told/,
  ],
  ['nat', 'there is no internet', { internet: servers('silent'), nat: behaviour({ udp: false }) }, 'skip', /No route/],
  [
    'nat',
    'one server does not answer and another does',
    { internet: servers('silent', 'known'), nat: behaviour({ udp: false }), wayOut: OUT },
    'skip',
    /UDP passes/,
  ],
  [
    'nat',
    'the server has one address',
    { internet: servers('known'), nat: behaviour({ mapping: 'unknown' }) },
    'ok',
    /not known/,
  ],
  ['mapping', 'no router is asked', {}, 'skip', /No router is asked/],
  ['mapping', 'no answer came yet', { internet: mapped({ state: 'asking', address: '' }) }, 'skip', /not answered yet/],
  ['mapping', 'a router forwards', { internet: mapped() }, 'ok', /TCP 198\.51\.100\.1:47800 \(pcp\)/],
  [
    'mapping',
    'a router forwards, and is seen so from outside',
    { internet: mapped(), nat: behaviour({}) },
    'ok',
    /forwards/,
  ],
  [
    'mapping',
    'a router is seen otherwise from outside',
    { internet: mapped(), nat: behaviour({ mapped: { address: '203.0.113.9', port: 4 } }) },
    'nat.double',
    /says 198\.51\.100\.1:47800, and from outside this host is seen as 203\.0\.113\.9/,
    /bridge/,
  ],
  [
    'mapping',
    'a router has a private address itself',
    { internet: mapped({ address: '10.64.0.11:47800', doubleNat: true }) },
    'nat.double',
    /private address itself \(10\.64\.0\.11:47800\)/,
    /bridge/,
  ],
  [
    'mapping',
    'a router forwards nothing',
    { internet: mapped({ state: 'failed', address: '', detail: 'pcp: no answer' }) },
    'mapping.failed',
    /192\.168\.50\.254: pcp: no answer/,
    /UPnP/,
  ],
  ['accounts', 'there is none', {}, 'skip', /no XMPP account/],
  ['accounts', 'one is online', { accounts: [account()] }, 'ok', /me@example\.org at xmpp.*round trip 30 ms/],
  [
    'accounts',
    'the password is wrong',
    {
      accounts: [
        account(),
        account({ jid: 'a@b.example', state: 'failed', failure: 'peer.not-authorized', detail: 'not-authorized' }),
      ],
    },
    'account.wrong-password',
    /a@b\.example is not logged in: not-authorized/,
    /account add a@b\.example.*account remove/,
  ],
  [
    'accounts',
    'the certificate is wrong',
    {
      wayOut: OUT,
      accounts: [
        account({ state: 'waiting', failure: 'peer.bad-certificate', detail: 'the certificate is for others' }),
      ],
    },
    'account.bad-certificate',
    /for others/,
    /--ca FILE/,
  ],
  [
    'accounts',
    'the server is not there',
    { wayOut: OUT, accounts: [account({ state: 'waiting', failure: 'network.unreachable', detail: 'ECONNREFUSED' })] },
    'account.unreachable',
    /ECONNREFUSED/,
    /5222/,
  ],
  [
    'accounts',
    'the server falls silent',
    { wayOut: OUT, accounts: [account({ roundTrip: undefined })] },
    'account.unreachable',
    /answers nothing/,
    /5222/,
  ],
  [
    'accounts',
    'there is no internet',
    { accounts: [account({ state: 'waiting', failure: 'network.unreachable', detail: 'ENETUNREACH' })] },
    'skip',
    /1 account not logged in: no route/,
  ],
  [
    'accounts',
    'one is logging in',
    { wayOut: OUT, accounts: [account(), account({ jid: 'a@b.example', state: 'connecting' })] },
    'ok',
    /1 account not logged in yet/,
  ],
  ['relay', 'there is none', {}, 'skip', /no relay/],
  ['relay', 'friends use it', { relay: { ...NO_RELAY, allocations: 2 } }, 'ok', /2 relayed addresses in use/],
  [
    'relay',
    'it runs for the internet',
    { relay: { ...RELAY, addresses: ['192.168.50.1', '203.0.113.5'] } },
    'ok',
    /UDP 3478, reached at 192\.168\.50\.1 and 203\.0\.113\.5: 0 relayed/,
  ],
  [
    'relay',
    'it has private addresses only',
    { relay: { ...RELAY, addresses: ['192.168.50.1'] } },
    'relay.private-only',
    /no address of the internet \(192\.168\.50\.1\)/,
    /Forward/,
  ],
  [
    'relay',
    'it is wanted and does not run',
    { relay: { ...NO_RELAY, isWanted: true } },
    'relay.not-running',
    /relay\.enabled/,
    /relay start/,
  ],
  ['policy', 'it is as it was made', {}, 'ok', /anybody from this network, trusted peers from elsewhere/],
  ['policy', 'somebody asks', { requests: ['ben'] }, 'policy.request-waiting', /ben asks/, /requests accept/],
  [
    'policy',
    'the network is metered',
    { wayOut: OUT, policy: policyOf({ ...RULES, 'policy.on-metered': 'messages' }, ['eth0']) },
    'policy.metered',
    /eth0 is metered and leads to the internet: files, streams/,
    /on-metered all/,
  ],
  [
    'policy',
    'nothing goes over metered networks',
    { policy: policyOf({ ...RULES, 'policy.on-metered': 'nothing' }, ['wwan0']) },
    'policy.metered',
    /wwan0 is metered: nothing goes over it/,
    /on-metered all/,
  ],
  [
    'policy',
    'metered networks are no matter',
    { policy: policyOf({ ...RULES, 'policy.on-metered': 'all' }, ['eth0']) },
    'ok',
    /Who may/,
  ],
  [
    'clock',
    'it is ahead of a server',
    { accounts: [account({ ahead: 86_400_000 * 3 })] },
    'clock.wrong',
    /3 days ahead, by the word of the server of me@example\.org/,
    /NTP/,
  ],
  [
    'clock',
    'it is behind a server',
    { accounts: [account({ ahead: -7_200_000 })] },
    'clock.wrong',
    /2 h behind/,
    /NTP/,
  ],
  [
    'clock',
    'one of two servers agrees with it',
    { accounts: [account({ ahead: -7_200_000 }), account({ ahead: 30 })] },
    'ok',
    /2026-11-23/,
  ],
  ['clock', 'a server tells no time', { accounts: [account({ ahead: undefined })] }, 'ok', /2026-11-23/],
]
