import type { Client } from '../../ipc/index.ts'
import type { ChatLine, PeerView, StatusView } from '../../ipc/methods.ts'
import { peerName, printable } from '../format.ts'

/** Lines of what happened that are kept. */
const MAX_HAPPENINGS = 200

export interface Happening {
  readonly at: number
  readonly text: string
  readonly tone: 'plain' | 'good' | 'bad' | 'chat'
}

export interface Transfer {
  readonly title: string
  readonly bytes: number
  readonly total: number
  readonly rate: number
  readonly remaining: number | null
}

/** What the view shows. */
export interface PartyState {
  readonly status: StatusView
  readonly words: readonly string[]
  readonly peers: readonly PeerView[]
  readonly happenings: readonly Happening[]
  readonly transfer: Transfer | undefined
}

/** Follows a daemon and keeps what the view shows; tells its listeners of every change. */
export class PartyFollower {
  readonly #client: Client
  readonly #listeners = new Set<() => void>()
  #state: PartyState

  private constructor(client: Client, state: PartyState) {
    this.#client = client
    this.#state = state
  }

  static async start(client: Client): Promise<PartyFollower> {
    const events = await client.events(['peers', 'sessions', 'network', 'files', 'chat'])
    const [status, { words }, peers] = await Promise.all([
      client.call('daemon.status', {}),
      client.call('identity.get', {}),
      client.call('peers.list', {}),
    ])
    const follower = new PartyFollower(client, { status, words, peers, happenings: [], transfer: undefined })
    void follower.#follow(events)
    return follower
  }

  get state(): PartyState {
    return this.#state
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(text: string, tone: Happening['tone'] = 'plain'): void {
    const happenings = [...this.#state.happenings, { at: Date.now(), text, tone }].slice(-MAX_HAPPENINGS)
    this.#update({ happenings })
  }

  transferring(transfer: Transfer | undefined): void {
    this.#update({ transfer })
  }

  nameOf(id: string): string {
    return peerName(this.#state.peers.find((peer) => peer.id === id) ?? { id, name: '', petname: '' })
  }

  #update(change: Partial<PartyState>): void {
    this.#state = { ...this.#state, ...change }
    for (const listener of this.#listeners) listener()
  }

  async #follow(events: Awaited<ReturnType<Client['events']>>): Promise<void> {
    for await (const event of events) {
      const before = this.#state.peers
      if (
        event.name === 'peers.changed' ||
        event.name === 'peers.gone' ||
        event.name === 'sessions.opened' ||
        event.name === 'reconnected'
      )
        this.#update({ peers: await this.#client.call('peers.list', {}) })
      switch (event.name) {
        case 'peers.changed': {
          const { peer } = event.params
          if (before.some(({ id, state }) => id === peer.id && state !== 'away')) break
          const [sighting] = peer.sightings
          this.tell(`${peerName(peer)} is here${sighting ? ` (${sighting.method}, ${sighting.address})` : ''}`, 'good')
          break
        }
        case 'peers.gone':
          this.tell(`${printable(event.params.name) || event.params.id.slice(0, 12)} left`)
          break
        case 'sessions.opened':
          this.tell(
            `connected to ${this.nameOf(event.params.session.peer)}: ${event.params.session.route}, ${event.params.session.group}`,
            'good',
          )
          break
        case 'sessions.closed':
          this.tell(
            `session with ${this.nameOf(event.params.peer)} ended${event.params.message ? `: ${printable(event.params.message)}` : ''}`,
          )
          break
        case 'network.changed':
          this.tell(describeNetwork(event.params))
          this.#update({ status: await this.#client.call('daemon.status', {}) })
          break
        case 'files.changed': {
          const { offer } = event.params
          if (offer.direction === 'in' && offer.state === 'offered')
            this.tell(`${this.nameOf(offer.peer)} offers ${printable(offer.name)}`, 'chat')
          break
        }
        case 'chat.received':
          this.tell(chatText(event.params.line, this.nameOf(event.params.line.peer)), 'chat')
          break
      }
    }
  }
}

function chatText({ direction, text, encrypted }: ChatLine, name: string): string {
  return `${direction === 'in' ? name : `to ${name}`}${encrypted ? '' : ' (not encrypted)'}: ${printable(text)}`
}

function describeNetwork({
  appeared,
  vanished,
  altered,
  slept,
}: {
  appeared: string[]
  vanished: string[]
  altered: string[]
  slept: number
}): string {
  const parts = [
    ...appeared.map((name) => `${name} is up`),
    ...vanished.map((name) => `${name} is down`),
    ...altered.map((name) => `${name} has other addresses`),
    ...(slept > 0 ? [`woke after ${Math.round(slept / 1000)} s of sleep`] : []),
  ]
  return parts.join(', ')
}
