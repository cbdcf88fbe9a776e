import type { Lab } from './lab.ts'
import { eventually } from './patience.ts'
import { Scripted, type Told } from './scripted.ts'

/** What `Slixmpp` needs of the machine, for `labMissing`. */
export const SLIXMPP_NEEDS = ['python3:slixmpp'] as const

const CLIENT = new URL('./slixmpp-client.py', import.meta.url).pathname

/** Where and as whom to log in. */
export interface Account {
  readonly address: string
  readonly port: number
  readonly jid: string
  readonly password: string
  /** File with the certificate that the server has to show, or that of who signed it. */
  readonly caFile: string
}

/** Somebody on the contact list. */
export interface Contact {
  readonly jid: string
  readonly name: string
  readonly subscription: string
  /** Present now. */
  readonly here: boolean
  readonly show: string
}

/** A client made of slixmpp, on a lab host. It verifies the server's certificate. */
export class Slixmpp {
  readonly #client: Scripted

  private constructor(client: Scripted) {
    this.#client = client
  }

  /** Starts it; what comes of that is told by `loggedIn` or `refused`. */
  static start(lab: Lab, host: string, { address, port, jid, password, caFile }: Account): Slixmpp {
    return new Slixmpp(new Scripted(lab.spawn(host, [CLIENT, address, String(port), jid, password, caFile])))
  }

  /** Resolves when it is logged in and has the roster. */
  async loggedIn(): Promise<void> {
    await this.until('is logged in', (told) => told.event === 'connected')
  }

  /** Resolves to why it was not let in, or did not want to: `failed_auth`, `untrusted`, `error`. */
  async refused(): Promise<string> {
    const told = await this.until('is refused', ({ event }) => ['failed_auth', 'untrusted', 'error'].includes(event))
    return told.event
  }

  async send(to: string, text: string): Promise<void> {
    await this.#client.call('send', { to, text })
  }

  /** `show` is that of RFC 6121 section 4.7.2.1, empty for available. */
  async presence(show: '' | 'away' | 'dnd', text = ''): Promise<void> {
    await this.#client.call('presence', { show, text })
  }

  async roster(): Promise<readonly Contact[]> {
    return (await this.#client.call('roster')) as Contact[]
  }

  /** Resolves when somebody on the contact list is present. */
  async untilSees(jid: string): Promise<void> {
    await eventually(
      `slixmpp sees ${jid}`,
      async () => (await this.roster()).some((contact) => contact.jid === jid && contact.here),
      async () => JSON.stringify(await this.roster(), undefined, 1),
    )
  }

  /** The round trip of an XEP-0199 ping, in seconds. Throws the error's condition. */
  async ping(to: string): Promise<number> {
    return (await this.#client.call('ping', { to })) as number
  }

  async disco(to: string): Promise<{ identities: readonly (readonly string[])[]; features: readonly string[] }> {
    return (await this.#client.call('disco', { to })) as never
  }

  /** The nickname of somebody's vCard (XEP-0054). */
  async vcard(to: string): Promise<string> {
    return (await this.#client.call('vcard', { to })) as string
  }

  /** Sends a stanza as it is. */
  async raw(xml: string): Promise<void> {
    await this.#client.call('raw', { xml })
  }

  until(what: string, condition: (told: Told) => boolean): Promise<Told> {
    return this.#client.until(`slixmpp: ${what}`, condition)
  }

  /** Resolves when a message of this text has come, and tells from whom. */
  async receives(text: string): Promise<string> {
    return String((await this.until(`receives ${text}`, (told) => told.event === 'message' && told.text === text)).from)
  }

  /** Everything it told so far, oldest first. */
  get told(): readonly Told[] {
    return this.#client.told
  }

  /** Logs out; resolves when the program has ended. */
  async quit(): Promise<void> {
    await this.#client.end()
  }
}
