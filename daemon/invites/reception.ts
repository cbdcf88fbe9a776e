import type { Publish } from '../../ipc/api.ts'
import type { Clock, Timer } from '../clock.ts'
import { type ErrorCode, toPartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import type { Logger } from '../logger.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Ways } from '../peers/ways.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Invitations } from './invitations.ts'
import type { Invitation } from './invitations-file.ts'
import type { JoinAnswer, JoinRequest } from './join-message.ts'
import { proposePetname } from './petname.ts'
import type { Secrets } from './proof.ts'
import { Welcome } from './welcome.ts'

/** How long the ways of somebody who is refused are known, for the answer to get there. */
const FAREWELL: Milliseconds = 10_000
/** Those at one time. */
const MAX_FAREWELLS = 64

interface ReceptionOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly secrets: Secrets
  readonly invitations: Invitations
  readonly book: PeerBook
  readonly publish: Publish
  readonly name: () => string
  readonly ways: () => Ways
  /** Best effort, to whoever asked. */
  readonly answer: (joiner: PeerId, answer: JoinAnswer) => void
}

/** Who asks to join by an invitation of this host is let in here: trusted, named, and answered. */
export class Reception {
  readonly #options: ReceptionOptions
  readonly #welcome: Welcome
  /** Those being let in, by invitation and joiner. */
  readonly #entering = new Map<string, Promise<void>>()
  readonly #farewells = new Map<PeerId, { readonly forget: () => void; readonly timer: Timer }>()

  constructor(options: ReceptionOptions) {
    const { clock, book } = options
    this.#options = options
    this.#welcome = new Welcome({
      ...options,
      now: clock.now(),
      isTrusted: (peer) => book.get(peer).trust === 'trusted',
    })
  }

  /** Takes a request that came as a signal, and answers. */
  async take(joiner: PeerId, request: JoinRequest): Promise<void> {
    const { answer, name, ways, logger } = this.#options
    const { id } = request
    try {
      const code = await this.admit(joiner, request)
      if (code === 'accepted') answer(joiner, { kind: 'accepted', id, name: name(), ways: ways() })
      else if (code) answer(joiner, { kind: 'refused', id, code })
    } catch (error) {
      // Not answered, it is asked again.
      logger.error('nobody can be let in', { error: toPartylineError(error).message })
    }
  }

  /**
   * Decides, and lets in: it is on disk when this resolves. Undefined where nothing is to be answered. Rejects with `local.file` or
   * `local.permission`.
   */
  async admit(joiner: PeerId, request: Omit<JoinRequest, 'kind'>): Promise<ErrorCode | 'accepted' | undefined> {
    const { clock, book } = this.#options
    if (book.isBlocked(joiner)) return 'policy.blocked'
    const verdict = this.#welcome.receive(joiner, request, clock.now())
    if (verdict.kind === 'ignore') return undefined
    if (verdict.kind === 'refuse') {
      if (verdict.isHolder) this.#bidFarewell(joiner, request)
      return verdict.code
    }
    if (verdict.isWelcomed) return 'accepted'
    const key = `${request.id} ${joiner}`
    const entering = this.#entering.get(key) ?? this.#letIn(joiner, request, verdict.invitation)
    this.#entering.set(key, entering)
    try {
      await entering
      return 'accepted'
    } finally {
      this.#entering.delete(key)
    }
  }

  /** True for the bearer of a ticket of ours that is still good. */
  admits(joiner: PeerId, invite: { readonly id: string; readonly proof: string }): boolean {
    const proof = Buffer.from(invite.proof, 'base64')
    return this.#welcome.admits(joiner, { id: invite.id, proof }, this.#options.clock.now())
  }

  close(): void {
    for (const peer of [...this.#farewells.keys()]) this.#forget(peer)
  }

  async #letIn(joiner: PeerId, { id, name, ways }: Omit<JoinRequest, 'kind'>, { petname }: Invitation): Promise<void> {
    const { invitations, book, publish } = this.#options
    await invitations.save()
    const said = cleanName(name)
    const forget = book.expect(joiner, said, ways)
    try {
      await book.setTrust(joiner, 'trusted')
      await proposePetname(book, joiner, [petname, said])
      await invitations.welcomed(id, joiner)
    } finally {
      forget()
    }
    publish('invites.joined', { id, peer: joiner, name: book.get(joiner).petname || said })
    publish('invites.changed', {})
  }

  /** Somebody who held a ticket of ours shall hear why it is no good. */
  #bidFarewell(joiner: PeerId, { name, ways }: Pick<JoinRequest, 'name' | 'ways'>): void {
    const { book, clock } = this.#options
    if (this.#farewells.has(joiner)) return
    const [oldest] = this.#farewells.keys()
    if (this.#farewells.size >= MAX_FAREWELLS && oldest !== undefined) this.#forget(oldest)
    const forget = book.expect(joiner, cleanName(name), ways)
    this.#farewells.set(joiner, { forget, timer: clock.after(FAREWELL, () => this.#forget(joiner)) })
  }

  #forget(joiner: PeerId): void {
    const farewell = this.#farewells.get(joiner)
    this.#farewells.delete(joiner)
    farewell?.timer.cancel()
    farewell?.forget()
  }
}
