import type { Element } from 'ltx'
import { cleanLines } from '../clean-text.ts'
import type { Clock } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { ContactId, HostPort, Milliseconds } from '../types.ts'
import { addressOf, type Contacts, contactId } from '../xmpp/contacts.ts'
import { NS } from '../xmpp/namespaces.ts'
import { runsPartyline } from '../xmpp/plain-chat.ts'
import { bodyOf, chatStateOf, isChatText, xml } from '../xmpp/stanzas.ts'
import { parseAddress } from './address.ts'
import type { HubMembership } from './hub-membership.ts'
import type { HubMember } from './hub-roster.ts'

/** How long a hub has to say that a message cannot be delivered. */
const REFUSAL_PATIENCE: Milliseconds = 2000
/** Messages taken from one person. */
const PER_PERSON = { rate: 5, burst: 30, keys: 1024 }

interface ChatOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly contacts: Contacts
  readonly onChat: (from: ContactId, text: string) => void
  readonly onComposing?: (from: ContactId, composing: boolean) => void
}

/**
 * People with XMPP clients at hubs. Nothing proves who they are but their hub; so a domain is that of the first hub that has it, for as long as
 * that hub is known and has no other, and whom another hub shows under it is nobody.
 */
export class HubChat {
  readonly #options: ChatOptions
  readonly #owners = new Map<string, HubMembership>()
  readonly #received = new TokenBuckets(PER_PERSON)

  constructor(options: ChatOptions) {
    this.#options = options
  }

  /** A person is at a hub, or changed. */
  there(hub: HubMembership, { jid, name, presence }: HubMember, at: HostPort & { readonly interface: string }): void {
    const { contacts, refusals } = this.#options
    const id = contactId(jid)
    const isOnLan = contacts.get(id)?.sightings.some(({ method }) => method === 'xmpp')
    if (!this.#owns(hub) || isOnLan) return refusals.count('peer.impersonation')
    contacts.set({ id, name, presence, sightings: [{ ...at, method: 'hub' }] })
  }

  gone(hub: HubMembership, { jid }: HubMember): void {
    const { contacts } = this.#options
    const id = contactId(jid)
    const isOurs = contacts.get(id)?.sightings.every(({ method }) => method === 'hub')
    if (isOurs && this.#owns(hub)) contacts.remove(id)
  }

  /** The hub is known no more: its domain is free. */
  forget(hub: HubMembership): void {
    for (const [domain, owner] of this.#owners) if (owner === hub) this.#owners.delete(domain)
  }

  /** A message of somebody who is at the hub. */
  take(hub: HubMembership, message: Element, { jid, peer }: HubMember): void {
    const { clock, refusals, onChat, onComposing } = this.#options
    const { type = 'normal', id, from } = message.attrs
    if (type !== 'chat' && type !== 'normal') return
    const text = bodyOf(message) ?? ''
    const hasText = text.trim() !== ''
    // Hosts chat through their session or a sealed signal: in the clear it is somebody in their name.
    if (peer || !this.#owns(hub)) return hasText ? refusals.count('peer.impersonation') : undefined
    const state = chatStateOf(message)
    if (!hasText) return state && onComposing?.(contactId(jid), state === 'composing')
    if (!isChatText(text)) return refusals.count('peer.oversized')
    if (!this.#received.take(jid, clock.now())) return refusals.count('peer.rate-limited')
    onChat(contactId(jid), text)
    if (id !== undefined && message.getChild('request', NS.receipts))
      hub.answer(xml('message', { to: from, type: 'chat' }, xml('received', { xmlns: NS.receipts, id })))
  }

  /** Rejects with `network.unreachable`, `network.lost`, `peer.busy`, `usage.too-large` or `usage.invalid-argument`. */
  async send(contact: ContactId, text: string): Promise<void> {
    const clean = cleanLines(text)
    if (clean.trim() === '') throw new PartylineError('usage.invalid-argument', 'the message is empty')
    if (!isChatText(clean)) throw new PartylineError('usage.too-large', 'a message takes at most 4096 bytes')
    const jid = addressOf(contact)
    const hub = this.#owners.get(parseAddress(jid)?.domain ?? '')
    const member = hub?.find(jid)
    if (!hub || !member) throw new PartylineError('network.unreachable', `${jid} is at no hub that this host is at`)
    if (member.peer) throw runsPartyline(jid)
    const message = xml(
      'message',
      { to: jid, type: 'chat' },
      xml('body', {}, clean),
      xml('active', { xmlns: NS.chatStates }),
    )
    await hub.deliver(message, REFUSAL_PATIENCE)
  }

  #owns(hub: HubMembership): boolean {
    const { domain } = hub
    const owner = this.#owners.get(domain)
    if (owner === hub) return true
    if (owner) {
      this.#options.logger.debug('two hubs have the same domain', { domain, hubs: [owner.peer, hub.peer] })
      return false
    }
    // The one that it has now: a hub that had another with each connection would keep them all.
    this.forget(hub)
    this.#owners.set(domain, hub)
    return true
  }
}
