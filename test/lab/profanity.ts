import { X509Certificate } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Lab } from './lab.ts'
import { eventually } from './patience.ts'
import type { Account } from './slixmpp.ts'
import { Terminal } from './terminal.ts'

/** What `Profanity` needs of the machine, for `labMissing`. */
export const PROFANITY_NEEDS = ['profanity', 'tmux'] as const

/** A Profanity on a terminal of a lab host, with settings of its own. */
export class Profanity {
  readonly #terminal: Terminal
  readonly #domain: string

  private constructor(terminal: Terminal, domain: string) {
    this.#terminal = terminal
    this.#domain = domain
  }

  /** Starts it and connects by direct TLS. It knows no such certificate and asks: see `trust`. */
  static async start(
    lab: Lab,
    host: string,
    { address, port, jid, password }: Omit<Account, 'caFile'>,
  ): Promise<Profanity> {
    const folder = join(lab.folder, host, 'profanity')
    await mkdir(folder, { recursive: true })
    const places = [`HOME=${folder}`, `XDG_CONFIG_HOME=${folder}/config`, `XDG_DATA_HOME=${folder}/data`]
    const terminal = await Terminal.start(lab, host, ['env', 'TERM=screen', ...places, 'profanity'])
    await terminal.waitFor('[offline]')
    await terminal.enter(`/connect ${jid} server ${address} port ${port} tls legacy`)
    await terminal.waitFor('Enter password:')
    await terminal.enter(password)
    return new Profanity(terminal, jid.slice(jid.indexOf('@') + 1))
  }

  /** Compares the fingerprint it shows with that of the file, as a user would, and trusts the certificate for good if they are the same. */
  async trust(caFile: string): Promise<void> {
    const { fingerprint } = new X509Certificate(await readFile(caFile))
    await this.waitFor(new RegExp(`Fingerprint +: ${fingerprint.replaceAll(':', '')}`, 'i'))
    await this.waitFor("Use '/tls deny' to reject this certificate.")
    await this.#terminal.enter('/tls always')
  }

  async loggedIn(): Promise<void> {
    await this.waitFor('logged in successfully')
  }

  /** Resolves when somebody on the contact list is there under this address. */
  async sees(local: string): Promise<void> {
    const address = `${local}@${this.#domain}`
    await this.#terminal.enter('/win 1')
    await eventually(
      `Profanity sees ${address}`,
      async () => {
        await this.#terminal.enter(`/info ${address}`)
        return new RegExp(`${address} [^@]*Resources:`).test(await this.screen())
      },
      () => this.screen(),
    )
  }

  async send(local: string, text: string): Promise<void> {
    await this.#terminal.enter(`/msg ${local}@${this.#domain} ${text}`)
  }

  /** Resolves when the window of the chat with somebody shows this. */
  async reads(local: string, text: string): Promise<void> {
    await this.#terminal.enter(`/msg ${local}@${this.#domain}`)
    await this.waitFor(text)
  }

  waitFor(text: string | RegExp): Promise<string> {
    return this.#terminal.waitFor(text)
  }

  screen(): Promise<string> {
    return this.#terminal.screen()
  }

  async quit(): Promise<void> {
    await this.#terminal.enter('/quit')
    await this.#terminal.ended()
  }
}
