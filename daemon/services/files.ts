import { randomBytes } from 'node:crypto'
import type { Caller, Publish } from '../../ipc/api.ts'
import type { OfferView } from '../../ipc/methods.ts'
import type { Clock, Timer } from '../clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import type { SessionStream } from '../session/session.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { OfferCourier } from './files-courier.ts'
import {
  type AnnouncedOffer,
  cleanOfferName,
  decodeFilesMessage,
  encodeFilesMessage,
  FILES_CHANNEL,
  type FilesMessage,
  type ReceiverState,
} from './files-message.ts'
import { Offer, type OfferContent } from './files-offer.ts'
import { OfferRegistry } from './files-registry.ts'

/** How long an own offer outlives the connection that made it: time for its app to connect again. */
const CALLER_GRACE: Milliseconds = 30_000
/** How long offers of a peer are kept that has no session with us. */
const PEER_GRACE: Milliseconds = 600_000

/** What offers need of the messages between daemons. */
export interface DaemonMessages {
  /** Opens a session on demand; resolves when the peer's daemon took the message, rejects with its refusal. */
  send(peer: PeerId, channel: string, data: Uint8Array): Promise<void>
  /** Takes the messages of a reserved channel; the handler refuses one by throwing. */
  handle(channel: string, handler: (peer: PeerId, data: Uint8Array) => void): void
}

/** What offers need of the streams between hosts. */
interface OfferStreams {
  open(peer: PeerId, service: string, user: string, meta: string): Promise<SessionStream>
  /** Waits for a stream to `service`; streams that `FileService.admits` turns down do not come here. */
  accept(service: string, user: string, signal: AbortSignal): Promise<{ stream: SessionStream; meta: string }>
}

/** Who looks at offers. */
type Viewer = Pick<Caller, 'user' | 'owner'>

interface FileServiceOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly publish: Publish
  readonly messages: DaemonMessages
  readonly streams: OfferStreams
  readonly isBlocked: (peer: PeerId) => boolean
}

/**
 * The offers of files, in both directions, and the streams that carry them. It never opens a file: the apps read and write
 * them, so that no app can make a daemon that runs as another user read or write what the app itself may not.
 */
export class FileService {
  readonly #options: FileServiceOptions
  readonly #offers: OfferRegistry
  readonly #connected = new Set<PeerId>()
  readonly #courier: OfferCourier
  readonly #holders = new Map<Offer, Set<Caller>>()
  readonly #takers = new Map<Offer, Caller>()
  readonly #answering = new Set<Offer>()
  readonly #timers = new Map<Offer | PeerId, Timer>()
  #closed = false

  constructor(options: FileServiceOptions) {
    this.#options = options
    this.#offers = new OfferRegistry(options.clock)
    this.#courier = new OfferCourier({
      clock: options.clock,
      logger: options.logger,
      offers: this.#offers,
      send: (peer, message) => this.#send(peer, message),
      onTurnedDown: (offer) => this.#end(offer, 'refused'),
    })
    options.messages.handle(FILES_CHANNEL, (peer, data) => this.#received(peer, data))
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers.values()) timer.cancel()
    this.#courier.close()
  }

  /** The offers that stand, in both directions, and those that ended in the last ten minutes, without those of other users here. */
  list(caller: Viewer): OfferView[] {
    return [...this.#offers.ended(), ...this.#offers.all()]
      .filter((offer) => isFor(offer, caller))
      .map((offer) => offer.view())
  }

  // The sender's side

  /**
   * Offers files to a peer. The offer stands while the caller's connection does and 30 seconds more; the same id offered again
   * is the same offer. Throws what reaching the peer throws, `policy.blocked`, `peer.busy`, `local.limit`.
   */
  async offer(
    peer: PeerId,
    { offer: id = randomBytes(10).toString('hex'), ...content }: OfferContent & { readonly offer?: string | undefined },
    caller: Caller,
  ): Promise<OfferView> {
    const known = this.#offers.find(id)
    if (known) return this.#offerAgain(known, peer, caller)
    if (this.#options.isBlocked(peer)) throw new PartylineError('policy.blocked')
    if (!this.#offers.hasRoomOf(caller.user)) throw new PartylineError('local.limit', 'too many offers stand')
    const offer = new Offer(id, peer, 'out', { ...content, name: cleanOfferName(content.name) }, caller.user)
    this.#offers.add(offer)
    this.#hold(offer, caller)
    try {
      await this.#courier.announce(offer)
    } catch (error) {
      if (offer.stands) this.#offers.drop(offer)
      this.#release(offer)
      throw error
    }
    this.#publish(offer)
    return offer.view()
  }

  /** Takes an own offer back. Throws `peer.no-offer`. */
  async withdraw(id: string, caller: Viewer): Promise<void> {
    await this.#withdraw(this.#standing(id, 'out', caller))
  }

  async #withdraw(offer: Offer): Promise<void> {
    this.#end(offer, 'withdrawn')
    await this.#courier.recall(offer)
  }

  /** Waits until the receiver of an own offer asks for something. Throws `peer.no-offer` when the offer ends. */
  async serve(id: string, caller: Viewer & Pick<Caller, 'signal'>): Promise<{ stream: SessionStream; meta: string }> {
    const offer = this.#standing(id, 'out', caller)
    const either = AbortSignal.any([caller.signal, offer.signal])
    try {
      for (;;) {
        const accepted = await this.#options.streams.accept(serviceOf(offer), caller.user, either)
        if (accepted.stream.peer === offer.peer) return accepted
        this.#options.refusals.count('peer.no-service')
        accepted.stream.reset('peer.no-service')
      }
    } catch (error) {
      throw offer.signal.aborted ? offer.signal.reason : error
    }
  }

  /** False for a stream to an own offer from anyone but its receiver: it is to be refused with `peer.no-service`. */
  admits(peer: PeerId, service: string): boolean {
    if (!service.startsWith(`${FILES_CHANNEL}/`)) return true
    const offer = this.#offers.find(service.slice(FILES_CHANNEL.length + 1))
    return offer?.direction === 'out' && offer.stands && offer.peer === peer
  }

  // The receiver's side

  /**
   * Takes an offer: it belongs to the caller while its connection stands. Throws `peer.no-offer`, `local.limit` where another
   * app has it, and what reaching the sender throws.
   */
  async accept(id: string, caller: Caller): Promise<OfferView> {
    const offer = this.#standing(id, 'in', caller)
    const taker = this.#takers.get(offer)
    if (taker && taker.id !== caller.id && !taker.signal.aborted)
      throw new PartylineError('local.limit', 'another app here already takes this offer')
    this.#takers.set(offer, caller)
    offer.user = caller.user
    if (offer.state === 'offered') await this.#acceptAtSender(offer)
    return offer.view()
  }

  /** Refuses an offer. Throws `peer.no-offer`. */
  async refuse(id: string, caller: Viewer): Promise<void> {
    const offer = this.#standing(id, 'in', caller)
    this.#end(offer, 'refused')
    await this.#sendState(offer, 'refused').catch(() => {})
  }

  /** Opens a stream to the sender of an accepted offer. Throws `peer.no-offer`, `peer.no-service` and what reaching it throws. */
  async fetch(id: string, meta: string, caller: Viewer): Promise<SessionStream> {
    const offer = this.#standing(id, 'in', caller)
    if (offer.state !== 'accepted') throw new PartylineError('peer.no-offer', 'the offer was not accepted yet')
    return await this.#options.streams.open(offer.peer, serviceOf(offer), caller.user, meta)
  }

  /** Tells the sender how it ended. Throws `peer.no-offer` and what reaching the sender throws; then it can be told again. */
  async finish(id: string, ok: boolean, caller: Viewer): Promise<void> {
    const offer = this.#standing(id, 'in', caller)
    const state = ok ? 'done' : 'failed'
    await this.#sendState(offer, state).catch((error) => {
      if (codeOf(error) !== 'peer.no-offer') throw error
    })
    this.#end(offer, state)
  }

  // What the daemon notices of a peer

  /** A session with the peer opened, whoever asked for it. */
  sessionOpened(peer: PeerId): void {
    this.#connected.add(peer)
    this.#cancel(peer)
    this.#courier.sessionOpened(peer)
  }

  /** The session with the peer ended. */
  sessionClosed(peer: PeerId): void {
    this.#connected.delete(peer)
    this.#forgetLater(peer)
    this.#courier.sessionClosed(peer)
  }

  /** Discovery saw the peer: the moment to tell it again of offers it waits for. */
  peerSeen(peer: PeerId): void {
    if (this.#timers.has(peer) && !this.#connected.has(peer)) this.#forgetLater(peer)
    this.#courier.peerSeen(peer)
  }

  /** An offer that stands, for who may do something with it. Throws `peer.no-offer`, `policy.other-user`. */
  #standing(id: string, direction: OfferView['direction'], caller: Viewer): Offer {
    const offer = this.#offers.standing(id, direction)
    if (!isFor(offer, caller)) throw new PartylineError('policy.other-user')
    return offer
  }

  /** The same id again: after its app or this daemon lost the other. */
  #offerAgain(offer: Offer, peer: PeerId, caller: Caller): OfferView {
    if (offer.direction !== 'out' || offer.peer !== peer || !isFor(offer, caller))
      throw new PartylineError('usage.invalid-argument', `${offer.id} is the id of another offer`)
    if (offer.stands) this.#hold(offer, caller)
    return offer.view()
  }

  // Who holds an offer

  #hold(offer: Offer, caller: Caller): void {
    const holders = this.#holders.get(offer) ?? new Set()
    this.#holders.set(offer, holders)
    if (holders.has(caller)) return
    holders.add(caller)
    this.#cancel(offer)
    const leave = (): void => {
      holders.delete(caller)
      if (holders.size === 0 && offer.stands)
        this.#later(offer, CALLER_GRACE, () => void this.#withdraw(offer).catch(() => {}))
    }
    if (caller.signal.aborted) leave()
    else caller.signal.addEventListener('abort', leave, { once: true, signal: offer.signal })
  }

  #release(offer: Offer): void {
    this.#holders.delete(offer)
    this.#takers.delete(offer)
    this.#courier.forget(offer)
    this.#cancel(offer)
  }

  // What the peer tells

  #received(peer: PeerId, data: Uint8Array): void {
    try {
      if (this.#options.isBlocked(peer)) throw new PartylineError('policy.blocked')
      this.#take(peer, decodeFilesMessage(data))
    } catch (error) {
      this.#options.refusals.count(codeOf(error))
      throw error
    }
  }

  #take(peer: PeerId, message: FilesMessage): void {
    const known = this.#offers.find(message.offer)
    if (message.op === 'offer') return this.#takeOffer(peer, message, known)
    const direction = message.op === 'withdraw' ? 'in' : 'out'
    if (known?.peer !== peer || known.direction !== direction) throw new PartylineError('peer.no-offer')
    if (!known.stands) {
      if (message.op === 'state' && known.state !== message.state) throw new PartylineError('peer.no-offer')
      return
    }
    if (message.op === 'withdraw') this.#end(known, 'withdrawn')
    else this.#takeState(known, message.state)
  }

  #takeOffer(peer: PeerId, message: AnnouncedOffer, known: Offer | undefined): void {
    if (known) {
      if (known.direction !== 'in' || known.peer !== peer) throw new PartylineError('peer.malformed')
      this.#answer(known)
      return
    }
    if (!this.#offers.hasRoomFrom(peer)) throw new PartylineError('peer.busy')
    const { offer: id, name, files, bytes } = message
    const offer = new Offer(id, peer, 'in', { name, files, bytes })
    this.#offers.add(offer)
    this.#publish(offer)
  }

  #takeState(offer: Offer, state: ReceiverState): void {
    if (state === 'accepted') {
      if (offer.state === 'accepted') return
      offer.state = 'accepted'
      this.#publish(offer)
      return
    }
    this.#end(offer, state)
  }

  /** A sender that lost its memory announces an offer we know: it learns what became of it. */
  #answer(offer: Offer): void {
    const { state } = offer
    if (state === 'offered' || state === 'withdrawn' || this.#answering.has(offer)) return
    this.#answering.add(offer)
    this.#sendState(offer, state)
      .catch(() => {})
      .finally(() => this.#answering.delete(offer))
  }

  async #acceptAtSender(offer: Offer): Promise<void> {
    try {
      await this.#sendState(offer, 'accepted')
    } catch (error) {
      this.#takers.delete(offer)
      offer.user = undefined
      if (codeOf(error) === 'peer.no-offer' && offer.stands) this.#end(offer, 'withdrawn')
      throw error
    }
    if (!offer.stands) throw new PartylineError('peer.no-offer', `the offer is ${offer.state}`)
    if (offer.state === 'accepted') return
    offer.state = 'accepted'
    this.#publish(offer)
  }

  #sendState(offer: Offer, state: ReceiverState): Promise<void> {
    return this.#send(offer.peer, { op: 'state', offer: offer.id, state })
  }

  #send(peer: PeerId, message: FilesMessage): Promise<void> {
    return this.#options.messages.send(peer, FILES_CHANNEL, encodeFilesMessage(message))
  }

  // Ends

  #end(offer: Offer, state: OfferView['state']): void {
    if (!offer.stands) return
    this.#offers.end(offer, state)
    this.#release(offer)
    this.#publish(offer)
  }

  /** Offers of a peer without a session are forgotten after a while. */
  #forgetLater(peer: PeerId): void {
    const incoming = (): Offer[] =>
      this.#offers.all().filter((offer) => offer.peer === peer && offer.direction === 'in')
    if (incoming().length === 0) return
    this.#later(peer, PEER_GRACE, () => {
      for (const offer of incoming()) this.#end(offer, 'withdrawn')
    })
  }

  #later(key: Offer | PeerId, delay: Milliseconds, task: () => void): void {
    this.#cancel(key)
    if (this.#closed) return
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(key)
      task()
    })
    this.#timers.set(key, timer)
  }

  #cancel(key: Offer | PeerId): void {
    this.#timers.get(key)?.cancel()
    this.#timers.delete(key)
  }

  #publish(offer: Offer): void {
    this.#options.publish('files.changed', { offer: offer.view() }, offer.direction === 'out' ? offer.user : undefined)
  }
}

/** False for an offer that an app of another user here made or took. */
function isFor({ user }: Offer, caller: Viewer): boolean {
  return user === undefined || user === caller.user || caller.owner
}

function serviceOf(offer: Offer): string {
  return `${FILES_CHANNEL}/${offer.id}`
}

function codeOf(error: unknown): ErrorCode {
  return toPartylineError(error).code
}
