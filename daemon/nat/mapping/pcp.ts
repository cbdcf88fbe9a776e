import { isIPv4 } from 'node:net'
import type { Clock } from '../../clock.ts'
import { PartylineError } from '../../errors.ts'
import type { Milliseconds } from '../../types.ts'
import { Epoch } from './epoch.ts'
import { askGateway, type OpenGatewaySocket } from './gateway-client.ts'
import {
  decodePcp,
  encodePcpMap,
  MAX_LIFETIME,
  OPCODE,
  type PcpResponse,
  pcpProtocol,
  pcpReason,
} from './pcp-message.ts'
import type { Mapped, MappingProtocol, MappingWish } from './protocol.ts'

const PORT = 5351
/** RFC 6887 section 8.1.1 begins with 3 s, for a whole network after a power cut; a router that is there answers within some milliseconds. */
const PAUSES: readonly Milliseconds[] = [500, 1000, 2000, 3000]
/** Routers whose epochs are remembered: more than there are at a time. */
const MAX_EPOCHS = 8

interface PcpOptions {
  readonly clock: Clock
  /**
   * The nonce of a mapping: 12 bytes that nobody else can guess, and the same each time. Who asks again shows the same (section 11.2), so nobody else
   * on the network can change a mapping, and a host that was killed can take its own up again.
   */
  readonly nonce: (mapping: string) => Buffer
  readonly open: OpenGatewaySocket
}

/** The Port Control Protocol (RFC 6887): IPv4 mappings, and holes in IPv6 firewalls. */
export class Pcp implements MappingProtocol {
  readonly name = 'pcp'
  readonly #options: PcpOptions
  readonly #epochs = new Map<string, Epoch>()
  readonly #listeners = new Set<() => void>()

  constructor(options: PcpOptions) {
    this.#options = options
  }

  async map(wish: MappingWish, signal: AbortSignal): Promise<Mapped> {
    const { mapping, lifetime } = await this.#ask(wish, Math.min(MAX_LIFETIME, Math.ceil(wish.lifetime / 1000)), signal)
    const isOfFamily = isIPv4(mapping?.external.address ?? '') === (wish.gateway.family === 4)
    if (!mapping || !isOfFamily || mapping.external.port === 0 || lifetime === 0)
      throw new PartylineError('network.no-mapping', 'the router grants nothing')
    return { external: mapping.external, lifetime: lifetime * 1000 }
  }

  async unmap(wish: MappingWish, signal: AbortSignal): Promise<void> {
    await this.#ask({ ...wish, externalPort: 0 }, 0, signal).catch(() => {})
  }

  onReset(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async #ask(wish: MappingWish, lifetime: number, signal: AbortSignal): Promise<PcpResponse> {
    const { gateway, transport, internalPort, externalPort } = wish
    const nonce = this.#options.nonce(`${gateway.address} ${gateway.own} ${transport} ${internalPort}`)
    const answer = await askGateway({
      ...this.#options,
      gateway,
      port: PORT,
      signal,
      pauses: PAUSES,
      packet: encodePcpMap({
        nonce,
        transport,
        client: gateway.own,
        internalPort,
        external: { address: gateway.family === 4 ? '0.0.0.0' : '::', port: externalPort },
        lifetime,
      }),
      read: (packet) => readAnswer(packet, nonce, wish),
    })
    this.#watch(gateway.address, answer)
    if (answer.result !== 0)
      throw new PartylineError('network.no-mapping', `the router refuses: ${pcpReason(answer.result)}`)
    return answer
  }

  #watch(router: string, { epoch, result }: PcpResponse): void {
    if (result !== 0) return
    const known = this.#epochs.get(router) ?? new Epoch()
    // Set before anybody is told, who may ask again at once.
    this.#epochs.set(router, known)
    if (this.#epochs.size > MAX_EPOCHS) this.#epochs.delete([...this.#epochs.keys()][0] ?? '')
    if (known.take(epoch, this.#options.clock.now())) for (const listener of [...this.#listeners]) listener()
  }
}

/** Section 8.3 and 11.4: an answer is to what was asked, or it is none. */
function readAnswer(packet: Buffer, nonce: Buffer, { transport, internalPort }: MappingWish): PcpResponse | undefined {
  let answer: PcpResponse
  try {
    answer = decodePcp(packet)
  } catch {
    return undefined
  }
  const { opcode, result, mapping } = answer
  if (opcode !== OPCODE.map) return undefined
  // Some routers leave the rest out of an error.
  if (!mapping) return result === 0 ? undefined : answer
  const isOurs =
    mapping.nonce.equals(nonce) && mapping.transport === pcpProtocol(transport) && mapping.internalPort === internalPort
  return isOurs ? answer : undefined
}
