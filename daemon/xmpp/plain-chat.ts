import { PartylineError } from '../errors.ts'
import type { Hubs } from '../hub/hubs.ts'
import type { ContactChat } from '../services/contact-chat.ts'
import type { ContactId } from '../types.ts'
import { addressOf, type Contacts } from './contacts.ts'
import type { LanRoster } from './lan-roster.ts'
import type { LanStreams } from './lan-streams.ts'

interface PlainChatOptions {
  readonly contacts: Contacts
  readonly hubs: Pick<Hubs, 'sendChat'>
  /** Absent where XMPP on the LAN is switched off. */
  readonly lan?: Pick<LanStreams, 'sendChat' | 'sendChatState'> | undefined
  readonly roster?: Pick<LanRoster, 'find'> | undefined
}

/** Chat with plain XMPP clients, over a stream of their own on the LAN or through their hub. */
export class PlainChat implements ContactChat {
  readonly #options: PlainChatOptions

  constructor(options: PlainChatOptions) {
    this.#options = options
  }

  async send(contact: ContactId, text: string): Promise<'lan' | 'hub'> {
    const { hubs, lan, roster } = this.#options
    if (this.#isAtHub(contact)) {
      await hubs.sendChat(contact, text)
      return 'hub'
    }
    if (!lan) throw new PartylineError('network.unreachable', 'XMPP on the LAN is switched off (discovery.xmpp)')
    const address = addressOf(contact)
    // Hosts take no chat in the clear, and everyone could read it in vain.
    if (roster?.find(address)?.peer) throw runsPartyline(address)
    await lan.sendChat(address, text)
    return 'lan'
  }

  composing(contact: ContactId, composing: boolean): void {
    if (!this.#isAtHub(contact)) this.#options.lan?.sendChatState(addressOf(contact), composing)
  }

  #isAtHub(contact: ContactId): boolean {
    return this.#options.contacts.get(contact)?.sightings[0]?.method === 'hub'
  }
}

/** Why nothing is sent in the clear to the address of a host. */
export function runsPartyline(address: string): PartylineError {
  return new PartylineError('usage.invalid-argument', `${address} runs Partyline, and is not written to in the clear`, {
    hint: 'Chat with it by its name or peer id (`partyline peers`).',
  })
}
