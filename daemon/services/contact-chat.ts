import type { ContactId } from '../types.ts'

/** Chat with people who use plain XMPP clients, in the clear: over a stream of their own on the LAN, or through their hub. */
export interface ContactChat {
  /** Resolves when the line has been handed over, with the way it went. Rejects with a `network.*` error. */
  send(contact: ContactId, text: string): Promise<'lan' | 'hub'>
  /** Tells that the user is writing, or stopped to (XEP-0085); best effort. */
  composing(contact: ContactId, composing: boolean): void
}
