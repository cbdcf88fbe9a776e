import { isIP } from 'node:net'
import type { DoctorCheck, HubStatus, PathView, PeerView, Result, SessionView, StatusView } from '../../ipc/methods.ts'
import type { AccountHealth } from '../accounts/accounts.ts'
import type { Clock } from '../clock.ts'
import { MAX_CANDIDATES, sortCandidates } from '../connect/candidates.ts'
import { BEACON_PORT } from '../discovery/beacon/beacon.ts'
import type { DiscoveryState } from '../discovery/discovery.ts'
import type { ErrorCode } from '../errors.ts'
import type { NatBehaviour } from '../nat/stun/behaviour.ts'
import { interfaceOf, plainAddress } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { KnownAddress } from '../peers/peer-book.ts'
import { NO_WAYS, type Ways } from '../peers/ways.ts'
import type { SignallerName } from '../signaling/signaller.ts'
import type { ContactId, HostPort, Milliseconds, PeerId, Sighting, UnixMilliseconds } from '../types.ts'
import { isContactId } from '../xmpp/contacts.ts'
import { HOST_CHECKS, PEER_CHECKS, PEER_VERDICTS } from './checks.ts'
import type { AddressFinding, Check, Finding, HostFindings, PeerFindings, TcpAnswer } from './findings.ts'
import type { StrangerPacket } from './packet-filter.ts'
import { addressChecks } from './peer-checks.ts'
import { createProbes, MDNS_PORT, type Probes } from './probes.ts'
import { lanInterfaces } from './wording.ts'

/** Longer than Linux asks three times for a neighbour (RFC 4861 section 10), so that it tells "nobody there" from silence. */
const NEAR_PATIENCE: Milliseconds = 3500
/** What is on none of our networks is not waited for: without a router it never answers. */
const FAR_PATIENCE: Milliseconds = 1000
/** All that one address may take, the handshake included. */
const ADDRESS_PATIENCE: Milliseconds = 4500
const LOCAL_PATIENCE: Milliseconds = 2000
/** What a whole test of the NAT takes at most. */
const NAT_PATIENCE: Milliseconds = 6500
const NO_SERVERS: StatusView['internet'] = { state: 'unused', detail: '', servers: [], mappings: [] }
/** How long an XMPP server may take to say what time it is. */
const ACCOUNT_PATIENCE: Milliseconds = 3000
/** Most interfaces that the multicast self-test tries. */
const MAX_INTERFACES = 16

/** What the doctor asks the daemon. */
export interface DoctorFacts {
  readonly clock: Clock
  readonly platform: NodeJS.Platform
  uptime(): Milliseconds
  /** The port of the settings (or the command line), and the one that is used. */
  port(): { readonly asked: number; readonly actual: number }
  interfaces(): readonly NetworkInterface[]
  /** Settings `network.interfaces` and `network.exclude`, as they hold for this run. */
  chosenInterfaces(): { readonly include: readonly string[]; readonly exclude: readonly string[] }
  discovery(): readonly DiscoveryState[]
  /** Hosts and plain XMPP clients. */
  people(): readonly PeerView[]
  person(id: PeerId | ContactId): PeerView
  /** Where a host may be dialled, as `PeerBook.addresses`. */
  addresses(peer: PeerId): readonly KnownAddress[]
  /** When a host was last seen; undefined for never. */
  lastSeen(peer: PeerId): UnixMilliseconds | undefined
  sessions(): readonly SessionView[]
  hub(): HubStatus
  refused(): Partial<Record<ErrorCode, number>>
  /** Where somebody else announces this host's own peer id; left out where nobody looks out for that. */
  readonly twins?: () => readonly HostPort[]
  /** The STUN and TURN servers, asked just now, and the NAT as one of them sees it. */
  examineNat(): Promise<{ readonly internet: StatusView['internet']; readonly nat: NatBehaviour | undefined }>
  /** The XMPP accounts, each server asked just now, so long at most. */
  examineAccounts(patience: Milliseconds): Promise<readonly AccountHealth[]>
  relay(): HostFindings['relay']
  /** What the settings say, and what they come to for one peer. */
  policy(peer?: PeerId): Result<'policy.get'>
  /** Names of peers that ask to be let in. */
  requests(): readonly string[]
  ways(peer: PeerId): Ways
  /** What carries signals to a peer now. */
  signallers(peer: PeerId): readonly SignallerName[]
  /** Every path to a peer through NAT that was tried. */
  paths(peer: PeerId): readonly PathView[]
  /** Asks by beacon over UDP, as `Prober.probe`. */
  probe(target: HostPort, interfaceName: string): Promise<Sighting | undefined>
  /** Who lives at an address, proven by a TLS handshake, as `Connector.probe`. */
  dial(target: HostPort): Promise<{ readonly peer: PeerId } | undefined>
}

/** Finds what is wrong with this host, or between it and one peer. Asks at most 16 addresses, and is done within 5 seconds, 8 where STUN servers are set. */
export class Doctor {
  readonly #facts: DoctorFacts
  readonly #probes: Probes
  /** Runs under way or waiting, by whom they are about. */
  readonly #runs = new Map<string, Promise<DoctorCheck[]>>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(facts: DoctorFacts, probes: Probes = createProbes(facts)) {
    this.#facts = facts
    this.#probes = probes
  }

  /**
   * The checks of this host; with a peer, those between the two, `conclusion` last, led by what is broken on this host itself. Runs
   * are one at a time, and calls for the same share one, so that impatient callers do not flood the network.
   */
  run(peer?: PeerId | ContactId): Promise<DoctorCheck[]> {
    const key = peer ?? ''
    const shared = this.#runs.get(key)
    if (shared) return shared
    const run = this.#turn
      .then(() => (peer === undefined ? this.#examineHost() : this.#examinePeer(peer)))
      .finally(() => this.#runs.delete(key))
    this.#runs.set(key, run)
    this.#turn = run.catch(() => {})
    return run
  }

  async #examineHost(): Promise<DoctorCheck[]> {
    return examine(HOST_CHECKS, await this.#lookAtHost())
  }

  async #examinePeer(id: PeerId | ContactId): Promise<DoctorCheck[]> {
    const [host, peer] = await Promise.all([this.#examineHost(), this.#lookAtPeer(id)])
    return [
      ...host.filter(({ status }) => status === 'fail'),
      ...examine(PEER_CHECKS, peer),
      ...addressChecks(peer),
      ...examine(PEER_VERDICTS, peer),
    ]
  }

  async #lookAtHost(): Promise<HostFindings> {
    const facts = this.#facts
    const interfaces = facts.interfaces()
    const lans = lanInterfaces(interfaces)
      .filter(({ multicast }) => multicast)
      .slice(0, MAX_INTERFACES)
    const port = facts.port()
    const [multicast, firewall, drops, own, mdns, four, six, internet, accounts] = await Promise.all([
      Promise.all(lans.map((one) => this.#within(LOCAL_PATIENCE, () => this.#probes.multicast(one)))),
      this.#within(LOCAL_PATIENCE, () => this.#probes.firewall()),
      this.#within(LOCAL_PATIENCE, () => this.#probes.drops(strangerPackets(lanInterfaces(interfaces), port.actual))),
      this.#within(LOCAL_PATIENCE, () => this.#probes.holders(port.asked)),
      this.#within(LOCAL_PATIENCE, () => this.#probes.holders(MDNS_PORT)),
      this.#within(LOCAL_PATIENCE, () => this.#probes.wayOut(4)),
      this.#within(LOCAL_PATIENCE, () => this.#probes.wayOut(6)),
      this.#within(NAT_PATIENCE, () => facts.examineNat()),
      this.#within(FAR_PATIENCE + ACCOUNT_PATIENCE, () => facts.examineAccounts(ACCOUNT_PATIENCE)),
    ])
    const stunTcp = internet?.nat?.udp === false ? await this.#askByTcp(internet.internet) : undefined
    return {
      stunTcp,
      platform: facts.platform,
      wall: facts.clock.wall(),
      uptime: facts.uptime(),
      port,
      interfaces,
      chosen: facts.chosenInterfaces(),
      discovery: facts.discovery(),
      people: facts.people(),
      sessions: facts.sessions(),
      hub: facts.hub(),
      refused: facts.refused(),
      twins: facts.twins?.(),
      multicast: multicast.flatMap((one) => one ?? []),
      firewall,
      drops,
      holders: own && mdns && { own, mdns: mdns.filter(({ transport }) => transport === 'udp') },
      wayOut: { 4: four, 6: six },
      accounts: accounts ?? [],
      relay: facts.relay(),
      policy: facts.policy(),
      requests: facts.requests(),
      ...(internet ?? { internet: NO_SERVERS, nat: undefined }),
    }
  }

  /** Whether the first STUN server is there by TCP (RFC 8489 section 6.2.2). */
  async #askByTcp({ servers }: StatusView['internet']): Promise<TcpAnswer | undefined> {
    const silent = servers.find(({ kind, state }) => kind === 'stun' && state === 'silent')
    const [, bracketed, host = bracketed, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(silent?.server ?? '') ?? []
    if (!host) return undefined
    return this.#within(FAR_PATIENCE, () => this.#probes.tcp({ address: host, port: Number(port) }, FAR_PATIENCE))
  }

  async #lookAtPeer(id: PeerId | ContactId): Promise<PeerFindings> {
    const facts = this.#facts
    const peer = facts.person(id)
    const interfaces = facts.interfaces()
    const known = isContactId(id) ? addressesOfContact(peer) : facts.addresses(id)
    const targets = sortCandidates(known, interfaces)
    // Whom the user blocked hears nothing of us.
    const asked = peer.trust === 'blocked' ? [] : targets.filter(({ address }) => isIP(address) !== 0)
    const addresses = await Promise.all(asked.map((target) => this.#ask(target, peer, interfaces)))
    const sessions = facts.sessions().filter((session) => session.peer === id)
    return {
      // As it is now: the questions themselves may have brought a session or a sighting.
      peer: facts.person(id),
      wall: facts.clock.wall(),
      lastSeen: isContactId(id) ? undefined : facts.lastSeen(id),
      session: sessions.find(({ state }) => state === 'open'),
      resuming: sessions.find(({ state }) => state === 'resuming'),
      interfaces,
      hub: facts.hub(),
      addresses,
      paths: isContactId(id) ? [] : facts.paths(id),
      ways: isContactId(id) ? NO_WAYS : facts.ways(id),
      signallers: isContactId(id) ? [] : facts.signallers(id),
      policy: isContactId(id) ? undefined : facts.policy(id),
      unasked: targets.length < MAX_CANDIDATES ? 0 : known.length - targets.length,
    }
  }

  async #ask(target: HostPort, peer: PeerView, interfaces: readonly NetworkInterface[]): Promise<AddressFinding> {
    const on = interfaceOf(
      target.address,
      interfaces.filter(({ participating }) => participating),
    )
    const { clock } = this.#facts
    const isHost = peer.kind === 'host'
    const patience = on ? NEAR_PATIENCE : FAR_PATIENCE
    const began = clock.now()
    const tcp = async (): Promise<Pick<AddressFinding, 'tcp' | 'tls'>> => {
      const answer = (await this.#within(patience, () => this.#probes.tcp(target, patience))) ?? 'timeout'
      if (answer !== 'open' || !isHost) return { tcp: answer, tls: undefined }
      const left = ADDRESS_PATIENCE - (clock.now() - began)
      const proof = await this.#within(left, () => this.#facts.dial(target))
      return { tcp: answer, tls: proof?.peer }
    }
    const beacon = async (): Promise<PeerId | undefined> =>
      isHost ? (await this.#within(patience, () => this.#facts.probe(target, on?.name ?? '')))?.peer : undefined
    const [found, answered] = await Promise.all([tcp(), beacon()])
    const plain = plainAddress(target.address)
    return {
      target,
      interface: on?.name,
      methods: peer.sightings
        .filter(({ address, port }) => plainAddress(address) === plain && port === target.port)
        .map(({ method }) => method),
      beacon: answered,
      ...found,
    }
  }

  /** What comes of some work within a time; undefined when it fails or takes longer. */
  #within<T>(patience: Milliseconds, work: () => Promise<T>): Promise<T | undefined> {
    return new Promise((resolve) => {
      const timer = this.#facts.clock.after(patience, () => setImmediate(() => resolve(undefined)))
      const settle = (result: T | undefined): void => {
        timer.cancel()
        resolve(result)
      }
      work().then(settle, () => settle(undefined))
    })
  }
}

/** A contact at a hub has only the hub's address, which says nothing of the contact. */
function addressesOfContact({ sightings }: PeerView): KnownAddress[] {
  return sightings
    .filter(({ method, port }) => method === 'xmpp' && port > 0)
    .map(({ address, port, interface: on }) => ({ address, port, interface: on, lastGood: false }))
}

function examine<Findings>(checks: readonly Check<Findings>[], findings: Findings): DoctorCheck[] {
  return checks.flatMap(({ id, title, examine: look }) =>
    allOf(look(findings)).map((one, i) => ({ id: i === 0 ? id : `${id}-${i + 1}`, title, ...one })),
  )
}

const allOf = (found: Finding | readonly Finding[]): readonly Finding[] => ('code' in found ? [found] : found)

/** What others have to be able to send to this host: by TCP and UDP to its port, beacons, and mDNS. */
function strangerPackets(interfaces: readonly NetworkInterface[], port: number): StrangerPacket[] {
  const ports = [
    ['tcp', port],
    ['udp', port],
    ['udp', BEACON_PORT],
    ['udp', MDNS_PORT],
  ] as const
  return interfaces.flatMap(({ name, addresses }) => {
    const [address] = addresses
    return address
      ? ports.map(([transport, to]) => ({ transport, port: to, interface: name, to: address.address }))
      : []
  })
}
