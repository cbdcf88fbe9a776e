import { createHash } from 'node:crypto'
import { silentLogger } from '../../../daemon/logger.ts'
import { StunMessage } from '../../../daemon/nat/stun/message.ts'
import type { TransportAddress } from '../../../daemon/nat/transport-address.ts'
import { Relays } from '../../../daemon/nat/turn/relays.ts'
import { parseTurnServer } from '../../../daemon/nat/turn/server-uri.ts'
import type { OpenStream } from '../../../daemon/nat/turn/stream-connection.ts'
import type { HostPort, Milliseconds } from '../../../daemon/types.ts'
import { VirtualClock } from '../../virtual-clock.ts'
import { type SimulatedOptions, SimulatedTurnServer } from './simulated-turn-server.ts'

/** Random bytes that are the same in each run. */
function seededBytes(seed: string): (length: number) => Buffer {
  let counter = 0
  return (length) => createHash('shake256', { outputLength: length }).update(`${seed} ${counter++}`).digest()
}

interface WorldOptions {
  readonly servers?: readonly string[]
  readonly openStream?: OpenStream
  readonly seed?: string
}

/** One host's relays, simulated servers, and a network between them, in virtual time. */
export class RelayWorld {
  readonly clock = new VirtualClock()
  readonly servers = new Map<string, SimulatedTurnServer>()
  readonly received: { readonly text: string; readonly from: TransportAddress }[] = []
  readonly relays: Relays
  /** The host's address, as servers see it. */
  client: HostPort = { address: '203.0.113.7', port: 47800 }
  /** Every packet the host sent over UDP. */
  readonly sent: { readonly packet: Buffer; readonly to: HostPort }[] = []
  /** True for what gets lost. */
  lost: (packet: Buffer, direction: 'out' | 'in') => boolean = () => false
  /** How long a packet takes one way. */
  delay: (address: string) => Milliseconds = () => 20
  missing = new Map<4 | 6, string>()
  unreachable = new Set<string>()
  #sendError: ((to: HostPort, code: string) => void) | undefined

  constructor({ servers = ['turn:alice:wonder@192.0.2.1'], openStream, seed = 'relays' }: WorldOptions = {}) {
    const { missing } = this
    this.relays = new Relays({
      clock: this.clock,
      logger: silentLogger,
      random: seededBytes(seed),
      endpoint: {
        missing,
        send: (packet, to) => this.#send(packet, to),
        onSendError: (handler) => {
          this.#sendError = handler
          return () => {}
        },
      },
      servers: servers.map(parseTurnServer),
      onData: (packet, from) => this.received.push({ text: packet.toString(), from }),
      resolve: () => Promise.reject(new Error('no names here')),
      ...(openStream && { openStream }),
    })
  }

  add(address: string, options?: SimulatedOptions): SimulatedTurnServer {
    const server = new SimulatedTurnServer(address, options)
    this.servers.set(address, server)
    return server
  }

  /** Wants relays and lets a second pass. */
  open(): () => void {
    const release = this.relays.want()
    this.clock.advance(1000)
    return release
  }

  /** A peer sends a packet to the relay. */
  fromPeer(server: SimulatedTurnServer, peer: HostPort, text: string): boolean {
    const out = server.fromPeer(peer, Buffer.from(text), this.clock.now())
    if (out) this.#deliver(out.packet, { address: server.address, port: 3478 })
    return out !== undefined
  }

  /** Something arrives at the UDP port, whoever sent it. */
  inject(packet: Buffer, from: HostPort): boolean {
    if ((packet[0] as number) >= 0x40) return this.relays.receiveChannelData(packet, from)
    try {
      return this.relays.receiveStun(StunMessage.decode(packet), packet, from)
    } catch {
      return false
    }
  }

  /** The one relay there is. */
  get relay(): string {
    return this.relays.candidates()[0]?.relay ?? ''
  }

  get reason(): string | undefined {
    return this.relays.state()[0]?.reason
  }

  #send(packet: Buffer, to: HostPort): 'sent' | 'dropped' {
    if (this.unreachable.has(to.address)) {
      this.#sendError?.(to, 'ENETUNREACH')
      return 'dropped'
    }
    this.sent.push({ packet, to })
    const server = this.servers.get(to.address)
    if (!server || to.port !== 3478 || this.lost(packet, 'out')) return 'sent'
    const from = this.client
    this.clock.after(this.delay(to.address), () => {
      for (const answer of server.receive(packet, from, this.clock.now()))
        if (from === this.client && !this.lost(answer, 'in')) this.#deliver(answer, { address: to.address, port: 3478 })
    })
    return 'sent'
  }

  #deliver(packet: Buffer, from: HostPort): void {
    this.clock.after(this.delay(from.address), () => this.inject(packet, from))
  }
}
