import { AVAILABLE, type Presence } from '../../daemon/types.ts'
import type { ClientEvent } from '../../ipc/client.ts'
import type { OfferView, PeerView, StatusView } from '../../ipc/methods.ts'
import { peerName, printable, secrecyMark, shortId, size, whereSeen } from '../format.ts'

/** Something that happened, as the view tells it. */
export interface LogLine {
  readonly number: number
  /** Unix milliseconds. */
  readonly at: number
  readonly kind: 'info' | 'good' | 'bad' | 'chat'
  readonly text: string
}

/** Files on their way. */
export interface Transfer {
  readonly offer: string
  readonly direction: 'in' | 'out'
  readonly name: string
  readonly bytes: number
  readonly total: number
  /** Bits a second. */
  readonly rate: number
  /** Milliseconds; null while nothing moves. */
  readonly remaining: number | null
}

/** Everything the view shows. */
export interface PartyState {
  readonly id: string
  readonly name: string
  readonly words: readonly string[]
  readonly port: number
  /** What others are told of this host's user. */
  readonly presence: Presence
  readonly interfaces: StatusView['interfaces']
  readonly peers: readonly PeerView[]
  /** Ids of the peers to whom a fake network makes the session worse than it is. */
  readonly faked: ReadonlySet<string>
  /** Offers from peers that wait for an answer, oldest first. */
  readonly offers: readonly OfferView[]
  readonly transfers: readonly Transfer[]
  readonly log: readonly LogLine[]
  /** Nobody else has been seen for a while. */
  readonly lonely: boolean
  /** The temporary second host on this machine. */
  readonly guest: 'none' | 'starting' | 'here'
}

export const EMPTY_STATE: PartyState = {
  id: '',
  name: '',
  words: [],
  port: 0,
  presence: AVAILABLE,
  interfaces: [],
  peers: [],
  faked: new Set(),
  offers: [],
  transfers: [],
  log: [],
  lonely: false,
  guest: 'none',
}

/** Lines kept. */
const MAX_LOG = 500

export function addLine(state: PartyState, at: number, kind: LogLine['kind'], text: string): PartyState {
  const number = (state.log.at(-1)?.number ?? 0) + 1
  return { ...state, log: [...state.log, { number, at, kind, text }].slice(-MAX_LOG) }
}

/** How the local user knows a peer. */
export function nameOf(state: PartyState, id: string): string {
  const peer = state.peers.find((candidate) => candidate.id === id)
  return peer ? peerName(peer) : shortId(id)
}

/** The peers that are there, or at least known, in the order in which the view shows them. */
export function sortPeers(peers: readonly PeerView[]): PeerView[] {
  const rank = { connected: 0, seen: 0, away: 1 } as const
  return [...peers].sort((a, b) => rank[a.state] - rank[b.state] || peerName(a).localeCompare(peerName(b)))
}

/** The state after an event of the daemon. */
export function takeEvent(state: PartyState, event: ClientEvent, at: number): PartyState {
  switch (event.name) {
    case 'peers.changed':
      return takePeer(state, event.params.peer, at)
    case 'peers.gone':
      return takeGone(state, event.params, at)
    case 'sessions.opened': {
      const { peer, name, route, carrier, group } = event.params.session
      const who = state.peers.some(({ id }) => id === peer) ? nameOf(state, peer) : printable(name)
      return addLine(state, at, 'good', `connected to ${who}: ${route} over ${carrier}, ${group}`)
    }
    case 'sessions.closed': {
      const { peer, message } = event.params
      return addLine(state, at, 'info', `session with ${nameOf(state, peer)} ended: ${printable(message)}`)
    }
    case 'network.changed':
      return addLine(state, at, 'info', `the network changed: ${networkChange(event.params)}`)
    case 'files.changed':
      return takeOffer(state, event.params.offer, at)
    case 'chat.received': {
      const { peer, direction, text } = event.params.line
      const who = direction === 'in' ? nameOf(state, peer) : `you to ${nameOf(state, peer)}`
      return addLine(state, at, 'chat', `${who}${secrecyMark(event.params.line)}: ${printable(text)}`)
    }
    case 'presence.changed': {
      const { show, text } = event.params
      return { ...state, presence: { show, text } }
    }
    default:
      return state
  }
}

function takePeer(state: PartyState, peer: PeerView, at: number): PartyState {
  const before = state.peers.find(({ id }) => id === peer.id)
  const peers = sortPeers([...state.peers.filter(({ id }) => id !== peer.id), peer])
  const next = { ...state, peers, lonely: state.lonely && !someoneIsHere(peers) }
  const wasHere = before !== undefined && before.state !== 'away'
  if (peer.state === 'away') return wasHere ? addLine(next, at, 'info', `${peerName(peer)} is away`) : next
  if (wasHere) return next
  const kind = peer.kind === 'host' ? '' : ', chat only'
  const where = [peer.sightings[0]?.method, whereSeen(peer)].filter(Boolean).join(', ')
  return addLine(next, at, 'good', `${peerName(peer)} is here${kind}${where ? ` (${where})` : ''}`)
}

function takeGone(state: PartyState, { id, name }: { id: string; name: string }, at: number): PartyState {
  const who = state.peers.some((peer) => peer.id === id) ? nameOf(state, id) : peerName({ id, name, petname: '' })
  const next = {
    ...state,
    peers: state.peers.filter((peer) => peer.id !== id),
    offers: state.offers.filter((offer) => offer.peer !== id),
  }
  return addLine(next, at, 'info', `${who} is gone`)
}

function takeOffer(state: PartyState, offer: OfferView, at: number): PartyState {
  const waited = state.offers.some((known) => known.offer === offer.offer)
  const others = state.offers.filter((known) => known.offer !== offer.offer)
  if (offer.direction === 'in' && offer.state === 'offered') {
    if (waited) return state
    const what = `${printable(offer.name)} (${size(offer.bytes)})`
    const next = { ...state, offers: [...others, offer] }
    return addLine(next, at, 'info', `${nameOf(state, offer.peer)} offers ${what}: press a to take it, x to refuse`)
  }
  const next = waited ? { ...state, offers: others } : state
  const told = { refused: 'was refused', withdrawn: 'was withdrawn' } as const
  const ending = offer.state === 'refused' || offer.state === 'withdrawn' ? told[offer.state] : undefined
  return ending ? addLine(next, at, 'info', `${printable(offer.name)} ${ending}`) : next
}

/** The state with what is known of a transfer, or, with `undefined`, without it. */
export function withTransfer(state: PartyState, offer: string, transfer: Transfer | undefined): PartyState {
  const known = state.transfers.some((other) => other.offer === offer)
  if (!transfer) return { ...state, transfers: state.transfers.filter((other) => other.offer !== offer) }
  if (!known) return { ...state, transfers: [...state.transfers, transfer] }
  return { ...state, transfers: state.transfers.map((other) => (other.offer === offer ? transfer : other)) }
}

export function someoneIsHere(peers: readonly PeerView[]): boolean {
  return peers.some(({ state }) => state !== 'away')
}

function networkChange(change: { appeared: string[]; vanished: string[]; altered: string[]; slept: number }): string {
  const { appeared, vanished, altered, slept } = change
  const parts = [
    appeared.length > 0 ? `${appeared.join(', ')} came` : '',
    vanished.length > 0 ? `${vanished.join(', ')} went` : '',
    altered.length > 0 ? `${altered.join(', ')} has other addresses` : '',
    slept > 0 ? 'the machine woke up' : '',
  ]
  return parts.filter((part) => part !== '').join('; ') || 'nothing that matters'
}
