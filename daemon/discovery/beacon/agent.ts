import { type ErrorCode, toPartylineError } from '../../errors.ts'
import type { Identity } from '../../identity/key.ts'
import { ReplayWindow } from '../../replay-window.ts'
import { TokenBucket, TokenBuckets } from '../../token-bucket.ts'
import type { HostPort, Milliseconds, PeerId } from '../../types.ts'
import { type Beacon, decodeBeacon, encodeBeacon, isSigned, NO_NONCE } from './packet.ts'
import { BeaconSchedule, beaconLifetime } from './schedule.ts'

/** Hosts known by beacon, an entry for each address they were heard from. */
export const MAX_KNOWN = 10_000
/** Answers that wait for their moment. */
export const MAX_ANSWERS = 1024
/** A challenge is good for this long at least, and twice as long at most. */
const NONCE_LIFETIME: Milliseconds = 10_000
/** Hosts answer a newcomer spread over this long each, so that a thousand do not answer at once. */
const ANSWER_SPREAD: Milliseconds = 1
const MAX_ANSWER_SPREAD: Milliseconds = 1000
/** Packets looked at, from one address and in all, a second and at once. */
const PER_ADDRESS = { rate: 30, burst: 120, keys: 4096 }
const IN_ALL = { rate: 600, burst: 3000 }

/** Where a packet came from, or goes to. */
export interface Source extends HostPort {
  /** The local interface. */
  readonly interface: string
}

/** What the agent wants done. */
export type Action =
  /** Send to everyone on an outlet (an interface and family). */
  | { readonly kind: 'announce'; readonly outlet: string; readonly packet: Buffer }
  | { readonly kind: 'send'; readonly to: HostPort; readonly packet: Buffer }
  | { readonly kind: 'seen'; readonly peer: PeerId; readonly name: string; readonly port: number; readonly at: Source }
  | { readonly kind: 'gone'; readonly peer: PeerId; readonly at: Source }
  | { readonly kind: 'refused'; readonly code: ErrorCode }

interface Known {
  readonly peer: PeerId
  readonly instance: string
  readonly at: Source
  readonly heard: Milliseconds
}

/** What is remembered of an instance, wherever it was heard, so that no packet of it counts twice. */
interface Heard {
  readonly replays: ReplayWindow
  /** It said goodbye: nothing of it counts any more. */
  left: boolean
}

interface Answer {
  readonly at: Milliseconds
  readonly to: Source
  readonly echo: string
  /** Its sender has yet to prove itself to us. */
  readonly challenge: boolean
}

interface AgentOptions {
  readonly identity: Pick<Identity, 'peer' | 'sign'>
  /** This host's instance, 16 hexadecimal digits. */
  readonly instance: string
  readonly port: number
  readonly random: () => number
  /** Sixteen random bytes, hexadecimal. */
  readonly nonce: () => string
  /** False for a peer that is not to learn that somebody is here. */
  readonly mayAnswer?: (peer: PeerId, address: string) => boolean
}

/**
 * The beacon's protocol, free of I/O. A host is believed to be there only after it signed a fresh challenge of ours from the address it is
 * heard at; so recorded packets raise nobody. Announcements of known hosts then refresh it, as long as their sequence grows.
 */
export class BeaconAgent {
  readonly #options: AgentOptions
  /** By peer and where it was heard, the longest unheard first. */
  readonly #known = new Map<string, Known>()
  /** How many entries of `#known` each peer has. */
  readonly #entries = new Map<PeerId, number>()
  /** By peer and instance; outlives `#known`, or packets recorded just before a goodbye would count after it. */
  readonly #heard = new Map<string, Heard>()
  #twin: { readonly at: HostPort; readonly heard: Milliseconds } | undefined
  readonly #answers: Answer[] = []
  readonly #schedule: BeaconSchedule
  readonly #perAddress = new TokenBuckets(PER_ADDRESS)
  readonly #inAll: TokenBucket
  #outlets: readonly string[] = []
  #name: string
  #sequence = 0
  #nonce: string
  #previousNonce = ''
  #nonceSince: Milliseconds
  /** The most hosts there were lately: their intervals are as long as that number made them. */
  #peak: { readonly hosts: number; readonly until: Milliseconds } = { hosts: 1, until: 0 }

  constructor(options: AgentOptions, name: string, now: Milliseconds) {
    this.#options = options
    this.#name = name
    this.#schedule = new BeaconSchedule(options.random, now)
    this.#inAll = new TokenBucket(IN_ALL, now)
    this.#nonce = options.nonce()
    this.#nonceSince = now
  }

  /** Hosts on the LAN, as far as known, this one included. */
  get hosts(): number {
    return this.#entries.size + 1
  }

  /** True while the peer is heard at this address. */
  knows(peer: PeerId, at: Pick<Source, 'address' | 'interface'>): boolean {
    return this.#known.has(keyOf(peer, at))
  }

  get deadline(): Milliseconds {
    const answers = this.#answers.map(({ at }) => at)
    const [oldest] = this.#known.values()
    const expiry = oldest ? oldest.heard + beaconLifetime(this.#peak.hosts) : Number.POSITIVE_INFINITY
    return Math.min(this.#schedule.deadline, expiry, ...answers)
  }

  /** The outlets there are now; announces on all of them at once. */
  setOutlets(outlets: readonly string[], now: Milliseconds): void {
    this.#outlets = outlets
    this.#schedule.restart(now)
  }

  rename(name: string, now: Milliseconds): void {
    this.#name = name
    this.#schedule.restart(now)
  }

  /** A packet that asks whoever gets it to answer. */
  probe(now: Milliseconds): Buffer {
    return this.#packet({ kind: 'announce', wantAnswer: true, nonce: this.#currentNonce(now), echo: NO_NONCE })
  }

  /** A goodbye for each outlet. */
  goodbye(): Extract<Action, { kind: 'announce' }>[] {
    return this.#outlets.map((outlet) => ({
      kind: 'announce',
      outlet,
      packet: this.#packet({ kind: 'goodbye', wantAnswer: false, nonce: NO_NONCE, echo: NO_NONCE }),
    }))
  }

  /** Forgets everyone heard on interfaces that are not among these. */
  forgetInterfaces(keep: ReadonlySet<string>): Action[] {
    return this.#forget(({ at }) => at.interface !== '' && !keep.has(at.interface))
  }

  tick(now: Milliseconds): Action[] {
    const actions: Action[] = []
    if (this.#schedule.due(now, this.hosts)) {
      const nonce = this.#currentNonce(now)
      for (const outlet of this.#outlets)
        actions.push({
          kind: 'announce',
          outlet,
          packet: this.#packet({ kind: 'announce', wantAnswer: false, nonce, echo: NO_NONCE }),
        })
    }
    for (let i = this.#answers.length - 1; i >= 0; i--) {
      const answer = this.#answers[i]
      if (!answer || answer.at > now) continue
      this.#answers.splice(i, 1)
      const packet = this.#packet({
        kind: 'answer',
        wantAnswer: false,
        nonce: answer.challenge ? this.#currentNonce(now) : NO_NONCE,
        echo: answer.echo,
      })
      actions.push({ kind: 'send', to: answer.to, packet })
    }
    const lifetime = this.#lifetime(now)
    return [...actions, ...this.#forget(({ heard }) => heard + lifetime <= now)]
  }

  /** Where a beacon was heard lately that another process signed with our key; it may be a recorded one. */
  twin(now: Milliseconds): HostPort | undefined {
    return this.#twin && this.#twin.heard + this.#lifetime(now) > now ? this.#twin.at : undefined
  }

  receive(packet: Buffer, from: Source, now: Milliseconds): Action[] {
    let beacon: Beacon
    try {
      beacon = decodeBeacon(packet)
    } catch (error) {
      return [{ kind: 'refused', code: toPartylineError(error).code }]
    }
    const isOwn = beacon.peer === this.#options.identity.peer
    if (isOwn && beacon.instance === this.#options.instance) return []
    // Before any signature is checked: that is what costs.
    if (!this.#perAddress.take(from.address, now) || !this.#inAll.take(now))
      return [{ kind: 'refused', code: 'peer.rate-limited' }]
    if (!isSigned(packet, beacon.peer)) return [{ kind: 'refused', code: 'peer.bad-signature' }]
    if (isOwn) {
      this.#twin = { at: { address: from.address, port: beacon.port }, heard: now }
      return []
    }
    const heard = this.#heard.get(instanceOf(beacon))
    if (heard?.left || heard?.replays.accept(beacon.sequence) === false)
      return [{ kind: 'refused', code: 'peer.replayed' }]
    if (beacon.kind === 'goodbye') return this.#leave(beacon, from)
    if (beacon.kind === 'answer') return this.#answered(beacon, from, now)
    return this.#announced(beacon, from, now)
  }

  #announced(beacon: Beacon, from: Source, now: Milliseconds): Action[] {
    const isKnown = this.#isKnown(beacon, from)
    if (this.#options.mayAnswer?.(beacon.peer, from.address) === false)
      return [{ kind: 'refused', code: 'policy.refused' }]
    if (beacon.wantAnswer || !isKnown) this.#answerLater(beacon, from, now)
    return isKnown ? this.#remember(beacon, from, now) : []
  }

  #answered(beacon: Beacon, from: Source, now: Milliseconds): Action[] {
    this.#currentNonce(now)
    if (beacon.echo !== this.#nonce && beacon.echo !== this.#previousNonce)
      return [{ kind: 'refused', code: 'peer.replayed' }]
    const actions = this.#remember(beacon, from, now)
    // It does not know us, even if we know it: its challenge, returned at once, changes that. Our answer carries none, so it ends here.
    if (beacon.nonce !== NO_NONCE) {
      const packet = this.#packet({ kind: 'answer', wantAnswer: false, nonce: NO_NONCE, echo: beacon.nonce })
      actions.push({ kind: 'send', to: from, packet })
    }
    return actions
  }

  #remember(beacon: Beacon, from: Source, now: Milliseconds): Action[] {
    const { peer, instance, name, port } = beacon
    const key = keyOf(peer, from)
    this.#remove(key)
    this.#known.set(key, { peer, instance, at: from, heard: now })
    this.#entries.set(peer, (this.#entries.get(peer) ?? 0) + 1)
    this.#keepHeard(beacon)
    this.#lifetime(now)
    const actions: Action[] = [{ kind: 'seen', peer, name, port, at: from }]
    const [oldest] = this.#known.keys()
    return this.#known.size > MAX_KNOWN && oldest !== undefined ? [...actions, ...this.#remove(oldest)] : actions
  }

  #keepHeard(beacon: Beacon): void {
    const key = instanceOf(beacon)
    const heard = this.#heard.get(key) ?? { replays: new ReplayWindow(beacon.sequence), left: false }
    this.#heard.delete(key)
    this.#heard.set(key, heard)
    const [oldest] = this.#heard.keys()
    if (this.#heard.size > MAX_KNOWN && oldest !== undefined) this.#heard.delete(oldest)
  }

  /** Only an instance that is known can leave, and only with a packet never heard from it at this address. */
  #leave(beacon: Beacon, from: Source): Action[] {
    const heard = this.#heard.get(instanceOf(beacon))
    if (!heard || !this.#isKnown(beacon, from)) return []
    heard.left = true
    return this.#forget(({ peer, instance }) => peer === beacon.peer && instance === beacon.instance)
  }

  #isKnown({ peer, instance }: Beacon, from: Source): boolean {
    return this.#known.get(keyOf(peer, from))?.instance === instance
  }

  #answerLater(beacon: Beacon, to: Source, now: Milliseconds): void {
    if (beacon.nonce === NO_NONCE || this.#answers.length >= MAX_ANSWERS) return
    if (this.#answers.some((answer) => answer.echo === beacon.nonce && answer.to.address === to.address)) return
    const spread = beacon.wantAnswer ? 0 : Math.min(this.hosts * ANSWER_SPREAD, MAX_ANSWER_SPREAD)
    const at = now + spread * this.#options.random()
    this.#answers.push({ at, to, echo: beacon.nonce, challenge: !this.#isKnown(beacon, to) })
  }

  #forget(condition: (known: Known) => boolean): Action[] {
    return [...this.#known].flatMap(([key, known]) => (condition(known) ? this.#remove(key) : []))
  }

  #remove(key: string): Action[] {
    const known = this.#known.get(key)
    if (!known) return []
    this.#known.delete(key)
    const left = (this.#entries.get(known.peer) ?? 1) - 1
    if (left > 0) this.#entries.set(known.peer, left)
    else this.#entries.delete(known.peer)
    return [{ kind: 'gone', peer: known.peer, at: known.at }]
  }

  /** How long a host may be silent. Where many leave at once, those that stay keep their long intervals for one more round. */
  #lifetime(now: Milliseconds): Milliseconds {
    if (this.hosts >= this.#peak.hosts || now >= this.#peak.until)
      this.#peak = { hosts: this.hosts, until: now + beaconLifetime(this.hosts) }
    return beaconLifetime(this.#peak.hosts)
  }

  #currentNonce(now: Milliseconds): string {
    if (now - this.#nonceSince >= NONCE_LIFETIME) {
      this.#previousNonce = now - this.#nonceSince >= 2 * NONCE_LIFETIME ? '' : this.#nonce
      this.#nonce = this.#options.nonce()
      this.#nonceSince = now
    }
    return this.#nonce
  }

  #packet(content: Pick<Beacon, 'kind' | 'wantAnswer' | 'nonce' | 'echo'>): Buffer {
    const { identity, instance, port } = this.#options
    return encodeBeacon(
      { ...content, port, instance, sequence: ++this.#sequence, peer: identity.peer, name: this.#name },
      identity,
    )
  }
}

const instanceOf = ({ peer, instance }: Beacon): string => `${peer} ${instance}`

const keyOf = (peer: PeerId, { address, interface: on }: Pick<Source, 'address' | 'interface'>): string =>
  `${peer} ${on} ${address}`
