import type { Clock } from '../clock.ts'
import { type ErrorCode, PartylineError } from '../errors.ts'
import { encodeBase32 } from '../identity/base32.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { type Invitation, MAX_INVITATIONS, readInvitations, writeInvitations } from './invitations-file.ts'
import { ID_SIZE } from './proof.ts'

/** The end of time, as 32 bits of Unix seconds have it. */
const LAST_SECOND = 0xffff_ffff
/** Fewest characters of an id that stand for it. */
const MIN_PREFIX = 4

interface InvitationsOptions {
  readonly clock: Clock
  readonly randomBytes: (size: number) => Uint8Array
  /** Where they are kept; without one they are kept in memory only. */
  readonly file?: string
}

/** How an invitation is to be. */
interface Terms {
  readonly uses: number
  readonly lifetime: Milliseconds
  readonly for?: PeerId | undefined
  readonly petname: string
}

export type InvitationState = 'open' | 'used' | 'expired' | 'revoked'

/** What came of a joiner with a valid proof. */
type Claim =
  | { readonly kind: 'refused'; readonly code: ErrorCode }
  /** `isWelcomed`: it was trusted for this already. */
  | { readonly kind: 'accepted'; readonly invitation: Invitation; readonly isWelcomed: boolean }

/** The invitations that this host gave out, and who has used them. */
export class Invitations {
  readonly #options: InvitationsOptions
  /** By id, the oldest first. */
  readonly #invitations = new Map<string, Invitation>()
  /** When each ends by the monotonic clock, whatever is done to the other. */
  readonly #ends = new Map<string, Milliseconds>()
  #saving: Promise<void> = Promise.resolve()
  /** A write that has not begun: what changes until then goes with it. */
  #queued: Promise<void> | undefined

  private constructor(options: InvitationsOptions, invitations: readonly Invitation[]) {
    this.#options = options
    const { clock } = options
    for (const one of invitations) {
      this.#invitations.set(one.id, one)
      // A clock that was set back while nobody looked gives it no more than its time.
      const left = Math.min(one.expires * 1000 - clock.wall(), (one.expires - one.created) * 1000)
      this.#ends.set(one.id, clock.now() + left)
    }
  }

  /** Throws `local.invites-damaged`. */
  static async open(options: InvitationsOptions): Promise<Invitations> {
    return new Invitations(options, options.file === undefined ? [] : await readInvitations(options.file))
  }

  /** Makes one, and has it on disk before it can be given out. Throws `local.limit` when so many are open. */
  async create({ uses, lifetime, for: receiver, petname }: Terms): Promise<Invitation> {
    const { clock, randomBytes } = this.#options
    this.#makeRoom()
    const created = Math.max(0, Math.floor(clock.wall() / 1000))
    const expires = Math.min(LAST_SECOND, created + Math.ceil(lifetime / 1000))
    const id = encodeBase32(randomBytes(ID_SIZE))
    const one = { id, created, expires, uses, for: receiver, petname, revoked: false, joined: [] }
    this.#invitations.set(id, one)
    this.#ends.set(id, clock.now() + (expires - created) * 1000)
    await this.save()
    return one
  }

  /** All of them, the newest first. */
  list(): readonly Invitation[] {
    return [...this.#invitations.values()].reverse()
  }

  stateOf({ id, revoked, uses, joined, expires }: Invitation): InvitationState {
    const { clock } = this.#options
    if (revoked) return 'revoked'
    if (joined.length >= uses) return 'used'
    return clock.wall() >= expires * 1000 || clock.now() >= (this.#ends.get(id) ?? 0) ? 'expired' : 'open'
  }

  /** Takes one back, by its id or a prefix that only it has; who has joined stays. Throws `local.no-invitation`. */
  async revoke(text: string): Promise<Invitation> {
    const prefix = text.trim().toLowerCase()
    const [one, another] = this.list().filter(({ id }) => id.startsWith(prefix))
    if (!one || another || prefix.length < MIN_PREFIX)
      throw new PartylineError('local.no-invitation', `no invitation, or more than one, goes by "${text.slice(0, 20)}"`)
    one.revoked = true
    await this.save()
    return one
  }

  /**
   * Uses one up for a joiner whose proof was checked: at once, so that of two the first wins. Once per joiner; asking again costs nothing.
   * Call `save` before telling anybody.
   */
  claim(id: string, joiner: PeerId): Claim {
    const invitation = this.#invitations.get(id)
    // It was given out once, and is forgotten since it was of no use any more.
    if (!invitation) return { kind: 'refused', code: 'policy.ticket-expired' }
    const known = invitation.joined.find(({ peer }) => peer === joiner)
    if (known) return { kind: 'accepted', invitation, isWelcomed: known.welcomed }
    if (invitation.for !== undefined && invitation.for !== joiner)
      return { kind: 'refused', code: 'policy.ticket-not-for-you' }
    const state = this.stateOf(invitation)
    if (state !== 'open') return { kind: 'refused', code: `policy.ticket-${state}` }
    invitation.joined.push({ peer: joiner, welcomed: false })
    return { kind: 'accepted', invitation, isWelcomed: false }
  }

  /** True where `claim` would accept. Changes nothing. */
  isOpenTo(id: string, joiner: PeerId): boolean {
    const invitation = this.#invitations.get(id)
    if (!invitation) return false
    if (invitation.joined.some(({ peer }) => peer === joiner)) return true
    return (invitation.for ?? joiner) === joiner && this.stateOf(invitation) === 'open'
  }

  /** The joiner is trusted now. */
  async welcomed(id: string, joiner: PeerId): Promise<void> {
    const use = this.#invitations.get(id)?.joined.find(({ peer }) => peer === joiner)
    if (!use || use.welcomed) return
    use.welcomed = true
    await this.save()
  }

  /** Resolves once everything up to now is on disk. Rejects with `local.file` or `local.permission`. */
  save(): Promise<void> {
    this.#queued ??= this.#saving
      .catch(() => {})
      .then(async () => {
        this.#queued = undefined
        const { file } = this.#options
        if (file !== undefined) await writeInvitations(file, [...this.#invitations.values()])
      })
    this.#saving = this.#queued
    return this.#saving
  }

  #makeRoom(): void {
    for (const one of this.#invitations.values()) {
      if (this.#invitations.size < MAX_INVITATIONS) return
      if (this.stateOf(one) === 'open') continue
      this.#invitations.delete(one.id)
      this.#ends.delete(one.id)
    }
    if (this.#invitations.size >= MAX_INVITATIONS)
      throw new PartylineError('local.limit', `${MAX_INVITATIONS} invitations are open`, {
        hint: 'Take some back with `partyline invite revoke`.',
      })
  }
}
