import { createHash } from 'node:crypto'
import { decodeError, decodeXorAddress, encodeXorAddress, longTermKey } from '../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../daemon/nat/stun/registry.ts'
import { decodeChannelData, encodeChannelData, LAST_OLD_CHANNEL } from '../../daemon/nat/turn/channel-data.ts'
import { LongTermCredentials } from '../../daemon/nat/turn/credentials.ts'
import { familyOf } from '../../daemon/nat/turn/peer-address.ts'
import { formatHostPort } from '../../daemon/network/network.ts'
import type { Allocation, RelayPort } from '../../daemon/relay/allocations.ts'
import { CredentialBook } from '../../daemon/relay/credentials.ts'
import type { RelayLimits } from '../../daemon/relay/limits.ts'
import { PeerFilter } from '../../daemon/relay/peer-filter.ts'
import type { ClientTransport, TurnClient } from '../../daemon/relay/turn-client.ts'
import { TurnServer } from '../../daemon/relay/turn-server.ts'
import type { HostPort, Milliseconds, PeerId, UnixMilliseconds } from '../../daemon/types.ts'

export const ANNA = 'mfzwizlnn5xgk3lpnzsxe3dfon2ca5dfon2gs3thebqw4zbaonxq' as PeerId
export const BEN = 'nfzwizlnn5xgk3lpnzsxe3dfon2ca5dfon2gs3thebqw4zbaonxq' as PeerId
export const EVE = 'ofzwizlnn5xgk3lpnzsxe3dfon2ca5dfon2gs3thebqw4zbaonxq' as PeerId
export const HOUR: Milliseconds = 3_600_000
/** The address that relays have, in each family. */
export const RELAY = { 4: '8.8.4.4', 6: '2a00::1' } as const
const REALM = 'partyline'

interface SimulatedPort extends RelayPort {
  isOpen: boolean
  arrive(data: Buffer, from: HostPort): void
}

/** A server in virtual time, with ports that note what leaves. */
export class RelayWorld {
  now: Milliseconds = 1000
  wallAtZero: UnixMilliseconds = 1_795_000_000_000
  readonly trusted = new Set<PeerId>([ANNA, BEN])
  secrets: Buffer[] = [Buffer.alloc(32, 7)]
  limits: RelayLimits = { allocations: 500, perPeer: 10, bandwidth: 0, totalBandwidth: 0 }
  allowPrivate = false
  own = new Set<string>(['8.8.4.4', '9.9.9.9', '2a00::1'])
  families = new Set<4 | 6>([4, 6])
  /** What left for peers. */
  readonly out: { readonly to: string; readonly text: string; readonly from: string }[] = []
  readonly ports = new Map<string, SimulatedPort>()
  readonly log: string[] = []
  readonly book: CredentialBook
  readonly server: TurnServer
  #counter = 0
  #nextPort = 50_000

  constructor() {
    this.book = new CredentialBook({
      realm: REALM,
      secrets: () => this.secrets,
      wall: () => this.wallAtZero + this.now,
      trusted: () => [...this.trusted],
    })
    this.server = new TurnServer({
      realm: REALM,
      random: (bytes) => this.bytes(bytes),
      credentials: this.book,
      isTrusted: (peer) => this.trusted.has(peer),
      limits: () => this.limits,
      filter: new PeerFilter({
        relays: () => new Set(Object.values(RELAY)),
        own: () => this.own,
        allowPrivate: () => this.allowPrivate,
      }),
      hasFamily: (family) => this.families.has(family),
      openPort: (family, wish) => {
        if (wish !== 'any') this.#nextPort += this.#nextPort & 1
        const first = this.#open({ address: RELAY[family], port: this.#nextPort++ })
        return wish === 'pair' ? [first, this.#open({ address: RELAY[family], port: this.#nextPort++ })] : [first]
      },
      begun: ({ peer }: Allocation) => void this.log.push(`begun ${peer}`),
      ended: ({ peer }: Allocation, why) => void this.log.push(`ended ${peer}: ${why}`),
    })
  }

  /** Other bytes each time, the same in each run. */
  bytes(length: number): Buffer {
    return createHash('shake256', { outputLength: length })
      .update(`relay ${this.#counter++}`)
      .digest()
  }

  advance(ms: Milliseconds): void {
    const until = this.now + ms
    for (let { deadline } = this.server; deadline <= until; { deadline } = this.server) {
      this.now = Math.max(this.now, deadline)
      this.server.tick(this.now)
    }
    this.now = until
  }

  get openPorts(): number {
    return [...this.ports.values()].filter(({ isOpen }) => isOpen).length
  }

  #open(address: HostPort): RelayPort {
    let received: Parameters<RelayPort['receive']>[0] = () => {}
    const port: SimulatedPort = {
      address,
      local: address,
      isOpen: true,
      receive: (handler) => {
        received = handler
      },
      send: (packet, to) =>
        void this.out.push({ to: formatHostPort(to), text: packet.toString(), from: formatHostPort(address) }),
      close: () => {
        port.isOpen = false
      },
      arrive: (data, from) => {
        if (port.isOpen) received(data, from, this.now)
      },
    }
    this.ports.set(formatHostPort(address), port)
    return port
  }

  /** A packet from the internet to a relayed address. */
  fromPeer(from: HostPort, to: HostPort, text: string): void {
    this.ports.get(formatHostPort(to))?.arrive(Buffer.from(text), from)
  }

  client(peer: PeerId, from: HostPort, options: Partial<WorldClientOptions> = {}): WorldClient {
    const credentials = this.book.issue(peer, HOUR)
    if (!credentials) throw new Error('there is no secret')
    return new WorldClient(this, from, { ...credentials, ...options })
  }
}

interface WorldClientOptions {
  readonly username: string
  readonly password: string
  readonly transport: ClientTransport
  /** As old ones, which know nothing of password algorithms. */
  readonly old: boolean
  /** What an old one claims to have been offered, and to have chosen. */
  readonly algorithms: readonly (Buffer | undefined)[]
}

type Write = (writer: StunWriter, transaction: Buffer) => void

export interface Answer {
  /** 0 for success. */
  readonly code: number
  readonly message: StunMessage
}

/** Somebody who talks to the server: as our client does, or byte by byte. */
export class WorldClient {
  readonly tuple: TurnClient
  /** What came that is no answer, as text. */
  readonly received: { readonly from: string; readonly text: string; readonly by: 'data' | 'channel' }[] = []
  /** Every packet that came. */
  readonly packets: Buffer[] = []
  readonly #world: RelayWorld
  readonly #credentials: LongTermCredentials
  readonly #options: Partial<WorldClientOptions>
  #nonce: Buffer | undefined
  #answer: StunMessage | undefined

  constructor(world: RelayWorld, from: HostPort, options: Partial<WorldClientOptions>) {
    const { username = '', password = '', transport = 'udp' } = options
    this.#world = world
    this.#options = options
    this.#credentials = new LongTermCredentials(username, password)
    this.tuple = {
      key: `${transport} ${formatHostPort(from)}`,
      transport,
      from,
      lastChannel: LAST_OLD_CHANNEL,
      send: (packet) => this.#take(packet),
    }
  }

  raw(packet: Buffer): boolean {
    return this.#world.server.receive(packet, this.tuple, this.#world.now)
  }

  /** Asks, and asks again with what the server wants; throws where it says nothing. */
  request(method: number, write: Write = () => {}): Answer {
    for (let n = 0; ; n++) {
      const { packet, transaction } = this.write(method, write)
      const answer = this.exchange(packet)
      if (!answer) throw new Error('the server says nothing')
      if (!answer.message.transaction.equals(transaction)) throw new Error('the answer to something else')
      this.#nonce = answer.message.get(ATTRIBUTE.nonce) ?? this.#nonce
      const isChallenge = answer.code === 438 || (answer.code === 401 && n === 0)
      if (!isChallenge || n > 2 || this.#credentials.challenged(answer.message).kind === 'refused') return answer
    }
  }

  /** A request as it would be sent now. */
  write(method: number, write: Write = () => {}): { packet: Buffer; transaction: Buffer } {
    const transaction = this.#world.bytes(12)
    const writer = new StunWriter('request', method, transaction)
    write(writer, transaction)
    return { packet: this.#options.old ? this.#signOld(writer) : this.#credentials.sign(writer), transaction }
  }

  #signOld(writer: StunWriter): Buffer {
    const { username = '', password = '', algorithms = [] } = this.#options
    if (!this.#nonce) return writer.finish()
    writer.add(ATTRIBUTE.username, username).add(ATTRIBUTE.realm, REALM).add(ATTRIBUTE.nonce, this.#nonce)
    const [offered, chosen] = algorithms
    if (offered) writer.add(ATTRIBUTE.passwordAlgorithms, offered)
    if (chosen) writer.add(ATTRIBUTE.passwordAlgorithm, chosen)
    return writer.finish({ integrity: { sha1: longTermKey('md5', username, REALM, password) } })
  }

  exchange(packet: Buffer): Answer | undefined {
    this.#answer = undefined
    this.raw(packet)
    const message = this.#answered()
    if (!message) return undefined
    const code = message.class === 'error' ? decodeError(message.get(ATTRIBUTE.errorCode) ?? Buffer.alloc(0)).code : 0
    return { code, message }
  }

  #answered(): StunMessage | undefined {
    return this.#answer
  }

  allocate(write: Write = () => {}): Answer & { readonly relayed: HostPort[] } {
    const answer = this.request(METHOD.allocate, (writer, transaction) => {
      writer.add(ATTRIBUTE.requestedTransport, Buffer.from([17, 0, 0, 0]))
      write(writer, transaction)
    })
    const values = answer.message.all(ATTRIBUTE.xorRelayedAddress)
    return { ...answer, relayed: values.map((value) => decodeXorAddress(value, answer.message.transaction)) }
  }

  refresh(seconds?: number): Answer {
    return this.request(METHOD.refresh, (writer) => {
      if (seconds !== undefined) writer.add(ATTRIBUTE.lifetime, seconds)
    })
  }

  permit(...addresses: readonly string[]): number {
    return this.request(METHOD.createPermission, (writer, transaction) => {
      for (const address of addresses)
        writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress({ address, port: 0 }, transaction))
    }).code
  }

  bind(channel: number, to: HostPort): number {
    return this.request(METHOD.channelBind, (writer, transaction) => {
      writer.add(ATTRIBUTE.channelNumber, channel * 2 ** 16)
      writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(to, transaction))
    }).code
  }

  send(to: HostPort, text: string): void {
    const transaction = this.#world.bytes(12)
    const writer = new StunWriter('indication', METHOD.send, transaction)
    writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(to, transaction)).add(ATTRIBUTE.data, Buffer.from(text))
    this.raw(writer.finish({ fingerprint: false }))
  }

  channelData(channel: number, text: string): void {
    this.raw(encodeChannelData(channel, Buffer.from(text), this.tuple.transport !== 'udp'))
  }

  #take(packet: Buffer): void {
    this.packets.push(packet)
    if ((packet[0] ?? 0) >= 0x40) {
      const read = decodeChannelData(packet, LAST_OLD_CHANNEL)
      if (read) this.received.push({ from: `#${read.channel}`, text: read.data.toString(), by: 'channel' })
      return
    }
    const message = StunMessage.decode(packet)
    if (message.class === 'success' || message.class === 'error') this.#answer = message
    if (message.method !== METHOD.data) return
    const from = decodeXorAddress(message.get(ATTRIBUTE.xorPeerAddress) ?? Buffer.alloc(0), message.transaction)
    this.received.push({
      from: formatHostPort(from),
      text: message.get(ATTRIBUTE.data)?.toString() ?? '',
      by: 'data',
    })
  }
}

/** The only one of them. */
export function only<T>(values: readonly T[]): T {
  const [value] = values
  if (value === undefined || values.length > 1) throw new Error(`there are ${values.length}, not one`)
  return value
}

export const isFamily = (family: 4 | 6) => (one: HostPort) => familyOf(one.address) === family
