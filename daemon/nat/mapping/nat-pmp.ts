import type { Clock } from '../../clock.ts'
import { PartylineError } from '../../errors.ts'
import type { Milliseconds } from '../../types.ts'
import { Epoch } from './epoch.ts'
import { askGateway, type OpenGatewaySocket } from './gateway-client.ts'
import {
  decodeNatPmp,
  encodeAddressRequest,
  encodeMappingRequest,
  type NatPmpResponse,
  natPmpReason,
  OPCODE,
} from './nat-pmp-message.ts'
import type { Mapped, MappedTransport, MappingProtocol, MappingWish } from './protocol.ts'

const PORT = 5351
/** RFC 6886 section 3.1: doubling from 250 ms; nine times would take two minutes, and a router that is there answers at once. */
const PAUSES: readonly Milliseconds[] = [250, 500, 1000, 2000]

interface NatPmpOptions {
  readonly clock: Clock
  readonly open: OpenGatewaySocket
}

/** NAT-PMP (RFC 6886), IPv4 only. */
export class NatPmp implements MappingProtocol {
  readonly name = 'nat-pmp'
  readonly #options: NatPmpOptions
  readonly #epochs = new Map<string, Epoch>()
  readonly #listeners = new Set<() => void>()

  constructor(options: NatPmpOptions) {
    this.#options = options
  }

  async map(wish: MappingWish, signal: AbortSignal): Promise<Mapped> {
    if (wish.gateway.family === 6) throw new PartylineError('network.no-mapping', 'NAT-PMP knows no IPv6')
    const { address } = await this.#ask(wish, encodeAddressRequest(), OPCODE.address, signal)
    const { mapping } = await this.#request(wish, wish.externalPort, Math.ceil(wish.lifetime / 1000), signal)
    if (!address || !mapping || mapping.externalPort === 0 || mapping.lifetime === 0)
      throw new PartylineError('network.no-mapping', 'the router grants nothing')
    return { external: { address, port: mapping.externalPort }, lifetime: mapping.lifetime * 1000 }
  }

  async unmap(wish: MappingWish, signal: AbortSignal): Promise<void> {
    await this.#request(wish, 0, 0, signal).catch(() => {})
  }

  onReset(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #request(wish: MappingWish, externalPort: number, lifetime: number, signal: AbortSignal): Promise<NatPmpResponse> {
    const { transport, internalPort } = wish
    const packet = encodeMappingRequest(transport, internalPort, externalPort, lifetime)
    return this.#ask(wish, packet, opcodeOf(transport), signal)
  }

  async #ask(
    { gateway, internalPort }: MappingWish,
    packet: Buffer,
    opcode: number,
    signal: AbortSignal,
  ): Promise<NatPmpResponse> {
    const answer = await askGateway({
      ...this.#options,
      gateway,
      port: PORT,
      packet,
      pauses: PAUSES,
      signal,
      read: (bytes) => {
        const response = decodeNatPmp(bytes)
        if (response?.opcode !== opcode) return undefined
        return response.mapping && response.mapping.internalPort !== internalPort ? undefined : response
      },
    })
    if (answer.result !== 0)
      throw new PartylineError('network.no-mapping', `the router refuses: ${natPmpReason(answer.result)}`)
    this.#watch(gateway.address, answer.epoch)
    return answer
  }

  #watch(router: string, epoch: number): void {
    const known = this.#epochs.get(router) ?? new Epoch()
    this.#epochs.clear()
    this.#epochs.set(router, known)
    if (known.take(epoch, this.#options.clock.now())) for (const listener of [...this.#listeners]) listener()
  }
}

const opcodeOf = (transport: MappedTransport): number => (transport === 'udp' ? OPCODE.udp : OPCODE.tcp)
