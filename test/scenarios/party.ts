import { type Client, connect } from '../../ipc/index.ts'
import type { PeerView } from '../../ipc/methods.ts'
import { type Lab, type LabDaemon, startDaemon } from '../lab/lab.ts'

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

  static async join(lab: Lab, host: string, args: readonly string[] = [], home?: string): Promise<Guest> {
    const daemon = await startDaemon(lab, host, { args: [...args], ...(home && { home }) })
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
    const next = await Guest.join(this.#lab, this.host, [], this.daemon.home)
    this.daemon = next.daemon
    this.client = next.client
  }

  /** What this guest's list says of a peer, if it is there. */
  async sees(id: string): Promise<PeerView | undefined> {
    const peers = await this.client.call('peers.list', {})
    return peers.find((peer) => peer.id === id && peer.state !== 'away')
  }

  /** Resolves when the list satisfies `condition`; asks again on every change of a peer. */
  async until(condition: (peers: readonly PeerView[]) => boolean): Promise<readonly PeerView[]> {
    const events = await this.client.events(['peers'])
    try {
      for (let peers = await this.client.call('peers.list', {}); ; peers = await this.client.call('peers.list', {})) {
        if (condition(peers)) return peers
        await events.next()
      }
    } finally {
      await events.return?.()
    }
  }

  /** Resolves when every one of these is in the list. */
  async untilSees(...ids: readonly string[]): Promise<void> {
    await this.until((peers) => ids.every((id) => peers.some((peer) => peer.id === id && peer.state !== 'away')))
  }

  /** Resolves when none of these is in the list any more. */
  async untilGone(...ids: readonly string[]): Promise<void> {
    await this.until((peers) => !peers.some((peer) => ids.includes(peer.id) && peer.state !== 'away'))
  }

  async leave(): Promise<void> {
    await this.client.close()
    await this.daemon.stop()
  }
}

/** Everyone sees everyone. */
export async function allSeeAll(guests: readonly Guest[]): Promise<void> {
  await Promise.all(
    guests.map((guest) => guest.untilSees(...guests.filter((other) => other !== guest).map((other) => other.id))),
  )
}
