import { type Client, connect } from '../../ipc/index.ts'
import type { ChatLine, HubStatus, PeerView, SessionView, Topic } from '../../ipc/methods.ts'
import { type DaemonOptions, type Lab, type LabDaemon, startDaemon } from '../lab/lab.ts'

/** How long something may take before the test fails. Not a measure: hosts that do not say goodbye are missed after some 25 s. */
const PATIENCE = 55_000

/** A daemon in a lab host, with an app connected to its control socket. */
export class Guest {
  readonly host: string
  daemon: LabDaemon
  client: Client
  readonly #lab: Lab

  private constructor(lab: Lab, host: string, daemon: LabDaemon, client: Client) {
    this.#lab = lab
    this.host = host
    this.daemon = daemon
    this.client = client
  }

  static async join(
    lab: Lab,
    host: string,
    args: readonly string[] = [],
    options: Omit<DaemonOptions, 'args'> = {},
  ): Promise<Guest> {
    const daemon = await startDaemon(lab, host, { args, ...options })
    const client = await connect({ home: daemon.home, app: 'scenario', control: true })
    return new Guest(lab, host, daemon, client)
  }

  get id(): string {
    return this.daemon.id
  }

  /** SIGKILL, and the same home started again. */
  async restart(): Promise<void> {
    await this.daemon.kill()
    await this.client.close()
    const next = await Guest.join(this.#lab, this.host, [], { home: this.daemon.home })
    this.daemon = next.daemon
    this.client = next.client
  }

  /** What this guest's list says of a peer, if it is there. */
  async sees(id: string): Promise<PeerView | undefined> {
    const peers = await this.client.call('peers.list', {})
    return peers.find((peer) => peer.id === id && peer.state !== 'away')
  }

  /** Resolves when the list satisfies `condition`; asks again on every change of a peer. */
  until(condition: (peers: readonly PeerView[]) => boolean): Promise<readonly PeerView[]> {
    return this.#settled('peers', () => this.client.call('peers.list', {}), condition)
  }

  /** Resolves when every one of these is in the list. */
  async untilSees(...ids: readonly string[]): Promise<void> {
    await this.until((peers) => ids.every((id) => peers.some((peer) => peer.id === id && peer.state !== 'away')))
  }

  /** Resolves when none of these is in the list any more. */
  async untilGone(...ids: readonly string[]): Promise<void> {
    await this.until((peers) => !peers.some((peer) => ids.includes(peer.id) && peer.state !== 'away'))
  }

  /** The plain XMPP clients in this guest's list. */
  async contacts(): Promise<readonly PeerView[]> {
    return (await this.client.call('peers.list', {})).filter((peer) => peer.kind === 'chat')
  }

  /** Resolves to what the list says of a plain XMPP client, by its name or address, once that is as wanted. */
  async untilContact(who: string, condition: (contact: PeerView) => boolean = () => true): Promise<PeerView> {
    const wanted = (peer: PeerView) => isContact(peer, who) && condition(peer)
    const found = (await this.until((peers) => peers.some(wanted))).find(wanted)
    if (!found) throw new Error('unreachable: the list had it')
    return found
  }

  /** Resolves when the list has no such plain XMPP client any more. */
  async untilNoContact(who: string): Promise<void> {
    await this.until((peers) => !peers.some((peer) => isContact(peer, who)))
  }

  /** Resolves to the chat line of this text, come or still to come. */
  async hears(text: string): Promise<ChatLine> {
    const isIt = (line: ChatLine) => line.direction === 'in' && line.text === text
    const history = () => this.client.call('chat.history', {})
    const heard = (await this.#settled('chat', history, (lines) => lines.some(isIt))).find(isIt)
    if (!heard) throw new Error('unreachable: the history had it')
    return heard
  }

  /** Resolves when what it knows of hubs is as wanted. */
  untilHub(condition: (status: HubStatus) => boolean): Promise<HubStatus> {
    return this.#settled('hub', () => this.client.call('hub.status', {}), condition)
  }

  /** Resolves when somebody has joined a hub. */
  untilJoined(): Promise<HubStatus> {
    return this.untilHub(({ hubs }) => hubs.some((hub) => hub.state === 'joined'))
  }

  /** Resolves when the session with this peer has a link, by the route or by one of them. */
  async untilRoute(peer: string, ...routes: readonly string[]): Promise<string> {
    const routeOf = (sessions: readonly SessionView[]) =>
      sessions.find((one) => one.peer === peer && one.state === 'open')?.route ?? ''
    const list = () => this.client.call('sessions.list', {})
    return routeOf(await this.#settled('sessions', list, (sessions) => routes.includes(routeOf(sessions))))
  }

  /** What `look` gives once it is as wanted; looks again on every event of the topic. A failure shows what there was instead. */
  async #settled<T>(topic: Topic, look: () => Promise<T>, wanted: (found: T) => boolean): Promise<T> {
    const events = await this.client.events([topic])
    const patience = setTimeout(() => void events.return?.(), PATIENCE)
    try {
      for (;;) {
        const found = await look()
        if (wanted(found)) return found
        if ((await events.next()).done)
          throw new Error(
            `${this.host}, after ${PATIENCE / 1000} s: ${JSON.stringify(await look(), undefined, 1)}\n${this.daemon.log()}`,
          )
      }
    } finally {
      clearTimeout(patience)
      await events.return?.()
    }
  }

  /** Runs a command of this guest with --json and gives what it printed last. Throws when it fails. */
  async json(args: readonly string[], input?: string): Promise<unknown> {
    const { code, stdout, stderr } = await this.daemon.cli([...args, '--json'], input === undefined ? {} : { input })
    if (code !== 0) throw new Error(`partyline ${args.join(' ')}: ${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  }

  async leave(): Promise<void> {
    await this.client.close()
    await this.daemon.stop()
  }
}

const isContact = (peer: PeerView, who: string): boolean =>
  peer.kind === 'chat' && (peer.name === who || peer.id === `xmpp:${who}`)

/** Everyone sees everyone. */
export async function allSeeAll(guests: readonly Guest[]): Promise<void> {
  await Promise.all(
    guests.map((guest) => guest.untilSees(...guests.filter((other) => other !== guest).map((other) => other.id))),
  )
}
