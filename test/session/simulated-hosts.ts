import type { Connector } from '../../daemon/connect/connector.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { SessionStream } from '../../daemon/session/session.ts'
import { SessionManager } from '../../daemon/session/session-manager.ts'
import type { Milliseconds, PeerId } from '../../daemon/types.ts'
import { connectorOf, type SimulatedNetwork, type SimulatedNode } from '../connect/simulated-network.ts'

/** What became of one reliable message: what its sender was told, once it was. */
export interface SentMessage {
  readonly lane: number
  readonly number: number
  fate: string | undefined
}

/** One end of a stream: what went in, what came out, and how it ended. */
export class StreamEnd {
  readonly stream: SessionStream
  written = 0
  read = 0
  /** The first byte that was not the one written there. */
  fault: string | undefined
  outcome: string | undefined
  #isFull = false
  #isEnded = false

  constructor(stream: SessionStream) {
    this.stream = stream
    stream.read({
      data: (chunk) => {
        for (const byte of chunk) if (byte !== byteAt(this.read++)) this.fault ??= `a wrong byte at ${this.read - 1}`
        return true
      },
      end: () => {},
      drain: () => {
        this.#isFull = false
      },
    })
    void stream.outcome.then(({ clean, error }) => {
      this.outcome = clean ? 'clean' : (error ?? 'broken')
    })
  }

  write(length: number): void {
    if (this.#isFull || this.#isEnded) return
    this.#isFull = !this.stream.write(Buffer.from(Array.from({ length }, () => byteAt(this.written++))))
  }

  end(): void {
    this.#isEnded = true
    this.stream.end()
  }
}

/** What a stream has at each place: a pattern that shows a byte that is lost, doubled or moved. */
const byteAt = (at: number): number => (at * 31 + (at >> 8) * 7) & 255

/** A host of the simulation: a real connector and real sessions, with apps above them. */
export class SessionHost implements SimulatedNode {
  readonly peer: PeerId
  connector: Connector
  sessions: SessionManager
  life = 0
  readonly sent: SentMessage[] = []
  /** Numbers of the messages that an app here got, by the peer's life and lane, in order. */
  readonly received = new Map<string, number[]>()
  readonly streams: StreamEnd[] = []
  readonly ends: string[] = []
  readonly #network: SimulatedNetwork<SessionHost>
  readonly #resumeFor: Milliseconds
  #lastMessage = 0

  constructor(network: SimulatedNetwork<SessionHost>, peer: PeerId, resumeFor: Milliseconds) {
    this.peer = peer
    this.#network = network
    this.#resumeFor = resumeFor
    this.sessions = this.#begin()
    this.connector = this.#connect()
  }

  /** The daemon is killed and started again. */
  restart(): void {
    this.connector.stop()
    void this.sessions.stop()
    this.sessions = this.#begin()
    this.connector = this.#connect()
  }

  send(to: PeerId, lane: number, size: number): void {
    const sent: SentMessage = { lane, number: ++this.#lastMessage, fate: undefined }
    this.sent.push(sent)
    const data = Buffer.alloc(8 + size, sent.number)
    data.writeUInt32BE(sent.number)
    data.writeUInt32BE(this.life, 4)
    const tell = (fate: string) => {
      sent.fate = fate
    }
    this.sessions.open(to).then(
      (session) =>
        session.send('c', data, { lane }).then(
          () => tell('delivered'),
          ({ code }: { code: string }) => tell(code),
        ),
      () => tell('no session'),
    )
  }

  /** Dials a better way for the session there is. */
  upgrade(to: PeerId): void {
    const session = this.sessions.get(to)
    if (session?.facts.state === 'open')
      void this.connector.upgrade(to, [{ address: '10.0.0.1', port: this.#network.portOf(to) }])
  }

  open(to: PeerId): void {
    this.sessions
      .open(to)
      .then((session) => session.openStream('s'))
      .then(
        (stream) => this.streams.push(new StreamEnd(stream)),
        () => {},
      )
  }

  #connect(): Connector {
    const { sessions } = this
    return connectorOf<SessionHost>(this, this.#network, {
      holds: (peer) => sessions.holds(peer),
      suspend: (peer, session) => sessions.suspend(peer, session),
      onElected: (elected) => sessions.take(elected),
      onStream: (...stream) => sessions.takeStream(...stream),
    })
  }

  #begin(): SessionManager {
    const life = ++this.life
    return new SessionManager({
      clock: this.#network.clock,
      logger: silentLogger,
      refusals: new Refusals(),
      connect: (peer, timeout) => this.connector.connect(peer, timeout),
      dialStream: (...stream) => this.connector.dialStream(...stream),
      routeOf: () => 'lan',
      datagrams: undefined,
      resumeFor: () => this.#resumeFor,
      isHeld: () => true,
      idleClose: () => 0,
      onMessage: ({ data, lane, accept }) => {
        const bytes = Buffer.from(data)
        const key = `${life} ${bytes.readUInt32BE(4)} ${lane}`
        const list = this.received.get(key) ?? []
        this.received.set(key, list)
        list.push(bytes.readUInt32BE())
        // An app takes it at once, or a moment later.
        this.#network.clock.after(this.#network.random() < 0.5 ? 0 : this.#network.delay(50), accept)
      },
      onStream: (stream) => {
        stream.accept().then(
          (accepted) => this.streams.push(new StreamEnd(accepted)),
          () => {},
        )
      },
      onOpened: () => {},
      onChanged: () => {},
      onStalled: () => {},
      onClosed: (_, { code, message, by }) => this.ends.push(`${code} ${message} ${by}`),
    })
  }
}
