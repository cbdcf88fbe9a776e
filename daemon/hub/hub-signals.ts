import type { Element } from 'ltx'
import type { Refusals } from '../refusals.ts'
import { MAX_SEALED } from '../signaling/envelope.ts'
import { NS } from '../xmpp/namespaces.ts'
import { xml } from '../xmpp/stanzas.ts'

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** Sealed signals in messages that nobody shall keep (XEP-0334). */
export class HubSignals {
  readonly #refusals: Refusals
  readonly #listeners = new Set<{ readonly listener: (sealed: Uint8Array) => void }>()

  constructor(refusals: Refusals) {
    this.#refusals = refusals
  }

  listen(listener: (sealed: Uint8Array) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  stanza(to: string, sealed: Uint8Array): Element {
    return xml(
      'message',
      { to, type: 'chat' },
      xml('signal', { xmlns: NS.signal }, Buffer.from(sealed).toString('base64')),
      xml('no-store', { xmlns: NS.hints }),
      xml('no-copy', { xmlns: NS.hints }),
    )
  }

  /** Takes the signal that a message holds. */
  take(signal: Element): void {
    const text = signal.getText()
    if (text.length > Math.ceil(MAX_SEALED / 3) * 4) return this.#refusals.count('peer.oversized')
    if (!BASE64.test(text)) return this.#refusals.count('peer.bad-signal')
    const sealed = Buffer.from(text, 'base64')
    for (const { listener } of [...this.#listeners]) listener(sealed)
  }
}
