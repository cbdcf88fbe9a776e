import type { PeerId } from '../types.ts'
import type { Hello } from './greeting.ts'

/** What a hello says for the election, apart from who its sender is. */
export type Ballot = Pick<Hello, 'proposal' | 'of' | 'seen' | 'open'>

/** What becomes of a link. `replaces`: the session that was there before is dead. */
export type Verdict =
  | { readonly kind: 'select'; readonly session: string; readonly replaces: string | undefined }
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
 * the other side, or whether the new link is merely a second one.
 */
export class Election {
  readonly isElector: boolean
  readonly #instance: string
  readonly #nextProposal: () => number
  /** Links greeted and not closed. */
  readonly #links = new Map<number, Candidate>()
  #live: (Candidate & { readonly session: string }) | undefined
  /** The instance of the peer that `#seen` belongs to. */
  #peerInstance = ''
  #seen = 0

  /** `nextProposal` counts up for the whole life of this daemon, over all peers. */
  constructor(self: PeerId, peer: PeerId, instance: string, nextProposal: () => number) {
    this.isElector = self < peer
    this.#instance = instance
    this.#nextProposal = nextProposal
  }

  get session(): string | undefined {
    return this.#live?.session
  }

  /** True when nothing would be lost by forgetting this pair. */
  get idle(): boolean {
    return this.#links.size === 0
  }

  /** What to say in a hello on a new link. */
  ballot(): Ballot {
    if (this.isElector) return { proposal: this.#nextProposal(), of: '', seen: 0, open: [] }
    const open = [...this.#links.values()].map(({ proposal }) => proposal).slice(-64)
    return { proposal: 0, of: this.#peerInstance, seen: this.#seen, open }
  }

  /** Both hellos of a link are known: ours (its ballot) and theirs. */
  greeted(link: number, mine: Ballot, theirs: Ballot & { readonly instance: string }): Verdict {
    if (this.isElector) return this.#decide({ link, proposal: mine.proposal, instance: theirs.instance }, theirs)
    if (theirs.instance !== this.#peerInstance) {
      this.#peerInstance = theirs.instance
      this.#seen = 0
    }
    this.#seen = Math.max(this.#seen, theirs.proposal)
    this.#links.set(link, { link, proposal: theirs.proposal, instance: theirs.instance })
    return { kind: 'wait' }
  }

  /** The elector chose this link. */
  selected(link: number, session: string): Verdict {
    const candidate = this.#links.get(link)
    if (!candidate || this.isElector) return { kind: 'reject' }
    const replaces = this.#live?.session
    this.#live = { ...candidate, session }
    return { kind: 'select', session, replaces }
  }

  /** The link is gone. Returns the session that ended with it, if it was its link. */
  closed(link: number): string | undefined {
    this.#links.delete(link)
    if (this.#live?.link !== link) return undefined
    const { session } = this.#live
    this.#live = undefined
    return session
  }

  #decide(candidate: Candidate, theirs: Ballot): Verdict {
    const live = this.#live
    if (live && !this.#isDeadForThem(live, candidate.instance, theirs)) return { kind: 'reject' }
    const session = `${this.#instance}-${candidate.proposal}`
    this.#links.set(candidate.link, candidate)
    this.#live = { ...candidate, session }
    return { kind: 'select', session, replaces: live?.session }
  }

  #isDeadForThem(live: Candidate, instance: string, theirs: Ballot): boolean {
    if (instance !== live.instance) return true
    // What it says of another instance of ours, or of a time before it heard of the live link, tells nothing.
    if (theirs.of !== this.#instance || theirs.seen < live.proposal) return false
    return !theirs.open.includes(live.proposal)
  }
}
