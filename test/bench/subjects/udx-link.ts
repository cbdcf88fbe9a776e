/** A link over UDX: the daemon's UDP endpoint and carriers without the daemon. Who is where travels over a TCP connection, as signals would. */
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, connect as dialTcp } from 'node:net'
import { createInterface } from 'node:readline'
import { systemClock } from '../../../daemon/clock.ts'
import { makeCertificate } from '../../../daemon/identity/certificate.ts'
import { identityOf } from '../../../daemon/identity/key.ts'
import type { Link } from '../../../daemon/link/link.ts'
import { tlsOptions } from '../../../daemon/link/tls-options.ts'
import { UdxCarriers } from '../../../daemon/link/udx-carriers.ts'
import { shakeHands } from '../../../daemon/link/udx-link.ts'
import { silentLogger } from '../../../daemon/logger.ts'
import { UdpEndpoint } from '../../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../../daemon/refusals.ts'
import type { HostPort, PeerId } from '../../../daemon/types.ts'
import { StreamPipe } from '../stream-pipe.ts'
import type { Conversation, Transport } from '../transport.ts'

/** What each end tells the other of itself. */
interface Introduction {
  readonly peer: PeerId
  readonly port: number
  readonly stream: number
}

const HANDSHAKE = 10_000
/** What ICE finds that the path takes: an interface's usual 1,500 bytes without the headers of IPv4 and UDP. */
const PAYLOAD = 1472

/** One end: a port, a key, and links over them. */
class UdxHost {
  readonly peer: PeerId
  readonly #endpoint: UdpEndpoint
  readonly #carriers: UdxCarriers
  readonly #tls: ReturnType<typeof tlsOptions>

  private constructor(peer: PeerId, endpoint: UdpEndpoint, refusals: Refusals, tls: ReturnType<typeof tlsOptions>) {
    this.peer = peer
    this.#endpoint = endpoint
    this.#tls = tls
    const send = (packet: Buffer, to: HostPort): void => void endpoint.send(packet, to)
    this.#carriers = new UdxCarriers({ endpoint, clock: systemClock, refusals, send })
  }

  static async open(): Promise<UdxHost> {
    const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
    const refusals = new Refusals()
    const endpoint = new UdpEndpoint({ clock: systemClock, logger: silentLogger, refusals })
    await endpoint.bind(0)
    return new UdxHost(identity.peer, endpoint, refusals, tlsOptions(await makeCertificate(identity)))
  }

  introduce(stream = this.#carriers.freeId()): Introduction {
    return { peer: this.peer, port: this.#endpoint.port, stream }
  }

  async link(role: 'client' | 'server', stream: number, { peer, port }: Introduction, address: string): Promise<Link> {
    const carrier = this.#carriers.open(stream, { address, port }, PAYLOAD)
    const signal = AbortSignal.timeout(HANDSHAKE)
    const link = await shakeHands(carrier, { role, tls: this.#tls, expected: peer, signal })
    // A conversation that was ended ends its link on this side too.
    link.socket.on('end', () => link.socket.end())
    return link
  }
}

export const udxLink: Transport = {
  serve: async (service, { host }) => {
    const own = await UdxHost.open()
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => socket.destroy())
      createInterface(socket).once('line', (line) => {
        const theirs = JSON.parse(line) as Introduction
        const link = own.link('server', theirs.stream, theirs, socket.remoteAddress ?? '')
        socket.write(`${JSON.stringify(own.introduce(theirs.stream))}\n`)
        link.then(
          ({ socket: stream }) => service.take(new StreamPipe(stream)),
          () => socket.destroy(),
        )
      })
    })
    server.listen(0, host)
    await once(server, 'listening')
    const address = server.address()
    return { host, port: typeof address === 'object' && address ? address.port : 0, detail: '' }
  },

  prepare: async ({ host, port }) => {
    const own = await UdxHost.open()
    const dial = async (): Promise<Link> => {
      const socket = dialTcp({ host, port, noDelay: true })
      socket.on('error', () => socket.destroy())
      const mine = own.introduce()
      socket.write(`${JSON.stringify(mine)}\n`)
      const [line] = await once(createInterface(socket), 'line')
      return own.link('client', mine.stream, JSON.parse(line) as Introduction, host)
    }
    return async (): Promise<Conversation> => {
      const links = [await dial()]
      let unused: Link | undefined = links[0]
      return {
        pipe: async () => {
          const link = unused ?? (await dial())
          unused = undefined
          links.push(link)
          return new StreamPipe(link.socket)
        },
        close: async () => {
          for (const link of links) link.destroy()
        },
      }
    }
  },
}
