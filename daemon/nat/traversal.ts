import { randomBytes } from 'node:crypto'
import type { WayFinder } from '../connect/connector.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { Share } from '../peers/peer-policy.ts'
import type { Refusals } from '../refusals.ts'
import type { SignalExchange } from '../signaling/signaller.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import type { ByHand, Offer } from './by-hand.ts'
import type { LocalCandidate } from './candidate.ts'
import { newCredentials } from './ice/credentials.ts'
import type { PairReport } from './ice/pair-report.ts'
import { PeerTraversal, type TraversalParts } from './peer-traversal.ts'
import { decodeRendezvous, encodeRendezvous, type RendezvousSignal } from './rendezvous/description.ts'
import type { TransportAddress } from './transport-address.ts'

/** The topic of the signals. */
const TOPIC = 'ice'
/** Peers to which ways are looked for or used at one time. */
const MAX_PEERS = 1024
/** With so many, peers begin nothing any more: strangers of whatever number leave room for those that somebody here looks for. */
const MAX_BEGUN_BY_PEERS = 512
/** Searches that are over and can still be asked about. */
const MAX_PAST = 64

/** What a peer may learn of where this host is; `peer` undefined: somebody who is not known yet. */
export interface Disclosure {
  /** With `relay` packets go through relays only, with `none` no way is looked for. */
  share(peer: PeerId | undefined): { readonly value: Share }
  /** Those that it may be told of. */
  candidates(peer: PeerId | undefined, all: readonly LocalCandidate[]): readonly LocalCandidate[]
  /** True where a packet for it may leave towards an address. */
  mayLeave(peer: PeerId, to: TransportAddress): boolean
}

interface TraversalOptions extends TraversalParts {
  readonly self: PeerId
  /** Random at each start: 16 hexadecimal digits. */
  readonly instance: string
  readonly refusals: Refusals
  readonly signals: SignalExchange
  /** True for a peer that may make this host look for a way to it. */
  readonly isWelcome: (peer: PeerId) => boolean
  /** Takes a link, dialled here or there. */
  readonly onLink: (link: Link) => void
  /** A peer that looks, or is looked for, says that it may be reached at these addresses from outside. */
  readonly onTold: (peer: PeerId, addresses: readonly HostPort[]) => void
  readonly disclosure: Disclosure
  /** Keeps candidates fresh until what it returns is called. */
  readonly want: () => () => void
}

/** Ways to peers that no address leads to: one ICE agent for each, on candidates and a socket that all share. */
export class Traversal implements WayFinder {
  readonly #options: TraversalOptions
  readonly #peers = new Map<PeerId, PeerTraversal>()
  /** What became of the last search for each, the longest ago first. */
  readonly #past = new Map<PeerId, readonly PairReport[]>()
  readonly #stopListening: () => void
  /** What each was told of when its search began. */
  readonly #shares = new Map<PeerId, Share>()
  #attempts = 0
  #isClosed = false

  constructor(options: TraversalOptions) {
    this.#options = options
    this.#stopListening = options.signals.handle(TOPIC, (peer, content) => this.#receive(peer, content))
  }

  /** Peers to which ways are looked for or used now. */
  get size(): number {
    return this.#peers.size
  }

  reaches(peer: PeerId): boolean {
    if (this.#isClosed || this.#share(peer) === 'none') return false
    return this.#peers.has(peer) || this.#options.signals.reaches(peer).length > 0
  }

  look(peer: PeerId, failed: (error: PartylineError) => void): () => void {
    const isAllowed = this.#share(peer) !== 'none'
    const traversal = isAllowed ? this.#begin(peer) : undefined
    if (traversal) return traversal.look(failed)
    failed(
      isAllowed
        ? new PartylineError('local.limit', `ways to ${MAX_PEERS} peers are looked for already`)
        : new PartylineError('network.no-path', NOT_SHARED),
    )
    return () => {}
  }

  /** What a person may take to a host that is not known yet. Throws `network.no-path` where nothing may be told. */
  offer(): Offer {
    const { instance, carriers, candidates, network, disclosure } = this.#options
    if (this.#share(undefined) === 'none') throw new PartylineError('network.no-path', NOT_SHARED)
    const credentials = newCredentials(randomBytes)
    const stream = carriers.freeId()
    const edition = { instance, attempt: ++this.#attempts, version: 1 }
    const told = disclosure.candidates(undefined, candidates())
    const local = { ...credentials, candidates: told, link: stream, calls: 1, network: network() }
    return { credentials, stream, description: { kind: 'describe', ...edition, ...local, seen: null } }
  }

  /**
   * Looks for a way to a peer with what it says in a ticket, and waits long for it; `offer` is what we had said before. Returns what is to be
   * taken to the peer. Throws `network.no-path` or `local.limit`.
   */
  meet(
    peer: PeerId,
    theirs: Offer['description'],
    patience: Milliseconds,
    offer: Offer = this.offer(),
  ): Offer['description'] {
    const { credentials, stream, description } = offer
    this.#peers.get(peer)?.close()
    const traversal = this.#begin(peer, { credentials, stream, patience }, description.attempt)
    traversal?.receive(theirs)
    const ours = traversal?.description
    if (!ours) throw new PartylineError('local.limit', `ways to ${MAX_PEERS} peers are looked for already`)
    return ours
  }

  /** Nothing is to go to a peer any more, nor to be answered. */
  drop(peer: PeerId): void {
    this.#peers.get(peer)?.close()
  }

  /** Every pair of addresses that was tried with a peer, best first, and why it is used or not. */
  pairs(peer: PeerId): readonly PairReport[] {
    return this.#peers.get(peer)?.pairs() ?? this.#past.get(peer) ?? []
  }

  /** Where packets reach a peer that has no NAT before it; undefined where that is not so, or not known. */
  openAddress(peer: PeerId): HostPort | undefined {
    return this.#peers.get(peer)?.openAddress
  }

  /** True where a peer says that a router forwards this address of it. */
  isMapped(peer: PeerId, address: string): boolean {
    return this.#peers.get(peer)?.isMapped(address) ?? false
  }

  candidatesChanged(): void {
    for (const traversal of this.#peers.values()) traversal.candidatesChanged()
  }

  networkChanged(): void {
    for (const traversal of this.#peers.values()) traversal.networkChanged()
  }

  /** Peers may learn other addresses than before: what was begun goes by the old ones, and ends. */
  shareChanged(): void {
    const why = new PartylineError('network.no-path', 'what the peer may learn of this host was changed')
    for (const [peer, traversal] of [...this.#peers])
      if (this.#shares.get(peer) !== this.#share(peer)) traversal.close(why)
  }

  sendFailed(to: TransportAddress, code: string): void {
    for (const traversal of this.#peers.values()) traversal.sendFailed(to, code)
  }

  /** Safe to call twice. */
  close(): void {
    this.#isClosed = true
    this.#stopListening()
    for (const traversal of [...this.#peers.values()]) traversal.close()
  }

  #receive(peer: PeerId, content: Uint8Array): void {
    const { isWelcome, refusals, logger } = this.#options
    if (this.#isClosed) return
    const known = this.#peers.get(peer)
    // Who is looked for here is welcome to answer.
    const isHeard = this.#share(peer) !== 'none' && (known?.isUsed || isWelcome(peer))
    if (!isHeard) return refusals.count('policy.refused')
    try {
      const signal = decodeRendezvous(content)
      if (known) known.receive(signal)
      else if (signal.kind === 'describe' && this.#peers.size >= MAX_BEGUN_BY_PEERS) refusals.count('local.limit')
      else if (signal.kind === 'describe') this.#begin(peer)?.receive(signal)
    } catch (error) {
      const { code, message } = toPartylineError(error)
      refusals.count(code)
      logger.debug('a description was refused', { peer, code, message })
    }
  }

  #begin(peer: PeerId, byHand?: ByHand, attempt = ++this.#attempts): PeerTraversal | undefined {
    const { self, instance, signals, onLink, onTold, want, families, candidates, send, disclosure, refusals } =
      this.#options
    const known = this.#peers.get(peer)
    if (known || this.#isClosed || this.#peers.size >= MAX_PEERS) return known
    const release = want()
    const traversal: PeerTraversal = new PeerTraversal({
      ...this.#options,
      peer,
      edition: { instance, attempt },
      byHand,
      dials: self < peer,
      // Where nothing may leave straight from the port, a check would tell its address, and an answer that somebody is there.
      families: () => (isStraight(this.#share(peer)) ? families() : []),
      candidates: () => disclosure.candidates(peer, candidates()),
      mayLeave: (to) => disclosure.mayLeave(peer, to),
      send: (packet, to) => {
        if (disclosure.mayLeave(peer, to)) send(packet, to)
        else refusals.count('policy.refused')
      },
      signal: (signal: RendezvousSignal) => void signals.send(peer, TOPIC, encodeRendezvous(signal)),
      onLink,
      onTold: (addresses) => {
        // TCP has no relays.
        const allowed = addresses.filter((to) => disclosure.mayLeave(peer, to))
        if (allowed.length > 0) onTold(peer, allowed)
      },
      onEnd: (pairs) => {
        release()
        this.#peers.delete(peer)
        this.#shares.delete(peer)
        this.#remember(peer, pairs)
      },
    })
    this.#peers.set(peer, traversal)
    this.#shares.set(peer, this.#share(peer))
    return traversal
  }

  #share(peer: PeerId | undefined): Share {
    return this.#options.disclosure.share(peer).value
  }

  #remember(peer: PeerId, pairs: readonly PairReport[]): void {
    this.#past.delete(peer)
    this.#past.set(peer, pairs)
    const [oldest] = this.#past.keys()
    if (this.#past.size > MAX_PAST && oldest !== undefined) this.#past.delete(oldest)
  }
}

const NOT_SHARED = 'no way through NAT is to be looked for (`partyline policy`)'

/** True where packets may leave straight from the port. */
const isStraight = (share: Share): boolean => share === 'all' || share === 'public'
