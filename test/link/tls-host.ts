import { generateKeyPairSync } from 'node:crypto'
import type { Socket } from 'node:net'
import { type Certificate, makeCertificate } from '../../daemon/identity/certificate.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import type { Link } from '../../daemon/link/link.ts'
import { createTlsDial, type Dial } from '../../daemon/link/tls-dial.ts'
import { LinkListener, type ListenLimits } from '../../daemon/link/tls-listen.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort, PeerId } from '../../daemon/types.ts'

/** A new key with its certificate. */
export interface Keyed {
  readonly peer: PeerId
  readonly certificate: Certificate
}

export async function newKey(): Promise<Keyed> {
  const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
  return { peer: identity.peer, certificate: await makeCertificate(identity) }
}

export const LIMITS: ListenLimits = { perAddress: 64, halfOpen: 128, total: 1024, handshake: 5000 }

/** A listening port and a way to dial, on loopback, with a key of their own. */
export class TlsHost implements AsyncDisposable {
  readonly peer: PeerId
  readonly dial: Dial
  readonly refusals = new Refusals()
  readonly listener: LinkListener
  readonly #waiting: ((accepted: { link: Link; greeted: () => void }) => void)[] = []
  readonly #arrived: { link: Link; greeted: () => void }[] = []

  private constructor({ peer, certificate }: Keyed, limits: ListenLimits, onXmpp?: (socket: Socket) => void) {
    this.peer = peer
    const tls = tlsOptions(certificate)
    this.dial = createTlsDial(tls)
    this.listener = new LinkListener({
      tls,
      limits,
      refusals: this.refusals,
      logger: silentLogger,
      ...(onXmpp && { onXmpp }),
      onLink: (link, greeted) => {
        const taker = this.#waiting.shift()
        if (taker) taker({ link, greeted })
        else this.#arrived.push({ link, greeted })
      },
    })
  }

  static async listening(limits: Partial<ListenLimits> = {}, onXmpp?: (socket: Socket) => void): Promise<TlsHost> {
    const host = new TlsHost(await newKey(), { ...LIMITS, ...limits }, onXmpp)
    await host.listener.listen(0, true)
    return host
  }

  get at(): HostPort {
    return { address: '127.0.0.1', port: this.listener.port }
  }

  /** The next link that came in. */
  async accepted(): Promise<{ link: Link; greeted: () => void }> {
    return this.#arrived.shift() ?? new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** A link from this host to another, and the other's end of it. */
  async linkTo(other: TlsHost): Promise<{ near: Link; far: Link; greeted: () => void }> {
    const [near, { link: far, greeted }] = await Promise.all([
      this.dial(other.at, other.peer, AbortSignal.timeout(10_000)),
      other.accepted(),
    ])
    return { near, far, greeted }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.stop()
  }
}

/** Waits until `condition` holds; events that nothing announces (a counter in another part) are looked for. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}
