import type { Timer } from '../../../../daemon/clock.ts'
import type { LocalCandidate } from '../../../../daemon/nat/candidate.ts'
import { IceAgent, type IceCredentials, type SelectedPath } from '../../../../daemon/nat/ice/agent.ts'
import { newCredentials } from '../../../../daemon/nat/ice/credentials.ts'
import type { TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import type { Milliseconds } from '../../../../daemon/types.ts'
import { CheckCount } from './check-count.ts'
import { Exchange, type Signal } from './exchange.ts'
import type { SimulatedHost } from './host.ts'

/** How long it goes on after a failure before it asks again, as a session that redials does. */
const REDIAL: Milliseconds = 5000
const MAX_REDIAL: Milliseconds = 30_000

interface IcePeerOptions {
  readonly host: SimulatedHost
  readonly families: readonly (4 | 6)[]
  readonly random: (bytes: number) => Buffer
  readonly isControlling: boolean
  /** After a failure, begins anew with other credentials (RFC 8445 section 2.4), rather than go on with these. */
  readonly restarts: boolean
  /** Gives the agent what is for it; returns the way to stop that. */
  readonly register: (agent: IceAgent) => () => void
  readonly signal: (signal: Signal) => void
  readonly candidates: () => readonly LocalCandidate[]
}

/** What happened at one end, at a moment of the host's own time. */
interface Happening {
  readonly at: Milliseconds
  readonly what: string
}

/** One end of a pair of hosts: an agent, driven as the daemon drives it, and what it told. */
export class IcePeer {
  readonly agent: IceAgent
  readonly exchange: Exchange
  /** Paths that were told, lost ones as undefined. */
  readonly selections: (Happening & { readonly path: SelectedPath | undefined })[] = []
  readonly failures: Happening[] = []
  readonly checks = new CheckCount()
  /** Where the peer's datagrams came from. */
  readonly heard: TransportAddress[] = []
  /** When the first description of the peer came. */
  describedAt: Milliseconds | undefined
  readonly #options: IcePeerOptions
  #credentials: IceCredentials
  readonly #unregister: () => void
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #redialTimer: Timer | undefined
  #redial = REDIAL

  constructor(options: IcePeerOptions) {
    const { host, random, isControlling, families, signal, register } = options
    this.#options = options
    this.#credentials = newCredentials(random)
    this.agent = new IceAgent(
      { now: host.now, random, isControlling, local: this.#credentials, families },
      {
        output: (packet, to) => this.#send(packet, to),
        selected: (path, what) => {
          this.selections.push({ at: host.now, what, path })
          if (path) this.#redial = REDIAL
        },
        failed: (what) => {
          this.failures.push({ at: host.now, what })
          this.#failed()
        },
      },
    )
    this.#unregister = register(this.agent)
    this.exchange = new Exchange(host, signal, ({ credentials, candidates }) => {
      this.describedAt ??= host.now
      this.agent.setRemote(credentials, candidates, host.now)
      this.schedule()
    })
    this.candidatesChanged()
  }

  candidatesChanged(): void {
    this.agent.setLocal(this.#options.candidates(), this.#options.host.now)
    this.#describe()
    this.schedule()
  }

  networkChanged(): void {
    this.agent.networkChanged(this.#options.host.now)
    this.schedule()
  }

  /** Sends something over the path it has. */
  sendData(payload: Buffer): boolean {
    const path = this.agent.selected
    if (path) this.#send(payload, path.to)
    return path !== undefined
  }

  /** Calls the agent again when it asks for it. */
  schedule(): void {
    const { deadline } = this.agent
    if (this.#timer && this.#timerAt <= deadline) return
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerAt = deadline
    if (deadline === Number.POSITIVE_INFINITY) return
    const { host } = this.#options
    this.#timer = host.after(Math.max(1, deadline - host.now), () => {
      this.#timer = undefined
      this.agent.tick(host.now)
      this.schedule()
    })
  }

  close(): void {
    this.#timer?.cancel()
    this.#redialTimer?.cancel()
    this.exchange.close()
    this.#unregister()
    this.agent.close()
  }

  #send(payload: Buffer, to: TransportAddress): void {
    const { host } = this.#options
    if (payload[0] === 0 && payload[1] === 1) this.checks.sent(to, host.now)
    const code = host.send(payload, to)
    if (!code) return
    host.after(0, () => {
      this.agent.sendFailed(to, code, host.now)
      this.schedule()
    })
  }

  #describe(): void {
    const { candidates } = this.#options
    this.exchange.describe({
      credentials: this.#credentials,
      candidates: candidates().map(({ kind, address, port, priority, foundation }) => {
        return { kind, address, port, priority, foundation }
      }),
    })
  }

  #failed(): void {
    const { host, restarts, random } = this.#options
    this.#redialTimer?.cancel()
    this.#redialTimer = host.after(this.#redial, () => {
      if (this.agent.selected) return
      if (restarts) {
        this.#credentials = newCredentials(random)
        this.agent.restart(this.#credentials, host.now)
      }
      this.#describe()
      this.schedule()
    })
    this.#redial = Math.min(MAX_REDIAL, this.#redial * 2)
  }
}
