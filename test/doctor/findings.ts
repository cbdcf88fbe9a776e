import type { AccountHealth } from '../../daemon/accounts/accounts.ts'
import type { AddressFinding, HostFindings, PeerFindings } from '../../daemon/doctor/findings.ts'
import { NO_WAYS } from '../../daemon/peers/ways.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { HubStatus, PeerView, Result, SessionView, StatusView } from '../../ipc/methods.ts'
import { networkInterface } from '../simulated-network.ts'

export const ANNA = 'annaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' as PeerId
export const MALLORY = 'malloryaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' as PeerId
export const WALL = Date.UTC(2026, 10, 23)
export const ETH0 = networkInterface('eth0', ['192.168.50.1/24'])

export const NO_HUB: HubStatus = {
  running: false,
  name: '',
  domain: '',
  port: 0,
  addresses: [],
  fingerprint: '',
  certificate: '',
  people: [],
  hubs: [],
}

export const NO_SERVERS: StatusView['internet'] = { state: 'unused', detail: '', servers: [], mappings: [] }

export const NO_RELAY: HostFindings['relay'] = {
  running: false,
  friends: true,
  isWanted: false,
  listeners: [],
  addresses: [],
  allocations: 0,
  limits: { allocations: 500, perPeer: 10, bandwidth: 1e6, totalBandwidth: 1e7 },
  peers: [],
}

/** The policy, of this host or for one peer. */
export function policyOf(rules: Readonly<Record<string, string>>, metered: string[] = []): Result<'policy.get'> {
  const all = Object.entries(rules).map(([key, value]) => ({ key, value, by: 'default' as const, about: '' }))
  return { peer: null, name: '', rules: all, metered }
}

/** An account that is logged in. */
export function account(change: Partial<AccountHealth> = {}): AccountHealth {
  const well = { state: 'online', detail: '', failure: undefined, roundTrip: 30.4, ahead: 20 } as const
  return { jid: 'me@example.org', server: 'xmpp.example.org:5223', ...well, ...change }
}

export function joinedHub(change: Partial<HubStatus['hubs'][number]> = {}): HubStatus['hubs'][number] {
  const hub = { peer: '', name: 'lanparty', domain: 'hub-lanparty.local', address: '192.168.50.254', port: 5223 }
  return { ...hub, state: 'joined', detail: '', people: [], ...change }
}

type Seen = PeerView['sightings'][number]

/** Anna's machine, seen by a method at 192.168.50.2. */
export function seen(method: Seen['method'], change: Partial<Seen> = {}): Seen {
  return { method, interface: 'eth0', address: '192.168.50.2', port: 47800, age: 3000, ...change }
}

export function person(change: Partial<PeerView> = {}): PeerView {
  return {
    id: ANNA,
    kind: 'host',
    name: 'anna',
    petname: '',
    trust: 'unknown',
    state: 'seen',
    proven: true,
    presence: { show: 'available', text: '' },
    note: '',
    sightings: [seen('mdns'), seen('beacon')],
    route: null,
    rtt: null,
    ...change,
  }
}

export function finch(change: Partial<PeerView> = {}): PeerView {
  const sightings = [seen('xmpp', { port: 5298 })]
  return person({ id: 'xmpp:finch@h2', kind: 'chat', name: 'finch', proven: false, sightings, ...change })
}

export function session(change: Partial<SessionView> = {}): SessionView {
  return {
    peer: ANNA,
    name: 'anna',
    route: 'lan',
    carrier: 'tcp',
    cipher: 'TLS_AES_128_GCM_SHA256',
    group: 'X25519MLKEM768',
    local: '192.168.50.1:40000',
    remote: '192.168.50.2:47800',
    dialled: true,
    rtt: 0.4,
    age: 1000,
    streams: 0,
    state: 'open',
    datagrams: 'open',
    fake: false,
    ...change,
  }
}

/** A host on a LAN on which all is well, with one peer. */
export function hostFindings(change: Partial<HostFindings> = {}): HostFindings {
  return {
    platform: 'linux',
    wall: WALL,
    uptime: 600_000,
    port: { asked: 47800, actual: 47800 },
    interfaces: [ETH0],
    chosen: { include: [], exclude: [] },
    discovery: (['mdns', 'beacon', 'xmpp'] as const).map((method) => ({
      method,
      interface: 'eth0',
      state: 'active',
      detail: 'announces and asks',
    })),
    people: [person()],
    sessions: [],
    hub: NO_HUB,
    refused: {},
    twins: [],
    multicast: [{ interface: 'eth0', family: 4, heard: true, problem: '' }],
    firewall: undefined,
    internet: NO_SERVERS,
    nat: undefined,
    stunTcp: undefined,
    drops: [],
    holders: { own: [], mdns: [] },
    wayOut: { 4: undefined, 6: undefined },
    accounts: [],
    relay: NO_RELAY,
    policy: policyOf({ 'policy.lan': 'open', 'policy.internet': 'trusted', 'policy.on-metered': 'messages' }),
    requests: [],
    ...change,
  }
}

/** An address of Anna's at which nothing answers. */
export function address(change: Partial<AddressFinding> = {}): AddressFinding {
  return {
    target: { address: '192.168.50.2', port: 47800 },
    interface: 'eth0',
    methods: ['mdns'],
    beacon: undefined,
    tcp: 'timeout',
    tls: undefined,
    ...change,
  }
}

/** Anna, who answers as she should. */
export function peerFindings(change: Partial<PeerFindings> = {}): PeerFindings {
  return {
    peer: person(),
    wall: WALL,
    lastSeen: WALL - 3000,
    session: undefined,
    resuming: undefined,
    interfaces: [ETH0],
    hub: NO_HUB,
    addresses: [address({ beacon: ANNA, tcp: 'open', tls: ANNA })],
    paths: [],
    ways: NO_WAYS,
    signallers: [],
    policy: policyOf({ 'open (lan)': 'admit', 'open (internet)': 'refuse', share: 'all' }),
    unasked: 0,
    ...change,
  }
}
