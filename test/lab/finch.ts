import { join } from 'node:path'
import type { Lab } from './lab.ts'
import { eventually } from './patience.ts'
import { Scripted } from './scripted.ts'
import { Terminal } from './terminal.ts'

/** What `Finch` needs of the machine, for `labMissing`. */
export const FINCH_NEEDS = ['finch', 'tmux', 'avahi-daemon', 'dbus-daemon', 'python3:dbus', 'python3:gi'] as const

const BRIDGE = new URL('./finch-bridge.py', import.meta.url).pathname

/** Somebody in Finch's buddy list. */
export interface Buddy {
  /** The instance of XEP-0174: `alice@h1`. */
  readonly name: string
  /** What the list shows. */
  readonly alias: string
  readonly online: boolean
  /** libpurple's word: `available` or `away`. */
  readonly status: string
  readonly text: string
}

/** A Finch with a Bonjour (XEP-0174) account on a lab host, whose avahi it uses. Steered over D-Bus; it runs on a terminal. */
export class Finch {
  /** Its instance of XEP-0174. */
  readonly name: string
  readonly #bridge: Scripted
  readonly #terminal: Terminal

  private constructor(name: string, bridge: Scripted, terminal: Terminal) {
    this.name = name
    this.#bridge = bridge
    this.#terminal = terminal
  }

  /** Starts avahi and Finch, and resolves when Finch is online. */
  static async start(lab: Lab, host: string, nick: string): Promise<Finch> {
    await lab.svc(host, 'avahi')
    await lab.svc(host, 'finch', nick)
    const bridge = new Scripted(lab.spawn(host, [BRIDGE, `unix:path=${join(lab.folder, host, 'finch/bus')}`]))
    const finch = new Finch(`${nick}@${host}`, bridge, Terminal.of(lab, host))
    await eventually(
      'Finch is online',
      async () => (await bridge.call('online')) === true,
      () => finch.screen(),
    )
    return finch
  }

  /** Sends a chat message to a buddy, by its instance name. */
  async send(to: string, text: string): Promise<void> {
    await this.#bridge.call('send', { to, text })
  }

  async setAway(text = ''): Promise<void> {
    await this.#bridge.call('status', { away: true, text })
  }

  async setAvailable(text = ''): Promise<void> {
    await this.#bridge.call('status', { away: false, text })
  }

  async buddies(): Promise<readonly Buddy[]> {
    return (await this.#bridge.call('buddies')) as Buddy[]
  }

  /** Resolves to the list of buddies once it is as wanted. */
  until(what: string, condition: (buddies: readonly Buddy[]) => boolean): Promise<readonly Buddy[]> {
    return eventually(
      `Finch's buddies: ${what}`,
      async () => {
        const buddies = await this.buddies()
        return condition(buddies) && buddies
      },
      async () => `${JSON.stringify(await this.buddies(), undefined, 1)}\n${await this.screen()}`,
    )
  }

  /** Resolves when a message of this text has come, and tells from whom. */
  async receives(text: string): Promise<string> {
    const told = await this.#bridge.until(
      `Finch receives ${text}`,
      (told) => told.event === 'message' && told.text === text,
    )
    return String(told.from)
  }

  screen(): Promise<string> {
    return this.#terminal.screen()
  }

  /** Leaves with a goodbye; resolves when Finch has ended. */
  async quit(): Promise<void> {
    await this.#bridge.call('quit')
    await this.#bridge.end()
  }
}
