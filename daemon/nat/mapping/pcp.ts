import type { Clock } from '../../clock.ts'
import { PartylineError, toPartylineError } from '../../errors.ts'
import type { Milliseconds } from '../../types.ts'
import { Epoch } from './epoch.ts'
import { askGateway, type OpenGatewaySocket } from './gateway-client.ts'
import {
  decodePcp,
  encodePcpMap,
  MAX_LIFETIME,
  NONCE_SIZE,
  OPCODE,
  type PcpResponse,
  pcpProtocol,
  pcpReason,
} from './pcp-message.ts'
import type { Mapped, MappingProtocol, MappingWish } from './protocol.ts'

const PORT = 5351
/** RFC 6887 section 8.1.1 begins with 3 s, for a whole network after a power cut; a router that is there answers within some milliseconds. */
const PAUSES: readonly Milliseconds[] = [500, 1000, 2000, 3000]
/** Routers and mappings that nonces are remembered for. */
const MAX_NONCES = 32

interface PcpOptions {
  readonly clock: Clock
  readonly random: (bytes: number) => Buffer
  readonly open: OpenGatewaySocket
}

/** The Port Control Protocol (RFC 6887): IPv4 mappings, and holes in IPv6 firewalls. */
export class Pcp implements MappingProtocol {
  readonly name = 'pcp'
  readonly #options: PcpOptions
  /** Who asks again shows the same nonce (section 11.2): nobody else on the network can change a mapping. */
  readonly #nonces = new Map<string, Buffer>()
  readonly #epochs = new Map<string, Epoch>()
  readonly #listeners = new Set<() => void>()

  constructor(options: PcpOptions) {
    this.#options = options
  }

  async map(wish: MappingWish, signal: AbortSignal): Promise<Mapped> {
    const { mapping, lifetime } = await this.#ask(wish, Math.min(MAX_LIFETIME, Math.ceil(wish.lifetime / 1000)), signal)
    if (!mapping || mapping.external.port === 0 || lifetime === 0)
      throw new PartylineError('network.no-mapping', 'the router grants nothing')
    return { external: mapping.external, lifetime: lifetime * 1000 }
  }

  async unmap(wish: MappingWish, signal: AbortSignal): Promise<void> {
    await this.#ask({ ...wish, externalPort: 0 }, 0, signal).catch(() => {})
    this.#nonces.delete(keyOf(wish))
  }

  onReset(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes what a router says to everybody (section 14.1). */
  announced(packet: Buffer, from: string): void {
    try {
      const response = decodePcp(packet)
      if (response.opcode === OPCODE.announce && response.result === 0) this.#watch(from, response)
    } catch {
      // Anybody on the network may send to the group.
    }
  }

  async #ask(wish: MappingWish, lifetime: number, signal: AbortSignal): Promise<PcpResponse> {
    const { gateway, transport, internalPort, externalPort } = wish
    const nonce = this.#nonceOf(wish)
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
    if (this.#epochs.size > MAX_NONCES) this.#epochs.delete([...this.#epochs.keys()][0] ?? '')
    if (known.take(epoch, this.#options.clock.now())) for (const listener of [...this.#listeners]) listener()
  }

  #nonceOf(wish: MappingWish): Buffer {
    const key = keyOf(wish)
    const known = this.#nonces.get(key) ?? this.#options.random(NONCE_SIZE)
    this.#nonces.delete(key)
    this.#nonces.set(key, known)
    const [oldest] = this.#nonces.keys()
    if (this.#nonces.size > MAX_NONCES && oldest !== undefined) this.#nonces.delete(oldest)
    return known
  }
}

const keyOf = ({ gateway, transport, internalPort }: MappingWish): string =>
  `${gateway.address} ${gateway.own} ${transport} ${internalPort}`

/** Section 8.3 and 11.4: an answer is to what was asked, or it is none. */
function readAnswer(packet: Buffer, nonce: Buffer, { transport, internalPort }: MappingWish): PcpResponse | undefined {
  let answer: PcpResponse
  try {
    answer = decodePcp(packet)
  } catch (error) {
    void toPartylineError(error)
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
