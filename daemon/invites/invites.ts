import type { Publish } from '../../ipc/api.ts'
import type { Result } from '../../ipc/methods.ts'
import { PartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import type { Ways } from '../peers/ways.ts'
import type { Refusals } from '../refusals.ts'
import type { SignalExchange } from '../signaling/signaller.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { Approach, type ApproachParts } from './approach.ts'
import type { Invitations } from './invitations.ts'
import type { Invitation } from './invitations-file.ts'
import { decodeJoin, encodeJoin, JOIN_TOPIC, type JoinAnswer, type JoinRequest } from './join-message.ts'
import type { JoinOutcome } from './joining.ts'
import { type ByHandNat, Offers } from './offers.ts'
import { fitWays, isReachableFromOutside } from './own-ways.ts'
import { proposePetname } from './petname.ts'
import { proofOf, Secrets } from './proof.ts'
import { Reception } from './reception.ts'
import { type AnswerTicket, formatTicket, type InvitationTicket, type OfferTicket, parseTicket } from './ticket.ts'

/** How long an inviter is looked for. */
const JOIN_LIMIT: Milliseconds = 30_000
/** How long a way is looked for once an answer has been brought. */
const MEETING: Milliseconds = 60_000
/** Hosts that are joined at one time. */
const MAX_JOINS = 16
/** Longest that an offer by hand may wait: ports are kept open for it. */
const MAX_OFFER_TIME: Milliseconds = 3_600_000

interface InvitesOptions extends Omit<ApproachParts, 'reaches' | 'send'> {
  readonly identity: Identity
  readonly refusals: Refusals
  readonly invitations: Invitations
  readonly signals: SignalExchange
  readonly nat: ByHandNat
  readonly publish: Publish
  readonly name: () => string
  /** How this host may be reached, as far as others may know. */
  readonly ways: () => Ways
}

/** How an invitation is to be. */
interface Wish {
  readonly uses: number
  readonly lifetime: Milliseconds
  readonly for: PeerId | undefined
  readonly petname: string
  readonly offline: boolean
}

/** One inviter that is being joined. */
interface Join {
  readonly approach: Approach
  readonly invite: { readonly id: string; readonly proof: string }
  readonly done: Promise<Joined>
}

type Joined = Extract<Result<'invites.join'>, { state: 'joined' }>

/** Tickets: those given out, and those of others that this host joins by. */
export class Invites {
  readonly #options: InvitesOptions
  readonly #self: PeerId
  readonly #secrets: Secrets
  readonly #reception: Reception
  readonly #offers: Offers
  readonly #joins = new Map<PeerId, Join>()
  readonly #stopListening: () => void

  constructor(options: InvitesOptions) {
    const { identity, signals, clock, nat } = options
    this.#options = options
    this.#self = identity.peer
    this.#secrets = new Secrets(identity)
    this.#offers = new Offers(clock, nat)
    this.#reception = new Reception({
      ...options,
      secrets: this.#secrets,
      ways: () => this.#ways(),
      answer: (joiner, answer) => void this.#send(joiner, encodeJoin(answer)),
    })
    this.#stopListening = signals.handle(JOIN_TOPIC, (peer, content) => this.#receive(peer, content))
  }

  // What the owner does

  /** Makes a ticket. Throws `usage.invalid-argument`, `local.limit`, and for an offer by hand `network.no-path`. */
  async create(wish: Wish): Promise<Result<'invites.create'>> {
    const { book, invitations, publish, identity, name } = this.#options
    const { uses, lifetime, offline } = wish
    const petname = book.checkPetname(wish.petname, wish.for)
    if (wish.for === this.#self) throw new PartylineError('usage.invalid-argument', 'a host cannot invite itself')
    if (offline && uses > 1) throw new PartylineError('usage.invalid-argument', 'an offer by hand is good for one host')
    if (offline && lifetime > MAX_OFFER_TIME)
      throw new PartylineError('usage.invalid-argument', 'an offer by hand is good for one hour at most')
    const invitation = await invitations.create({ uses, lifetime, petname, for: wish.for })
    const { id, expires } = invitation
    const ways = this.#ways()
    const common = { peer: this.#self, name: name(), ways, id, expires, secret: this.#secrets.of(id), for: wish.for }
    const ticket: InvitationTicket | OfferTicket = offline
      ? { kind: 'offer', ...common, meeting: (await this.#offers.make(id, lifetime)).description }
      : { kind: 'invitation', ...common }
    publish('invites.changed', {})
    const outside = offline || isReachableFromOutside(ways)
    return { id, ticket: formatTicket(ticket, identity), expires, uses, outside, ways }
  }

  list(): Result<'invites.list'> {
    return this.#options.invitations.list().map((one) => this.#view(one))
  }

  /** Throws `local.no-invitation`. */
  async revoke(text: string): Promise<Result<'invites.revoke'>> {
    const invitation = await this.#options.invitations.revoke(text)
    this.#offers.drop(invitation.id)
    this.#options.publish('invites.changed', {})
    return this.#view(invitation)
  }

  /**
   * Meets the host that a ticket is of; both trust each other then. For an offer by hand it gives the answer to take back, and goes on
   * (`wait`); an answer is taken as by `answer`. Rejects as `parseTicket`, with the reason of a refusal, or with `network.unreachable`.
   */
  async join(
    text: string,
    {
      petname = '',
      timeout = JOIN_LIMIT,
    }: { readonly petname?: string | undefined; readonly timeout?: Milliseconds | undefined },
    caller?: AbortSignal,
  ): Promise<Result<'invites.join'>> {
    const { clock, book, nat, identity, name } = this.#options
    const ticket = this.#parse(text)
    if (ticket.kind === 'answer') return this.#answered(ticket)
    const { peer } = ticket
    if (book.isBlocked(peer)) throw new PartylineError('policy.blocked', `you have blocked ${ticket.name}`)
    const called = book.checkPetname(petname, peer)
    if (ticket.kind === 'invitation') {
      const { approach, done } = this.#begin(ticket, called, timeout)
      caller?.addEventListener('abort', () => approach.end(new PartylineError('local.closed')))
      return done
    }
    const release = await nat.gather()
    try {
      const patience = ticket.expires * 1000 - clock.wall()
      const meeting = nat.meet(peer, ticket.meeting, patience)
      const { done, invite } = this.#begin(ticket, called, patience)
      done.finally(release).catch(() => {})
      const { id, expires } = ticket
      const proof = Buffer.from(invite.proof, 'base64')
      const answer: AnswerTicket = {
        ...{ kind: 'answer', peer: this.#self, for: peer, name: name(), ways: this.#ways() },
        ...{ id, expires, proof, meeting },
      }
      return { state: 'answer', peer, name: ticket.name, petname: '', answer: formatTicket(answer, identity), expires }
    } catch (error) {
      release()
      throw error
    }
  }

  /** Resolves once a host that is being joined by hand has been met. Rejects with `peer.not-found` where none is, or as `join`. */
  async wait(peer: PeerId): Promise<Joined> {
    const join = this.#joins.get(peer)
    if (join) return join.done
    if (this.#options.book.get(peer).trust === 'trusted') return this.#joined(peer)
    throw new PartylineError('peer.not-found', 'this host is not being joined')
  }

  /** Takes the answer to an offer by hand, and meets who gave it. Rejects as `join`, or with `network.no-path`. */
  async answer(text: string): Promise<Joined> {
    const ticket = this.#parse(text)
    if (ticket.kind === 'answer') return this.#answered(ticket)
    throw new PartylineError('usage.invalid-argument', 'this is an invitation, not the answer to an offer', {
      hint: 'Run `partyline join` with it.',
    })
  }

  // What other parts ask

  /** True for a peer that is being joined. */
  isJoining(peer: PeerId): boolean {
    return this.#joins.has(peer)
  }

  /** What shows a peer that is being joined that this host holds its ticket. */
  inviteFor(peer: PeerId): { readonly id: string; readonly proof: string } | undefined {
    return this.#joins.get(peer)?.invite
  }

  /** True where a peer may open a session although it is not trusted yet: it is being joined here, or it shows a ticket of ours that is good. */
  admitsBearer(peer: PeerId, invite: { readonly id: string; readonly proof: string } | undefined): boolean {
    return this.isJoining(peer) || (invite !== undefined && this.#reception.admits(peer, invite))
  }

  /** Ends what is under way; what was given out stays good. Safe to call twice. */
  close(): void {
    this.#stopListening()
    for (const { approach } of this.#joins.values()) approach.end(new PartylineError('local.stopping'))
    this.#offers.close()
    this.#reception.close()
  }

  #parse(text: string): ReturnType<typeof parseTicket> {
    return parseTicket(text, { self: this.#self, wall: this.#options.clock.wall() })
  }

  #ways(): Ways {
    return fitWays(this.#options.ways())
  }

  #view(invitation: Invitation): Result<'invites.list'>[number] {
    const { id, created, expires, uses, joined, petname } = invitation
    const state = this.#options.invitations.stateOf(invitation)
    const peers = joined.map(({ peer }) => peer)
    return { id, state, created, expires, uses, joined: peers, for: invitation.for ?? '', petname }
  }

  #send(peer: PeerId, content: Uint8Array): boolean {
    return this.#options.signals.send(peer, JOIN_TOPIC, content)
  }

  #receive(peer: PeerId, content: Uint8Array): void {
    let message: JoinRequest | JoinAnswer
    try {
      message = decodeJoin(content)
    } catch {
      return this.#options.refusals.count('peer.malformed')
    }
    if (message.kind === 'join') void this.#reception.take(peer, message)
    else this.#joins.get(peer)?.approach.receive(message)
  }

  #begin(ticket: InvitationTicket | OfferTicket, petname: string, limit: Milliseconds): Join {
    const { signals, name } = this.#options
    const { peer, id } = ticket
    this.#joins.get(peer)?.approach.end(new PartylineError('local.closed', 'it is joined with another ticket'))
    if (this.#joins.size >= MAX_JOINS)
      throw new PartylineError('local.limit', `${MAX_JOINS} hosts are being joined already`)
    const proof = proofOf(ticket.secret, this.#self, peer)
    const approach = new Approach({
      ...this.#options,
      ticket,
      request: { kind: 'join', id, proof, name: name(), ways: this.#ways() },
      limit,
      reaches: (one) => signals.reaches(one),
      send: (one, content) => this.#send(one, content),
    })
    const done = approach
      .run()
      .then((outcome) => this.#met(ticket, outcome, petname))
      .finally(() => {
        if (this.#joins.get(peer) === join) this.#joins.delete(peer)
      })
    const join = { approach, invite: { id, proof: proof.toString('base64') }, done }
    // Whoever waits is told; nobody may.
    done.catch(() => {})
    this.#joins.set(peer, join)
    return join
  }

  /** The inviter has answered. */
  async #met(ticket: InvitationTicket | OfferTicket, outcome: JoinOutcome, petname: string): Promise<Joined> {
    const { book, publish } = this.#options
    const { peer } = ticket
    if (outcome.kind !== 'accepted')
      throw new PartylineError(outcome.kind === 'refused' ? outcome.code : 'network.unreachable')
    const forget = book.expect(peer, outcome.name || ticket.name, outcome.ways)
    try {
      await book.setTrust(peer, 'trusted')
      if (petname !== '') await book.setPetname(peer, petname)
      await proposePetname(book, peer, [outcome.name, ticket.name])
    } finally {
      forget()
    }
    const joined = this.#joined(peer)
    publish('invites.joined', { id: ticket.id, peer, name: joined.petname || joined.name })
    return joined
  }

  /** Somebody has brought the answer to an offer of ours. */
  async #answered({ peer, id, proof, name, ways, meeting }: AnswerTicket): Promise<Joined> {
    const { nat, openSession } = this.#options
    const offer = this.#offers.get(id)
    if (!offer)
      throw new PartylineError(
        'policy.ticket-used',
        'no offer waits for this answer: it has been answered, or is over',
        {
          hint: 'Begin anew with `partyline invite --offline`.',
        },
      )
    const code = await this.#reception.admit(peer, { id, proof, name, ways })
    if (code !== 'accepted') throw new PartylineError(code ?? 'peer.rate-limited')
    nat.meet(peer, meeting, MEETING, offer)
    await openSession(peer, MEETING)
    this.#offers.drop(id)
    return this.#joined(peer)
  }

  #joined(peer: PeerId): Joined {
    const { name, petname } = this.#options.book.get(peer)
    return { state: 'joined', peer, name, petname }
  }
}
