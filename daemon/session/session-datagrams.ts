import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../clock.ts'
import { DatagramPath } from '../datagram/datagram-path.ts'
import type { DatagramPort } from '../datagram/datagram-port.ts'
import type { DatagramOutcome } from '../datagram/message-sender.ts'
import type { DatagramState, DatagramStatistics } from '../datagram/path-statistics.ts'
import type { Link } from '../link/link.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'
import type { FakeLines } from './fake-lines.ts'
import type { Control } from './frame.ts'

const CONNECTION_ID = 8
const SECRET = 64
const LABEL = 'EXPORTER-partyline-datagram'
/** How long a path goes on that another has taken the place of: what is on its way still arrives. */
const AFTERGLOW: Milliseconds = 2000

interface Options {
  readonly clock: Clock
  readonly port: DatagramPort
  readonly refusals: Refusals
  readonly control: (control: Extract<Control, { kind: 'datagram' }>) => void
  readonly onMessage: (message: Buffer) => void
  readonly fake: FakeLines
}

/** A path, what feeds it, and its timer. */
class Line {
  readonly path: DatagramPath
  readonly link: Link
  readonly cid: Buffer
  readonly #options: Options
  readonly #unregister: () => void
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY

  constructor(options: Options, link: Link, onState: (state: DatagramState) => void) {
    this.#options = options
    this.link = link
    const { clock, port, refusals } = options
    this.cid = randomBytes(CONNECTION_ID)
    const secret = link.exportKey(LABEL, SECRET)
    this.path = new DatagramPath(
      {
        now: clock.now(),
        dialled: link.dialled,
        secret,
        cid: this.cid,
        random: randomBytes,
        maxPayload: port.maxPayload(link.path?.to ?? link.remote),
        isLed: link.path !== undefined,
        refusals,
      },
      {
        output: (packet, to) => {
          // Who dialled us knows where we are; over a path that hides that, a challenge from elsewhere is not answered.
          if (link.path && !port.mayLeave(link.peer, to)) return refusals.count('policy.refused')
          options.fake.datagram('out', packet.length, () => port.send(packet, to))
        },
        message: options.onMessage,
        state: onState,
        roundTrip: () => {},
      },
    )
    secret.fill(0)
    this.#unregister = port.register(this.cid, {
      receive: (packet, from) => options.fake.datagram('in', packet.length, () => this.#receive(packet, from)),
      sendFailed: (to, code, now) => {
        this.path.sendFailed(to, code, now)
        this.schedule()
      },
    })
  }

  #receive(packet: Buffer, from: TransportAddress): void {
    this.path.receive(packet, from, this.#options.clock.now())
    this.schedule()
  }

  /** Sets the timer to the path's deadline; one that is early enough is left alone. */
  schedule(): void {
    const { deadline } = this.path
    if (this.#timer && this.#timerAt <= deadline) return
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerAt = deadline
    if (deadline === Number.POSITIVE_INFINITY) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, deadline - clock.now()), () => {
      this.#timer = undefined
      this.path.tick(clock.now())
      this.schedule()
    })
  }

  close(): void {
    this.#timer?.cancel()
    this.#unregister()
    this.path.close()
  }
}

/** The sealed datagrams of one session: a path with keys of its own for each link, the one before in use until the new one is proven. */
export class SessionDatagrams {
  readonly #options: Options
  #link: Link | undefined
  /** Somebody sent, here or there. */
  #isUsed = false
  #current: Line | undefined
  /** Keys are there; no address is proven yet. */
  #next: Line | undefined
  #afterglow: Timer | undefined
  #before: Line | undefined

  constructor(options: Options) {
    this.#options = options
  }

  get state(): DatagramState {
    return (this.#current ?? this.#next)?.path.state ?? 'none'
  }

  get statistics(): DatagramStatistics | undefined {
    return (this.#current ?? this.#next)?.path.statistics()
  }

  /** The session has a new link. Nothing is made of it before anybody here or there wants to send. */
  linked(link: Link): void {
    this.#link = link
    this.#next?.close()
    this.#next = undefined
    if (this.#isUsed) this.#begin()
  }

  /** The link is gone; what was made of it goes on. */
  unlinked(): void {
    this.#link = undefined
  }

  /** The peer has told how to address it. */
  peer(cid: string, to: TransportAddress): void {
    this.#begin()
    const line = this.#next
    if (!line) return
    const { clock, port } = this.#options
    const isLed = line.link.path !== undefined
    line.path.peer({ cid: Buffer.from(cid, 'hex'), candidates: isLed ? [] : [to] }, clock.now())
    if (isLed) line.path.follow(to, clock.now(), port.maxPayload(to))
    line.schedule()
  }

  /** The link's carrier sends along another path: its datagrams do too. */
  moved(link: Link): void {
    const { clock, port } = this.#options
    for (const line of [this.#current, this.#next]) {
      if (!link.path || line?.link !== link) continue
      line.path.follow(link.path.to, clock.now(), port.maxPayload(link.path.to))
      line.schedule()
    }
  }

  /** The network changed: whether the path still works is found out at once. */
  networkChanged(): void {
    const { clock, port } = this.#options
    for (const line of [this.#current, this.#next]) {
      const known = line?.path.remote
      if (!line || !known) continue
      line.path.candidates(line.link.path ? [] : [known], clock.now(), port.maxPayload(known))
      line.schedule()
    }
  }

  /** True where a path is open; otherwise one is looked for, if that is not done already. */
  ready(): boolean {
    this.#begin()
    return this.#current?.path.state === 'open'
  }

  /** `patience`: how long it may wait to begin to leave. */
  send(message: Buffer, patience: Milliseconds): DatagramOutcome {
    const line = this.#current
    if (!line) return 'no-path'
    const now = this.#options.clock.now()
    const outcome = line.path.send(message, now, { deadline: now + patience })
    line.schedule()
    return outcome
  }

  close(): void {
    this.#link = undefined
    this.#afterglow?.cancel()
    for (const line of [this.#current, this.#next, this.#before]) line?.close()
    this.#current = undefined
    this.#next = undefined
  }

  /** Makes a path of the present link, and tells the peer how to address it; once for each link. */
  #begin(): void {
    const { control, port } = this.#options
    const link = this.#link
    this.#isUsed = true
    if (!link || this.#next || this.#current?.link === link || port.port === 0) return
    const line = new Line(this.#options, link, (state) => {
      if (state === 'open' && this.#next === line) this.#promote(line)
    })
    this.#next = line
    control({ kind: 'datagram', cid: line.cid.toString('hex'), port: port.port })
  }

  #promote(line: Line): void {
    this.#afterglow?.cancel()
    this.#before?.close()
    this.#before = this.#current
    this.#current = line
    this.#next = undefined
    const { clock } = this.#options
    this.#afterglow = clock.after(AFTERGLOW, () => {
      this.#before?.close()
      this.#before = undefined
    })
  }
}
