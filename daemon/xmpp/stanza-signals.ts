import type { Element } from 'ltx'
import type { Clock } from '../clock.ts'
import type { Refusals } from '../refusals.ts'
import { MAX_SEALED } from '../signaling/envelope.ts'
import { TokenBuckets } from '../token-bucket.ts'
import { NS } from './namespaces.ts'
import { xml } from './stanzas.ts'

/** Signals taken from one server: each costs much to open, and what one brings shall leave room for what others bring. */
const PER_SERVER = { rate: 50, burst: 1000, keys: 64 }
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** Sealed signals in messages that nobody shall keep (XEP-0334). */
export class StanzaSignals {
  readonly #clock: Clock
  readonly #refusals: Refusals
  readonly #perServer = new TokenBuckets(PER_SERVER)
  readonly #listeners = new Set<{ readonly listener: (sealed: Uint8Array) => void }>()

  constructor({ clock, refusals }: { readonly clock: Clock; readonly refusals: Refusals }) {
    this.#clock = clock
    this.#refusals = refusals
  }

  listen(listener: (sealed: Uint8Array) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  /** `headline`: dropped where nobody has the full address just then (RFC 6121 section 8.5.3.2.1). */
  stanza(to: string, sealed: Uint8Array, type: 'chat' | 'headline' = 'chat'): Element {
    return xml(
      'message',
      { to, type },
      xml('signal', { xmlns: NS.signal }, Buffer.from(sealed).toString('base64')),
      xml('no-store', { xmlns: NS.hints }),
      xml('no-copy', { xmlns: NS.hints }),
      xml('no-permanent-store', { xmlns: NS.hints }),
    )
  }

  /** Takes the signal that a message holds; `server` tells where it came from. */
  take(server: string, signal: Element): void {
    const text = signal.getText()
    if (text.length > Math.ceil(MAX_SEALED / 3) * 4) return this.#refusals.count('peer.oversized')
    if (!BASE64.test(text)) return this.#refusals.count('peer.bad-signal')
    if (!this.#perServer.take(server, this.#clock.now())) return this.#refusals.count('peer.rate-limited')
    const sealed = Buffer.from(text, 'base64')
    for (const { listener } of [...this.#listeners]) listener(sealed)
  }
}
