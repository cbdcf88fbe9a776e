import { setTimeout as sleep } from 'node:timers/promises'
import { toPartylineError } from '../../daemon/errors.ts'
import { receiveFiles } from '../../ipc/files/receiver.ts'
import { sendFiles } from '../../ipc/files/sender.ts'
import type { Client } from '../../ipc/index.ts'
import type { OfferView } from '../../ipc/methods.ts'
import { fakedPeers } from '../commands/session-status.ts'
import { duration, printable, rate, size } from '../format.ts'
import {
  addLine,
  EMPTY_STATE,
  type LogLine,
  nameOf,
  type PartyState,
  someoneIsHere,
  sortPeers,
  takeEvent,
  withTransfer,
} from './party-state.ts'

/** What the view needs of a `Client`. */
export type PartyClient = Pick<Client, 'call' | 'events' | 'fetchOffer' | 'serveOffer'>

/** A second host for somebody who is alone; it leaves when it is disposed of. */
type StartGuest = (self: string) => Promise<AsyncDisposable>

interface PartyOptions {
  readonly client: PartyClient
  readonly startGuest: StartGuest
  /** Milliseconds without anybody after which the view offers company. */
  readonly lonelyAfter?: number
}

/** Round trips and ages are asked for anew this often, in milliseconds. */
const REFRESH = 2000
const LONELY_AFTER = 3000

type Answer = { readonly take: (yes: boolean) => void; readonly over: () => void }

/** What the live view shows and does: follows the daemon, and carries out what the keys ask for. */
export class Party {
  readonly #client: PartyClient
  readonly #options: PartyOptions
  readonly #listeners = new Set<() => void>()
  readonly #stop = new AbortController()
  /** Offers that wait for the user, by id. */
  readonly #answers = new Map<string, Answer>()
  readonly #running: Promise<void>[] = []
  #guest: Promise<AsyncDisposable | undefined> | undefined
  #state: PartyState = EMPTY_STATE

  constructor(options: PartyOptions) {
    this.#options = options
    this.#client = options.client
  }

  readonly state = (): PartyState => this.#state

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Begins to follow the daemon; resolves once the first picture is complete. */
  async start(): Promise<void> {
    const events = await this.#client.events(['peers', 'sessions', 'network', 'files', 'chat', 'presence'])
    const identity = await this.#client.call('identity.get', {})
    this.#change((state) => ({ ...state, ...identity }))
    await this.#refresh()
    const offers = await this.#client.call('files.list', {})
    this.#change((state) => ({
      ...state,
      offers: offers.filter((offer) => offer.direction === 'in' && offer.state === 'offered'),
    }))
    this.#stop.signal.addEventListener('abort', () => void events.return?.())
    this.#run(async () => {
      for await (const event of events) {
        this.#change((state) => takeEvent(state, event, Date.now()))
        if (event.name === 'files.changed' && event.params.offer.state !== 'offered')
          this.#answers.get(event.params.offer.offer)?.over()
        if (event.name === 'network.changed' || event.name === 'reconnected' || event.name === 'events.lost')
          await this.#refresh()
      }
    })
    this.#run(async () => {
      for (;;) {
        await this.#pause(REFRESH)
        await this.#refresh()
      }
    })
    this.#run(async () => {
      await this.#pause(this.#options.lonelyAfter ?? LONELY_AFTER)
      this.#change((state) => ({ ...state, lonely: !someoneIsHere(state.peers) }))
    })
  }

  /** Takes offers the user says yes to, into `dir`. */
  receiveInto(dir: string): void {
    this.#run(async () => {
      const names = new Map<string, string>()
      const options = {
        dir,
        accept: 'ask',
        ask: (offer: OfferView) => this.#ask(offer),
        signal: this.#stop.signal,
      } as const
      for await (const event of receiveFiles(this.#client, options)) {
        if (event.kind === 'offer') names.set(event.offer.offer, printable(event.offer.name))
        const id = 'offer' in event && typeof event.offer === 'string' ? event.offer : ''
        const name = names.get(id) ?? 'files'
        if (event.kind === 'progress')
          this.#change((state) => withTransfer(state, id, { ...event, direction: 'in', name }))
        if (event.kind === 'file-failed') this.tell('bad', `${printable(event.file)}: ${printable(event.message)}`)
        if (event.kind === 'done') this.#finish(id, 'good', `received ${name}: ${carried(event)}; it is in ${dir}`)
        if (event.kind === 'failed') this.#finish(id, 'bad', `${name} did not arrive: ${printable(event.message)}`)
      }
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    for (const { over } of this.#answers.values()) over()
    const guest = await this.#guest
    await guest?.[Symbol.asyncDispose]()
    await Promise.all(this.#running)
  }

  /** Adds a line to what happened. */
  tell(kind: LogLine['kind'], text: string): void {
    this.#change((state) => addLine(state, Date.now(), kind, text))
  }

  ping(peer: string): void {
    this.#run(async () => {
      const { rtt, route } = await this.#client.call('sessions.ping', { peer })
      this.tell('info', `${nameOf(this.#state, peer)} answered in ${duration(rtt)} (${route})`)
      await this.#refresh()
    })
  }

  chat(peer: string, text: string): void {
    this.#run(async () => {
      await this.#client.call('chat.send', { peer, text })
    })
  }

  /** Offers a file or folder, and sends it when it is taken. */
  offer(peer: string, path: string): void {
    this.#run(async () => {
      const to = nameOf(this.#state, peer)
      let name = path
      let id = ''
      try {
        for await (const event of sendFiles(this.#client, { peer, paths: [path], signal: this.#stop.signal })) {
          if (event.kind === 'warning') this.tell('bad', printable(event.message))
          if (event.kind === 'offered') {
            id = event.offer.offer
            name = printable(event.offer.name)
            this.tell('info', `offered ${name} (${size(event.offer.bytes)}) to ${to}`)
          }
          if (event.kind === 'progress')
            this.#change((state) => withTransfer(state, id, { ...event, direction: 'out', name }))
          if (event.kind === 'done') this.#finish(id, 'good', `sent ${name} to ${to}: ${carried(event)}`)
        }
      } finally {
        this.#change((state) => withTransfer(state, id, undefined))
      }
    })
  }

  /** Takes the oldest offer that waits, or refuses it. */
  answerOffer(yes: boolean): void {
    const [offer] = this.#state.offers
    if (!offer) return
    this.#answers.get(offer.offer)?.take(yes)
    this.#change((state) => ({ ...state, offers: state.offers.filter((other) => other.offer !== offer.offer) }))
  }

  /** Brings a second, temporary host to this machine. */
  inviteGuest(): void {
    if (this.#guest) return
    this.#change((state) => ({ ...state, guest: 'starting', lonely: false }))
    this.tell('info', 'starting a second, temporary host on this machine')
    this.#guest = this.#options.startGuest(this.#state.id).then(
      (guest) => {
        this.#change((state) => ({ ...state, guest: 'here' }))
        return guest
      },
      (error) => {
        this.tell('bad', toPartylineError(error).message)
        this.#change((state) => ({ ...state, guest: 'none' }))
        this.#guest = undefined
        return undefined
      },
    )
  }

  #finish(offer: string, kind: LogLine['kind'], text: string): void {
    this.#change((state) => withTransfer(state, offer, undefined))
    this.tell(kind, text)
  }

  /** Waits for the user; rejects when the offer ends in another way, which leaves it alone. */
  #ask({ offer }: OfferView): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>()
    this.#answers.set(offer, { take: resolve, over: () => reject(new Error('the offer ended')) })
    return promise.finally(() => this.#answers.delete(offer))
  }

  async #refresh(): Promise<void> {
    const [status, peers, presence, faked] = await Promise.all([
      this.#client.call('daemon.status', {}),
      this.#client.call('peers.list', {}),
      this.#client.call('presence.get', {}),
      fakedPeers(this.#client),
    ])
    const { name, port, interfaces } = status
    this.#change((before) => {
      // Who is in the list and was in no event yet is told of as by an event.
      const state = peers
        .filter(({ id }) => !before.peers.some((known) => known.id === id))
        .reduce(
          (told, peer) => takeEvent(told, { name: 'peers.changed', seq: 0, params: { peer } }, Date.now()),
          before,
        )
      return { ...state, name, port, presence, interfaces, faked, peers: sortPeers(peers) }
    })
  }

  #pause(milliseconds: number): Promise<void> {
    return sleep(milliseconds, undefined, { signal: this.#stop.signal })
  }

  /** Runs something in the background; what goes wrong is told in the log, unless the view is ending. */
  #run(task: () => Promise<void>): void {
    const running = task().catch((error) => {
      if (this.#stop.signal.aborted) return
      const { message, hint } = toPartylineError(error)
      this.tell('bad', `${printable(message)}. ${hint}`)
    })
    this.#running.push(running)
    void running.then(() => this.#running.splice(this.#running.indexOf(running), 1))
  }

  #change(next: (state: PartyState) => PartyState): void {
    this.#state = next(this.#state)
    for (const listener of this.#listeners) listener()
  }
}

function carried({ files, bytes, elapsed }: { files: number; bytes: number; elapsed: number }): string {
  const count = files === 1 ? '' : `${files} files, `
  return `${count}${size(bytes)} in ${duration(elapsed)} (${rate((bytes * 8000) / Math.max(1, elapsed))})`
}
