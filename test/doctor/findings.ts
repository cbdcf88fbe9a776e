import type { AddressFinding, HostFindings, PeerFindings } from '../../daemon/doctor/findings.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { HubStatus, PeerView, SessionView, StatusView } from '../../ipc/methods.ts'
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
    interfaces: [ETH0],
    hub: NO_HUB,
    addresses: [address({ beacon: ANNA, tcp: 'open', tls: ANNA })],
    paths: [],
    unasked: 0,
    ...change,
  }
}
