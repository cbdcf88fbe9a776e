import type { Element } from 'ltx'
import type { Clock } from '../clock.ts'
import type { Refusals } from '../refusals.ts'
import type { Signaller } from '../signaling/signaller.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { PeerId } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { StanzaSignals } from '../xmpp/stanza-signals.ts'
import { addressAt } from './account-address.ts'
import type { AccountConnection } from './account-connection.ts'

/** Signals of one sender's address. */
const PER_SENDER = { rate: 20, burst: 300, keys: 1024 }

interface AccountSignallerOptions {
  readonly self: PeerId
  readonly clock: Clock
  readonly refusals: Refusals
  /** Accounts of a peer, as it says. */
  readonly accountsOf: (peer: PeerId) => readonly string[]
  readonly connections: () => Iterable<AccountConnection>
}

/**
 * Carries signals over XMPP accounts, to the full address that a host has at each of its accounts: as headlines, which no server keeps
 * (RFC 6121 section 5.2.2, XEP-0334).
 */
export class AccountSignaller implements Signaller {
  readonly name = 'account'
  readonly #options: AccountSignallerOptions
  readonly #signals: StanzaSignals
  readonly #perSender = new TokenBuckets(PER_SENDER)

  constructor(options: AccountSignallerOptions) {
    this.#options = options
    this.#signals = new StanzaSignals(options)
  }

  reaches(peer: PeerId): boolean {
    const { self, accountsOf } = this.#options
    return peer !== self && accountsOf(peer).length > 0 && this.#online() !== undefined
  }

  send(peer: PeerId, sealed: Uint8Array): void {
    if (!this.reaches(peer)) return
    for (const account of this.#options.accountsOf(peer))
      this.#online(account)?.send(this.#signals.stanza(addressAt(account, peer), sealed, 'headline'))
  }

  onSignal(listener: (sealed: Uint8Array) => void): () => void {
    return this.#signals.listen(listener)
  }

  /** Takes a message that came to an account; what is no signal is left alone. */
  take(account: string, message: Element): void {
    const { clock, refusals } = this.#options
    const signal = message.getChild('signal', NS.signal)
    if (!signal || message.attrs.type === 'error') return
    if (!this.#perSender.take(message.attrs.from ?? '', clock.now())) return refusals.count('peer.rate-limited')
    this.#signals.take(account, signal)
  }

  /** The account to send to another one from: at the same server where there is one, which saves the way between two. */
  #online(to = ''): AccountConnection | undefined {
    const [, domain] = to.split('@')
    const online = [...this.#options.connections()].filter(({ state }) => state === 'online')
    return online.find(({ jid }) => jid.split('@')[1] === domain) ?? online[0]
  }
}
