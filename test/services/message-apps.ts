import { PartylineError } from '../../daemon/errors.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { DeliveredMessage } from '../../daemon/services/messages/arrival.ts'
import { type MessageOptions, MessageService } from '../../daemon/services/messages.ts'
import type { IncomingMessage, LaneConfig, SendOptions, Sent, Session } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { MessageRequest } from '../../ipc/api.ts'
import { VirtualClock } from '../virtual-clock.ts'

export const ANNA = 'a'.repeat(52) as PeerId
export const BEN = 'b'.repeat(52) as PeerId

let connections = 0

/** A connection of an app: takes messages until told otherwise. */
export class FakeApp {
  readonly id = ++connections
  readonly user: string
  readonly got: DeliveredMessage[] = []
  readonly requests: MessageRequest[] = []
  readonly holds: boolean[] = []
  readonly #life = new AbortController()
  readonly signal = this.#life.signal
  /** What becomes of what it is given. */
  handOver: () => Promise<void> = () => Promise.resolve()

  constructor(user = 'self') {
    this.user = user
  }

  deliver(message: unknown): Promise<void> {
    this.got.push(message as DeliveredMessage)
    return this.handOver()
  }

  request(request: MessageRequest): void {
    this.requests.push(request)
  }

  hold(on: boolean): void {
    this.holds.push(on)
  }

  close(): void {
    this.#life.abort()
  }

  get texts(): string[] {
    return this.got.map(({ data }) => Buffer.from(data).toString())
  }
}

interface Sending {
  readonly channel: string
  readonly text: string
  readonly options: SendOptions
  readonly resolve: (sent?: Sent) => void
  readonly reject: (code: ConstructorParameters<typeof PartylineError>[0]) => void
}

/** A session that notes what is asked of it; what becomes of a message, the test says. */
export class FakeSession {
  readonly facts: { readonly peer: PeerId }
  readonly sent: Sending[] = []
  readonly lanes: { app: number; lanes: readonly LaneConfig[]; gather: number | undefined }[] = []
  readonly forgotten: number[] = []
  flushes = 0

  constructor(peer: PeerId = ANNA) {
    this.facts = { peer }
  }

  send(channel: string, data: Uint8Array, options: SendOptions = {}): Promise<Sent> {
    const { promise, resolve, reject } = Promise.withResolvers<Sent>()
    const number = this.sent.length + 1
    this.sent.push({
      channel,
      text: Buffer.from(data.subarray(0, 16)).toString(),
      options,
      resolve: (sent = { sent: true, number, via: 'link' }) => resolve(sent),
      reject: (code) => reject(new PartylineError(code)),
    })
    return promise
  }

  configure(app: number, lanes: readonly LaneConfig[], gather?: number): void {
    this.lanes.push({ app, lanes, gather })
  }

  flush(): void {
    this.flushes++
  }

  forget(app: number): void {
    this.forgotten.push(app)
  }

  get texts(): string[] {
    return this.sent.map(({ text }) => text)
  }

  get asSession(): Session {
    return this as unknown as Session
  }
}

/** The service in virtual time, with the sessions that the test opens. */
export class MessageHost {
  readonly clock = new VirtualClock()
  readonly refusals = new Refusals()
  readonly trusted = new Set<PeerId>()
  readonly blocked = new Set<PeerId>()
  readonly sessions = new Map<PeerId, FakeSession>()
  readonly messages: MessageService
  /** How a session is opened where there is none. */
  dial: (peer: PeerId) => Promise<FakeSession> = (peer) => Promise.resolve(this.open(peer))
  opened = 0

  constructor(options: Partial<MessageOptions> = {}) {
    this.messages = new MessageService({
      clock: this.clock,
      refusals: this.refusals,
      open: async (peer) => {
        this.opened++
        return (this.sessions.get(peer) ?? (await this.dial(peer))).asSession
      },
      session: (peer) => this.sessions.get(peer)?.asSession,
      sessions: () => [...this.sessions.values()].map((session) => session.asSession),
      isTrusted: (peer) => this.trusted.has(peer),
      isBlocked: (peer) => this.blocked.has(peer),
      nameOf: (peer) => (peer === ANNA ? 'anna' : 'ben'),
      requestFor: () => 30_000,
      appSend: () => 2 * 1024 * 1024,
      appReceive: () => 2 * 1024 * 1024,
      ...options,
    })
  }

  /** A session opens, as the manager tells the service. */
  open(peer: PeerId = ANNA): FakeSession {
    const session = new FakeSession(peer)
    this.sessions.set(peer, session)
    this.messages.sessionOpened(session.asSession)
    return session
  }

  /** The session ends, as the session itself and the manager tell. */
  lose(peer: PeerId, code: ConstructorParameters<typeof PartylineError>[0]): void {
    const session = this.sessions.get(peer)
    this.sessions.delete(peer)
    for (const { reject } of session?.sent ?? []) reject(code)
    this.messages.sessionClosed(peer)
  }

  listener(channel = 'chess', accept: 'all' | 'trusted' | 'ask' = 'all'): FakeApp {
    const app = new FakeApp()
    this.messages.listen(app, channel, accept)
    return app
  }

  /** A message comes in; returns what is answered to it. */
  arrive(data: string | Uint8Array, more: Partial<IncomingMessage> = {}): string[] {
    const answers: string[] = []
    this.messages.take({
      peer: ANNA,
      channel: 'chess',
      data: typeof data === 'string' ? Buffer.from(data) : data,
      reliable: true,
      lane: 0,
      number: 1,
      via: 'link',
      accept: () => answers.push('accepted'),
      refuse: (code) => answers.push(code),
      ...more,
    })
    return answers
  }
}
