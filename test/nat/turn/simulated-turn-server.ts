import { createHash } from 'node:crypto'
import {
  decodeXorAddress,
  encodeAddress,
  encodeError,
  encodeXorAddress,
  longTermKey,
  userhash,
} from '../../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'
import { decodeChannelData, encodeChannelData } from '../../../daemon/nat/turn/channel-data.ts'
import { formatHostPort } from '../../../daemon/network/network.ts'
import type { HostPort, Milliseconds } from '../../../daemon/types.ts'

interface Reserved {
  /** The client's address, as the server sees it. */
  client: string
  readonly relayed: readonly HostPort[]
  readonly ticket: Buffer | undefined
  until: Milliseconds
  /** Until when, by address. */
  readonly permissions: Map<string, Milliseconds>
  readonly channels: Map<number, { readonly peer: HostPort; until: Milliseconds }>
}

export interface SimulatedOptions {
  username?: string
  password?: string
  realm?: string
  /** How often a nonce is good for; later uses get 438. */
  nonceUses?: number
  /** Offers MD5 and SHA-256, and wants the user's name hashed. */
  modern?: boolean
  families?: readonly (4 | 6)[]
  mobility?: boolean
  lifetime?: Milliseconds
  /** An error instead of an answer. */
  refuse?: (
    method: number,
    message: StunMessage,
  ) => { code: number; alternate?: HostPort; unsigned?: boolean } | undefined
  /** Relayed addresses instead of those of the server. */
  relayed?: readonly HostPort[]
}

/** What left for a peer. */
interface Relayed {
  readonly to: HostPort
  readonly data: Buffer
  readonly by: 'send' | 'channel'
}

/** A TURN server that keeps to RFC 8656, as far as a test lets it; what a client may not do is refused and noted. */
export class SimulatedTurnServer {
  readonly options: SimulatedOptions
  readonly address: string
  readonly #reserved: Reserved[] = []
  readonly #nonces = new Map<string, number>()
  #counter = 0
  readonly relayedOut: Relayed[] = []
  /** Requests that came, by method. */
  readonly requests: number[] = []
  readonly violations: string[] = []

  constructor(address: string, options: SimulatedOptions = {}) {
    this.address = address
    this.options = options
  }

  get allocations(): readonly Reserved[] {
    return this.#reserved
  }

  count(method: number): number {
    return this.requests.filter((one) => one === method).length
  }

  /** What it sends back to the client. */
  receive(packet: Buffer, from: HostPort, now: Milliseconds): readonly Buffer[] {
    this.#expire(now)
    const client = formatHostPort(from)
    if ((packet[0] as number) >= 0x40) {
      this.#channelData(packet, client, now)
      return []
    }
    const message = StunMessage.decode(packet)
    if (message.class === 'indication') {
      this.#sendIndication(message, client, now)
      return []
    }
    this.requests.push(message.method)
    return [this.#answer(message, from, now)]
  }

  /** A packet from a peer to a relayed address: what the client gets of it. */
  fromPeer(peer: HostPort, data: Buffer, now: Milliseconds): { client: string; packet: Buffer } | undefined {
    this.#expire(now)
    const held = this.#reserved.find(({ permissions }) => (permissions.get(peer.address) ?? 0) > now)
    if (!held) return undefined
    for (const [number, channel] of held.channels)
      if (formatHostPort(channel.peer) === formatHostPort(peer) && channel.until > now)
        return { client: held.client, packet: encodeChannelData(number, data, false) }
    const transaction = this.#bytes(12)
    const writer = new StunWriter('indication', METHOD.data, transaction)
    writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(peer, transaction)).add(ATTRIBUTE.data, data)
    return { client: held.client, packet: writer.finish() }
  }

  /** Forgets everything, as one does that was started anew. */
  restart(): void {
    this.#reserved.length = 0
    this.#nonces.clear()
  }

  #expire(now: Milliseconds): void {
    const live = this.#reserved.filter(({ until }) => until > now)
    this.#reserved.splice(0, this.#reserved.length, ...live)
  }

  #bytes(length: number): Buffer {
    return createHash('sha256')
      .update(`${this.address} ${this.#counter++}`)
      .digest()
      .subarray(0, length)
  }

  #answer(message: StunMessage, from: HostPort, now: Milliseconds): Buffer {
    const { username = 'alice', password = 'wonder', realm = 'lab.test', modern = false } = this.options
    const key = longTermKey(modern ? 'sha256' : 'md5', username, realm, password)
    const integrity = modern ? 'sha256' : 'sha1'
    const refusal = this.options.refuse?.(message.method, message)
    if (refusal?.unsigned) return this.#error(message, refusal.code, refusal)
    const nonce = message.get(ATTRIBUTE.nonce)?.toString() ?? ''
    if (!message.integrity) return this.#challenge(message, 401)
    const uses = this.#nonces.get(nonce) ?? 0
    if (uses <= 0) return this.#challenge(message, 438)
    const named = modern
      ? message.get(ATTRIBUTE.userhash)?.equals(userhash(username, realm)) && !message.has(ATTRIBUTE.username)
      : message.get(ATTRIBUTE.username)?.toString() === username
    const isComplete = !modern || message.get(ATTRIBUTE.passwordAlgorithm)?.readUInt16BE() === 2
    if (!named || !isComplete || !message.isAuthentic(key, integrity)) return this.#challenge(message, 401, nonce)
    this.#nonces.set(nonce, uses - 1)
    const finish = { integrity: { [integrity]: key } }
    if (refusal) return this.#error(message, refusal.code, refusal, finish)
    const code = this.#serve(message, from, now)
    if (typeof code === 'number') return this.#error(message, code, {}, finish)
    return code.finish(finish)
  }

  #challenge(message: StunMessage, code: number, again?: string): Buffer {
    const { realm = 'lab.test', modern = false, nonceUses = 1_000_000 } = this.options
    const nonce = again ?? `${modern ? 'obMatJos2wAAA' : ''}${this.#bytes(8).toString('hex')}`
    if (again === undefined) this.#nonces.set(nonce, nonceUses)
    const writer = new StunWriter('error', message.method, message.transaction)
    writer.add(ATTRIBUTE.errorCode, encodeError({ code, reason: 'Unauthorized' }))
    writer.add(ATTRIBUTE.realm, realm).add(ATTRIBUTE.nonce, nonce)
    if (modern) writer.add(ATTRIBUTE.passwordAlgorithms, Buffer.from([0, 1, 0, 0, 0, 2, 0, 0]))
    return writer.finish()
  }

  #error(
    message: StunMessage,
    code: number,
    { alternate }: { alternate?: HostPort },
    finish: Parameters<StunWriter['finish']>[0] = {},
  ): Buffer {
    const writer = new StunWriter('error', message.method, message.transaction)
    writer.add(ATTRIBUTE.errorCode, encodeError({ code, reason: 'No' }))
    if (alternate) writer.add(ATTRIBUTE.alternateServer, encodeAddress(alternate))
    return writer.finish(finish)
  }

  #serve(message: StunMessage, from: HostPort, now: Milliseconds): StunWriter | number {
    const client = formatHostPort(from)
    const held = this.#reserved.find((one) => one.client === client)
    const writer = new StunWriter('success', message.method, message.transaction)
    if (message.method === METHOD.allocate) return this.#allocate(writer, message, from, held, now)
    if (message.method === METHOD.refresh) return this.#refresh(writer, message, client, held, now)
    if (!held) return 437
    if (message.method === METHOD.createPermission) return this.#permit(writer, message, held, now)
    if (message.method === METHOD.channelBind) return this.#bind(writer, message, held, now)
    return 400
  }

  #allocate(
    writer: StunWriter,
    message: StunMessage,
    from: HostPort,
    held: Reserved | undefined,
    now: Milliseconds,
  ): StunWriter | number {
    const { families = [4], mobility = false, lifetime = 600_000 } = this.options
    if (held) return 437
    if (message.get(ATTRIBUTE.requestedTransport)?.[0] !== 17) return 442
    if (message.has(ATTRIBUTE.mobilityTicket) && !mobility) return 405
    const asked: readonly (4 | 6)[] = message.has(ATTRIBUTE.requestedAddressFamily)
      ? [6]
      : message.has(ATTRIBUTE.additionalAddressFamily)
        ? [4, 6]
        : [4]
    const given = asked.filter((family) => families.includes(family))
    if (given.length === 0) return 440
    const port = 50_000 + this.#counter++
    const relayed =
      this.options.relayed ?? given.map((family) => ({ address: family === 4 ? this.address : '2001:db8::99', port }))
    const ticket = mobility && message.has(ATTRIBUTE.mobilityTicket) ? Buffer.from(this.#bytes(16)) : undefined
    this.#reserved.push({
      client: formatHostPort(from),
      relayed,
      ticket,
      until: now + lifetime,
      permissions: new Map(),
      channels: new Map(),
    })
    for (const one of relayed) writer.add(ATTRIBUTE.xorRelayedAddress, encodeXorAddress(one, message.transaction))
    writer.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(from, message.transaction))
    writer.add(ATTRIBUTE.lifetime, lifetime / 1000)
    return ticket ? writer.add(ATTRIBUTE.mobilityTicket, ticket) : writer
  }

  #refresh(
    writer: StunWriter,
    message: StunMessage,
    client: string,
    held: Reserved | undefined,
    now: Milliseconds,
  ): StunWriter | number {
    const { lifetime = 600_000 } = this.options
    const ticket = message.get(ATTRIBUTE.mobilityTicket)
    if (held && ticket) return 400
    const found = held ?? (ticket && this.#reserved.find((one) => one.ticket?.equals(ticket)))
    if (!found) return 437
    found.client = client
    const isEnd = message.get(ATTRIBUTE.lifetime)?.readUInt32BE() === 0
    if (isEnd) this.#reserved.splice(this.#reserved.indexOf(found), 1)
    else found.until = now + lifetime
    return writer.add(ATTRIBUTE.lifetime, isEnd ? 0 : lifetime / 1000)
  }

  #permit(writer: StunWriter, message: StunMessage, held: Reserved, now: Milliseconds): StunWriter | number {
    const peers = message.all(ATTRIBUTE.xorPeerAddress).map((value) => decodeXorAddress(value, message.transaction))
    if (peers.length === 0) return 400
    for (const { address } of peers) held.permissions.set(address, now + 300_000)
    return writer
  }

  #bind(writer: StunWriter, message: StunMessage, held: Reserved, now: Milliseconds): StunWriter | number {
    const number = message.get(ATTRIBUTE.channelNumber)?.readUInt16BE() ?? 0
    const value = message.get(ATTRIBUTE.xorPeerAddress)
    if (!value || number < 0x4000 || number > 0x4fff) return 400
    const peer = decodeXorAddress(value, message.transaction)
    const isSame = (one: HostPort): boolean => formatHostPort(one) === formatHostPort(peer)
    for (const [other, channel] of held.channels) {
      // Five minutes after its end neither number nor peer may be bound otherwise.
      if (now >= channel.until + 300_000 || (other === number) === isSame(channel.peer)) continue
      this.violations.push(`channel ${number} for ${formatHostPort(peer)}`)
      return 400
    }
    held.channels.set(number, { peer, until: now + 600_000 })
    held.permissions.set(peer.address, now + 300_000)
    return writer
  }

  #sendIndication(message: StunMessage, client: string, now: Milliseconds): void {
    const value = message.get(ATTRIBUTE.xorPeerAddress)
    const data = message.get(ATTRIBUTE.data)
    const held = this.#reserved.find((one) => one.client === client)
    if (!value || !data || !held || message.method !== METHOD.send) return void this.violations.push('a bad indication')
    const to = decodeXorAddress(value, message.transaction)
    if ((held.permissions.get(to.address) ?? 0) <= now) return void this.violations.push('a Send without a permission')
    this.relayedOut.push({ to, data: Buffer.from(data), by: 'send' })
  }

  #channelData(packet: Buffer, client: string, now: Milliseconds): void {
    const read = decodeChannelData(packet)
    const held = this.#reserved.find((one) => one.client === client)
    const channel = read && held?.channels.get(read.channel)
    if (!read || !channel || channel.until <= now) return void this.violations.push('ChannelData without a channel')
    if ((held?.permissions.get(channel.peer.address) ?? 0) <= now)
      return void this.violations.push('ChannelData without a permission')
    this.relayedOut.push({ to: channel.peer, data: Buffer.from(read.data), by: 'channel' })
  }
}
