import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import { parseHub } from '../hub/ticket.ts'
import type { Logger } from '../logger.ts'
import { formatHostPort } from '../network/network.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { SignallerName } from '../signaling/signaller.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { JoinAnswer, JoinRequest } from './join-message.ts'
import { Joining, type JoinOutcome } from './joining.ts'
import type { InvitationTicket, OfferTicket } from './ticket.ts'

/** Signals have so long before a session is opened to carry them. */
const HEAD_START: Milliseconds = 1500
/** How long one attempt at a session takes at most, and the pause before the next; it doubles, up to the last. */
const DIALLING: Milliseconds = 8000
const PAUSE: Milliseconds = 2000
const MAX_PAUSE: Milliseconds = 60_000

/** Hubs, as far as somebody is to be met there. */
interface HubVisits {
  visit(hub: string): () => void
  join(hub: string): unknown
  status(): { readonly hubs: readonly HubState[] }
}

interface HubState {
  readonly peer: string
  readonly address: string
  readonly port: number
  readonly state: string
  readonly detail: string
}

/** What an approach needs of the daemon. */
export interface ApproachParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly book: PeerBook
  readonly hubs: HubVisits
  /** The signallers that reach a peer now. */
  readonly reaches: (peer: PeerId) => readonly SignallerName[]
  /** Sends to the inviter; false where nothing reaches it. */
  readonly send: (peer: PeerId, content: Uint8Array) => boolean
  /** Opens a session; rejects where none can be. */
  readonly openSession: (peer: PeerId, timeout: Milliseconds) => Promise<unknown>
}

interface ApproachOptions extends ApproachParts {
  readonly ticket: InvitationTicket | OfferTicket
  readonly request: JoinRequest
  readonly limit: Milliseconds
}

/** One inviter is to be reached, in all ways that its ticket names and on the LAN, until it has answered. */
export class Approach {
  readonly #options: ApproachOptions
  readonly #joining: Joining
  readonly #done = Promise.withResolvers<JoinOutcome>()
  readonly #releases: (() => void)[] = []
  /** What became of each hub that cannot even be looked at. */
  readonly #unusable = new Map<string, string>()
  readonly #reached = new Set<SignallerName>()
  /** What became of the last attempt at a session. */
  #dialled = ''
  #pause = PAUSE
  #timer: Timer | undefined
  #dialTimer: Timer | undefined
  #isOver = false

  constructor(options: ApproachOptions) {
    const { clock, ticket, request, limit, send } = options
    const { peer } = ticket
    this.#options = options
    const now = clock.now()
    this.#joining = new Joining({ request, now, until: now + limit, send: (content) => send(peer, content) })
  }

  /** Resolves once there is an answer. Rejects with `network.unreachable`, telling what was tried, or with the reason of `end`. */
  async run(): Promise<Exclude<JoinOutcome, { kind: 'unanswered' }>> {
    const { clock, book, ticket } = this.#options
    this.#releases.push(book.expect(ticket.peer, ticket.name, ticket.ways))
    try {
      for (const hub of ticket.ways.hubs) this.#visit(hub)
      this.#tick()
      const { accounts, hubs: places } = ticket.ways
      const mayBeReached = this.#joining.sent > 0 || accounts.length > 0 || places.length > 0
      this.#dialTimer = clock.after(mayBeReached ? HEAD_START : 0, () => void this.#dial())
      const outcome = await this.#done.promise
      if (outcome.kind === 'unanswered') throw this.#unreachable()
      if (outcome.kind === 'accepted' && this.#reached.has('hub')) this.#stay()
      return outcome
    } finally {
      this.#isOver = true
      this.#timer?.cancel()
      this.#dialTimer?.cancel()
      for (const release of this.#releases) release()
    }
  }

  /** Takes an answer of the inviter. */
  receive(answer: JoinAnswer): void {
    this.#joining.receive(answer)
    this.#schedule()
  }

  /** Gives it up. Safe to call at any time. */
  end(why: PartylineError): void {
    this.#done.reject(why)
  }

  #visit(hub: string): void {
    try {
      this.#releases.push(this.#options.hubs.visit(hub))
    } catch (error) {
      this.#unusable.set(hub, toPartylineError(error).message)
    }
  }

  /** Where the inviter was met it will be found again. */
  #stay(): void {
    const { ticket, hubs } = this.#options
    for (const hub of ticket.ways.hubs)
      try {
        if (this.#stateOf(hub)?.state === 'joined') hubs.join(hub)
      } catch (error) {
        this.#options.logger.warn('a hub is not joined for good', { error: toPartylineError(error).message })
      }
  }

  #tick(): void {
    const { clock, reaches, ticket } = this.#options
    for (const name of reaches(ticket.peer)) this.#reached.add(name)
    this.#joining.tick(clock.now())
    this.#schedule()
  }

  #schedule(): void {
    const { clock } = this.#options
    this.#timer?.cancel()
    const { outcome, deadline } = this.#joining
    if (outcome) return this.#done.resolve(outcome)
    if (!this.#isOver) this.#timer = clock.after(Math.max(1, deadline - clock.now()), () => this.#tick())
  }

  /** A session carries signals as well: it is tried where there is an address, as long as there is no answer. */
  async #dial(): Promise<void> {
    const { clock, book, ticket, openSession } = this.#options
    if (book.addresses(ticket.peer).length > 0)
      try {
        await openSession(ticket.peer, DIALLING)
        this.#dialled = 'a session was opened'
      } catch (error) {
        this.#dialled = toPartylineError(error).message
      }
    if (this.#isOver) return
    this.#dialTimer = clock.after(this.#pause, () => void this.#dial())
    this.#pause = Math.min(MAX_PAUSE, this.#pause * 2)
  }

  #unreachable(): PartylineError {
    const { peer, name, ways } = this.#options.ticket
    const told = [
      ...ways.accounts.map(
        (account) => `account ${account}: ${this.#said('account', 'no account of this host reaches it')}`,
      ),
      ...ways.hubs.map((hub) => this.#aboutHub(hub)),
      ...(ways.addresses.length > 0
        ? [`${ways.addresses.map(formatHostPort).join(', ')}: ${this.#dialled || 'no answer'}`]
        : []),
      this.#reached.has('lan-stream') ? 'the LAN: asked, no answer' : 'the LAN: it is not seen there',
    ]
    return new PartylineError(
      'network.unreachable',
      `${name || peer.slice(0, 12)} did not answer. Tried ${told.join('; ')}`,
      {
        hint: 'Check that it is running and online; what its ticket names may have changed since: ask for another one.',
      },
    )
  }

  #aboutHub(hub: string): string {
    const state = this.#stateOf(hub)
    const unusable = this.#unusable.get(hub)
    const said =
      unusable ?? (state?.state === 'joined' ? this.#said('hub', 'joined, but it is not there') : state?.detail)
    return `hub ${state ? formatHostPort(state) : 'of the ticket'}: ${said || 'could not be joined in time'}`
  }

  #said(name: SignallerName, otherwise: string): string {
    return this.#reached.has(name) ? 'asked, no answer' : otherwise
  }

  #stateOf(hub: string): HubState | undefined {
    try {
      const { peer, addresses } = parseHub(hub)
      const at = new Set(addresses.map(formatHostPort))
      return this.#options.hubs.status().hubs.find((one) => (peer ? one.peer === peer : at.has(formatHostPort(one))))
    } catch {
      return undefined
    }
  }
}
