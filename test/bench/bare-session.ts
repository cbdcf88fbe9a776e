/**
 * A host without discovery, peer book and socket: the daemon's own link, connect and session parts, wired as `daemon/main.ts` wires them. The one
 * place of the benchmark that knows their constructors.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { systemClock } from '../../daemon/clock.ts'
import { Connector } from '../../daemon/connect/connector.ts'
import { type DatagramPort, SealedPort } from '../../daemon/datagram/datagram-port.ts'
import { makeCertificate } from '../../daemon/identity/certificate.ts'
import { type Identity, identityOf } from '../../daemon/identity/key.ts'
import { createTlsDial } from '../../daemon/link/tls-dial.ts'
import { LinkListener } from '../../daemon/link/tls-listen.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { createLogger } from '../../daemon/logger.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { IncomingMessage, IncomingStream, Session } from '../../daemon/session/session.ts'
import { SessionManager } from '../../daemon/session/session-manager.ts'
import type { HostPort, PeerId } from '../../daemon/types.ts'

const HANDSHAKE = 5000
const RESUME_FOR = 30_000
const MANY = 10_000

interface Handlers {
  readonly onMessage: (message: IncomingMessage) => void
  readonly onStream: (stream: IncomingStream) => void
}

const logger = createLogger('error', () => {})

/** A UDP port for sealed datagrams, which the hosts of one process share. */
export async function openDatagramPort(): Promise<DatagramPort> {
  const refusals = new Refusals()
  const endpoint = new UdpEndpoint({ clock: systemClock, logger, refusals })
  await endpoint.bind(0)
  return new SealedPort({
    clock: systemClock,
    refusals,
    endpoint,
    send: (packet, to) => void endpoint.send(packet, to),
    mayLeave: () => true,
    interfaces: () => [],
  })
}

/** A host that takes everything from everybody. */
export class BareHost {
  readonly peer: PeerId
  readonly #listener: LinkListener
  readonly #connector: Connector
  readonly #sessions: SessionManager
  readonly #addresses = new Map<PeerId, HostPort>()

  static async create(handlers: Handlers, datagrams: DatagramPort): Promise<BareHost> {
    const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
    return new BareHost(identity, tlsOptions(await makeCertificate(identity)), handlers, datagrams)
  }

  private constructor(
    identity: Identity,
    tls: ReturnType<typeof tlsOptions>,
    { onMessage, onStream }: Handlers,
    datagrams: DatagramPort,
  ) {
    this.peer = identity.peer
    const clock = systemClock
    const refusals = new Refusals()
    this.#connector = new Connector({
      self: identity.peer,
      instance: randomBytes(8).toString('hex'),
      clock,
      logger,
      refusals,
      dial: createTlsDial(tls),
      addressesOf: (peer) => {
        const address = this.#addresses.get(peer)
        return address ? [{ ...address, interface: '', lastGood: true }] : []
      },
      interfaces: () => [],
      isBlocked: () => false,
      name: () => 'bench',
      port: () => this.#listener.port,
      greetingTimeout: HANDSHAKE,
      onElected: (elected) => this.#sessions.take(elected),
      holds: (peer) => this.#sessions.holds(peer),
      suspend: (peer, session) => this.#sessions.suspend(peer, session),
      onStream: (...stream) => this.#sessions.takeStream(...stream),
    })
    this.#listener = new LinkListener({
      tls,
      limits: { perAddress: MANY, halfOpen: MANY, total: MANY, handshake: HANDSHAKE },
      refusals,
      logger,
      onLink: (link, greeted) => void this.#connector.accept(link, greeted),
    })
    this.#sessions = new SessionManager({
      clock,
      logger,
      refusals,
      connect: (peer, timeout) => this.#connector.connect(peer, timeout),
      dialStream: (...stream) => this.#connector.dialStream(...stream),
      routeOf: () => 'lan',
      datagrams,
      resumeFor: () => RESUME_FOR,
      isHeld: () => true,
      idleClose: () => 0,
      onMessage,
      onStream,
      onOpened: () => {},
      onChanged: () => {},
      onStalled: () => {},
      onClosed: () => {},
    })
  }

  /** Resolves to the port. */
  listen(): Promise<number> {
    return this.#listener.listen(0, false)
  }

  open(peer: PeerId, address: HostPort): Promise<Session> {
    this.#addresses.set(peer, address)
    return this.#sessions.open(peer)
  }

  /** The session there is. */
  session(peer: PeerId): Session | undefined {
    return this.#sessions.get(peer)
  }
}
