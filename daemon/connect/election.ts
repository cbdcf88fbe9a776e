import type { PeerId } from '../types.ts'
import type { Hello } from './greeting.ts'

/** What a hello says for the election, apart from who its sender is. */
export type Ballot = Pick<Hello, 'proposal' | 'of' | 'seen' | 'joined' | 'open' | 'holds' | 'moves'>

/** A session with a peer, on a link or without; `session` is empty for none. */
export interface Held {
  readonly session: string
  /** The peer was heard in it. */
  readonly heard: boolean
}

/** What becomes of a link. `resumed`: the session is one that both hold, and goes on; any other that either holds is over. */
export type Verdict =
  | { readonly kind: 'select'; readonly session: string; readonly resumed: boolean; readonly choice: number }
  | { readonly kind: 'reject' }
  /** The other side decides. */
  | { readonly kind: 'wait' }

interface Candidate {
  readonly link: number
  readonly proposal: number
  readonly instance: string
}

/**
 * Symmetric connect, for one pair of hosts: any number of links between them may complete in any order, and exactly one becomes the
 * session's. The host with the lower peer id is the elector; it alone decides (as the controlling agent of ICE does, RFC 8445 section
 * 2.3), so there is nothing to agree on. The elector numbers each link it greets. The other host tells in its hello which numbers
 * it has heard and which of their links it still has; from that the elector knows whether the session it believes in is dead for
 * the other side, or whether the new link is merely a second one. Both tell which session they hold: if it is the same, the new link goes
 * on with it. A second link is turned down, unless it was dialled to go a better way.
 */
export class Election {
  readonly isElector: boolean
  readonly #instance: string
  readonly #nextProposal: () => number
  readonly #holds: () => Held
  /** Links greeted and not closed. */
  readonly #links = new Map<number, Candidate>()
  #live: (Candidate & { readonly session: string }) | undefined
  /** The instance of the peer that `#seen` and `#joined` belong to. */
  #peerInstance = ''
  #seen = 0
  #joined = 0
  #lastJoined = ''
  /** The elector's newest choice that was heard. */
  #choice = 0
  /** Elector: the session begun last. */
  #begun: (Candidate & { readonly session: string }) | undefined

  /** `nextProposal` counts up for the whole life of this daemon, over all peers; `holds` tells the session with this peer. */
  constructor(self: PeerId, peer: PeerId, instance: string, nextProposal: () => number, holds: () => Held) {
    this.isElector = self < peer
    this.#instance = instance
    this.#nextProposal = nextProposal
    this.#holds = holds
  }

  get session(): string | undefined {
    return this.#live?.session
  }

  /** True when nothing would be lost by forgetting this pair. */
  get idle(): boolean {
    return this.#links.size === 0
  }

  /** True while this link is the session's. */
  isLive(link: number): boolean {
    return this.#live?.link === link
  }

  /** What to say in a hello on a new link; `moves`: on one that was dialled to go a better way. */
  ballot(moves = false): Ballot {
    const holds = this.#holds().session
    if (this.isElector) return { proposal: this.#nextProposal(), of: '', seen: 0, joined: 0, open: [], holds, moves }
    const open = [...this.#links.values()].map(({ proposal }) => proposal).slice(-64)
    return { proposal: 0, of: this.#peerInstance, seen: this.#seen, joined: this.#joined, open, holds, moves }
  }

  /** Both hellos of a link are known: ours (its ballot) and theirs. */
  greeted(link: number, mine: Ballot, theirs: Ballot & { readonly instance: string }): Verdict {
    if (this.isElector)
      return this.#decide(
        { link, proposal: mine.proposal, instance: theirs.instance },
        theirs,
        mine.moves || theirs.moves,
      )
    if (theirs.instance !== this.#peerInstance) {
      this.#peerInstance = theirs.instance
      this.#seen = 0
      this.#joined = 0
      this.#choice = 0
    }
    this.#seen = Math.max(this.#seen, theirs.proposal)
    this.#links.set(link, { link, proposal: theirs.proposal, instance: theirs.instance })
    return { kind: 'wait' }
  }

  /** The elector chose this link. */
  selected(link: number, session: string, resumed: boolean, choice: number): Verdict {
    const candidate = this.#links.get(link)
    // Its word of another link may have overtaken this one.
    if (!candidate || this.isElector || choice <= this.#choice) return { kind: 'reject' }
    this.#choice = choice
    // What the elector was told may be old by now: it gets another link, and with it newer word.
    if (resumed ? this.#holds().session !== session : this.#lastJoined === session) return { kind: 'reject' }
    this.#lastJoined = session
    this.#live = { ...candidate, session }
    this.#joined = Math.max(this.#joined, candidate.proposal)
    return { kind: 'select', session, resumed, choice }
  }

  /** The link is gone. Returns the session that ended with it, if it was its link. */
  closed(link: number): string | undefined {
    this.#links.delete(link)
    if (this.#live?.link !== link) return undefined
    const { session } = this.#live
    this.#live = undefined
    return session
  }

  #decide(candidate: Candidate, theirs: Ballot, moves: boolean): Verdict {
    const live = this.#live
    const { session: held, heard } = this.#holds()
    const resumed = held !== '' && held === theirs.holds
    const isTaken = live && !this.#isDeadForThem(live, candidate.instance, theirs)
    // What moves goes on with what there is, or not at all.
    if (moves ? !resumed : isTaken) return { kind: 'reject' }
    const isUnheardOf = held !== '' && !resumed && this.#isUnheardOf(held, candidate.instance, theirs)
    // It was heard in the session: what it says here is older than that. It will dial again, with newer word.
    if (isUnheardOf && heard) return { kind: 'reject' }
    const session = resumed || isUnheardOf ? held : `${this.#instance}-${candidate.proposal}`
    this.#links.set(candidate.link, candidate)
    this.#live = { ...candidate, session }
    if (!resumed) this.#begun = this.#live
    return { kind: 'select', session, resumed, choice: this.#nextProposal() }
  }

  /** The word of this session never reached the peer: it begins now, there, and what was sent in it meanwhile is not lost. */
  #isUnheardOf(session: string, instance: string, theirs: Ballot): boolean {
    const begun = this.#begun
    if (begun?.session !== session || begun.instance !== instance) return false
    return theirs.of !== this.#instance || theirs.joined < begun.proposal
  }

  #isDeadForThem(live: Candidate, instance: string, theirs: Ballot): boolean {
    if (instance !== live.instance) return true
    // What it says of another instance of ours, or of a time before it heard of the live link, tells nothing.
    if (theirs.of !== this.#instance || theirs.seen < live.proposal) return false
    return !theirs.open.includes(live.proposal)
  }
}
