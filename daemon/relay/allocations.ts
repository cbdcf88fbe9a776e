import { familyOf } from '../nat/turn/peer-address.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { ChannelBindings } from './channels.ts'
import { type RelayLimits, Usage } from './limits.ts'
import { Permissions } from './permissions.ts'
import type { TurnClient } from './turn-client.ts'

/** Peers whose use is remembered when they have no allocation any more. */
const MAX_REMEMBERED = 256

/** A UDP port that an allocation has towards peers. */
export interface RelayPort {
  /** The relayed transport address, as clients are told. */
  readonly address: HostPort
  /** The one that it has on this host; another behind a NAT. */
  readonly local: HostPort
  /** Gives what comes there to somebody, instead of to the one before. */
  receive(received: (packet: Buffer, from: HostPort, now: Milliseconds) => void): void
  send(packet: Buffer, to: HostPort): void
  /** Safe to call twice. */
  close(): void
}

/** A relay that a client has (RFC 8656 section 3.2). */
export class Allocation {
  readonly client: TurnClient
  readonly usage: Usage
  /** Of the request that made it, to know it again. */
  readonly transaction: Buffer
  readonly since: Milliseconds
  #ports: readonly RelayPort[] = []
  until: Milliseconds
  /** Of the port that was reserved along with its own. */
  token: Buffer | undefined
  readonly permissions = new Permissions()
  readonly channels = new ChannelBindings()

  constructor(client: TurnClient, usage: Usage, transaction: Buffer, now: Milliseconds, until: Milliseconds) {
    this.client = client
    this.usage = usage
    this.transaction = transaction
    this.since = now
    this.until = until
  }

  get peer(): PeerId {
    return this.usage.peer
  }

  get ports(): readonly RelayPort[] {
    return this.#ports
  }

  /** The port for peers of this address's family. */
  portFor(address: string): RelayPort | undefined {
    const family = familyOf(address)
    return this.#ports.find((port) => familyOf(port.address.address) === family)
  }

  /** To be called by the table alone. */
  setPorts(ports: readonly RelayPort[]): void {
    this.#ports = ports
  }
}

/** All allocations, by whoever asks: clients by their 5-tuple, packets between them by the relayed address, limits by peer. */
export class Allocations {
  readonly #byClient = new Map<string, Allocation>()
  readonly #byRelayed = new Map<string, Allocation>()
  readonly #usage = new Map<PeerId, Usage>()

  get size(): number {
    return this.#byClient.size
  }

  [Symbol.iterator](): IterableIterator<Allocation> {
    return this.#byClient.values()
  }

  /** Of everyone who has, or had, one. */
  usage(): readonly Usage[] {
    return [...this.#usage.values()]
  }

  /** Why a peer may have no further one; undefined where it may. */
  refusal(peer: PeerId, limits: RelayLimits): 'peer' | 'server' | undefined {
    if ((this.#usage.get(peer)?.allocations ?? 0) >= limits.perPeer) return 'peer'
    return this.size >= limits.allocations ? 'server' : undefined
  }

  /** One without ports so far. */
  add(client: TurnClient, peer: PeerId, transaction: Buffer, now: Milliseconds, until: Milliseconds): Allocation {
    const usage = this.#usageOf(peer)
    const allocation = new Allocation(client, usage, Buffer.from(transaction), now, until)
    usage.allocations++
    this.#byClient.set(client.key, allocation)
    return allocation
  }

  has(allocation: Allocation): boolean {
    return this.#byClient.get(allocation.client.key) === allocation
  }

  byClient(key: string): Allocation | undefined {
    return this.#byClient.get(key)
  }

  byRelayed(to: HostPort): Allocation | undefined {
    return this.#byRelayed.get(formatHostPort(to))
  }

  setPorts(allocation: Allocation, ports: readonly RelayPort[]): void {
    for (const port of allocation.ports) {
      this.#byRelayed.delete(formatHostPort(port.address))
      this.#byRelayed.delete(formatHostPort(port.local))
      if (!ports.includes(port)) port.close()
    }
    allocation.setPorts(ports)
    for (const { address, local } of ports)
      for (const one of [address, local]) this.#byRelayed.set(formatHostPort(one), allocation)
  }

  /** Closes its ports and forgets it. */
  remove(allocation: Allocation): void {
    if (!this.has(allocation)) return
    this.#byClient.delete(allocation.client.key)
    this.setPorts(allocation, [])
    allocation.usage.allocations--
    this.#forget()
  }

  #usageOf(peer: PeerId): Usage {
    const usage = this.#usage.get(peer) ?? new Usage(peer)
    // The last one to use it comes last.
    this.#usage.delete(peer)
    this.#usage.set(peer, usage)
    return usage
  }

  #forget(): void {
    if (this.#usage.size <= MAX_REMEMBERED) return
    for (const usage of this.#usage.values()) {
      if (this.#usage.size <= MAX_REMEMBERED) return
      if (usage.allocations === 0) this.#usage.delete(usage.peer)
    }
  }
}
