import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { type Clock, systemClock } from '../../daemon/clock.ts'
import type { Identity } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort, PeerId } from '../../daemon/types.ts'
import type { LanInstance, LanRoster } from '../../daemon/xmpp/lan-roster.ts'
import { LanStreams } from '../../daemon/xmpp/lan-streams.ts'
import { newIdentity } from './stream-end.ts'

/** Who announces presence, as a test says. */
export class FakeRoster implements LanRoster {
  readonly instances = new Map<string, LanInstance>()
  /** Who is found only when looked up. */
  readonly late = new Map<string, LanInstance>()
  readonly lookedUp: string[] = []
  readonly #self: string

  constructor(self: string) {
    this.#self = self
  }

  self(): string {
    return this.#self
  }

  find(instance: string): LanInstance | undefined {
    return this.instances.get(instance)
  }

  byPeer(peer: PeerId): LanInstance | undefined {
    return [...this.instances.values()].find((one) => one.peer === peer)
  }

  async lookUp(instance: string): Promise<LanInstance | undefined> {
    this.lookedUp.push(instance)
    const found = this.late.get(instance)
    if (found) this.instances.set(instance, found)
    return found
  }
}

interface HostOptions {
  readonly plain?: boolean
  readonly identity?: Identity
  readonly listen?: string
  readonly clock?: Clock
  readonly connect?: (target: HostPort) => Socket
}

/** A host with serverless streams on a loopback port. */
export class LanHost implements AsyncDisposable {
  readonly roster: FakeRoster
  readonly refusals = new Refusals()
  readonly identity: Identity
  readonly streams: LanStreams
  readonly told: string[] = []
  /** Connections that came in. */
  readonly inbound = new Set<Socket>()
  readonly #instance: string
  readonly #plain: boolean
  readonly #server: Server
  readonly #listen: string

  private constructor(instance: string, options: HostOptions) {
    const { plain = false, identity = newIdentity(), listen = '127.0.0.1', clock = systemClock, connect } = options
    this.#instance = instance
    this.#plain = plain
    this.#listen = listen
    this.identity = identity
    this.roster = new FakeRoster(instance)
    this.streams = new LanStreams({
      identity,
      clock,
      ...(connect && { connect }),
      logger: silentLogger,
      refusals: this.refusals,
      roster: this.roster,
      onChat: (from, text) => this.told.push(`${from.instance}: ${text}`),
      onChatState: (from, composing) => this.told.push(`${from.instance} ${composing ? 'writes' : 'stops'}`),
    })
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.inbound.add(socket.once('close', () => this.inbound.delete(socket)))
      this.streams.take(socket)
    })
  }

  static async listening(instance: string, options: HostOptions = {}): Promise<LanHost> {
    const host = new LanHost(instance, options)
    host.#server.listen(0, host.#listen)
    await once(host.#server, 'listening')
    return host
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** What others know of it. */
  get card(): LanInstance {
    return {
      instance: this.#instance,
      peer: this.#plain ? undefined : this.identity.peer,
      name: this.#instance,
      presence: { show: 'available', text: '' },
      addresses: [{ address: this.#listen, port: this.port, interface: 'lo' }],
    }
  }

  /** Lets both see each other. */
  meets(other: LanHost): void {
    this.roster.instances.set(other.card.instance, other.card)
    other.roster.instances.set(this.card.instance, this.card)
  }

  forgets(other: LanHost): void {
    this.roster.instances.delete(other.card.instance)
  }

  /** A connection to this host that a test speaks over itself, from an address of this machine. */
  dial(localAddress?: string): Socket {
    const from = localAddress === undefined ? {} : { localAddress }
    return connect({ host: this.#listen, port: this.port, allowHalfOpen: true, ...from }).on('error', () => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    await this.streams.close()
    for (const socket of this.inbound) socket.destroy()
    await closed
  }
}

/** Two hosts that see each other. */
export async function twoHosts(a: HostOptions = {}, b: HostOptions = {}): Promise<[LanHost, LanHost]> {
  const hosts: [LanHost, LanHost] = [await LanHost.listening('alice@h1', a), await LanHost.listening('bob@h2', b)]
  hosts[0].meets(hosts[1])
  return hosts
}
