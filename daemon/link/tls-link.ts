import type { TLSSocket } from 'node:tls'
import type { PeerId } from '../types.ts'
import type { Link } from './link.ts'

/** A link over TLS over TCP whose handshake is done and whose peer is proven. */
export function tlsLink(socket: TLSSocket, peer: PeerId, dialled: boolean): Link {
  socket.setNoDelay(true)
  // A stream may be silent for long while its path is gone: the session's own keepalive does not see that.
  socket.setKeepAlive(true, 15_000)
  return {
    ...secured(socket, peer, dialled),
    carrier: 'tcp',
    local: { address: plain(socket.localAddress), port: socket.localPort ?? 0 },
    remote: { address: plain(socket.remoteAddress), port: socket.remotePort ?? 0 },
  }
}

/** What a link has of TLS, over whichever carrier. */
export function secured(socket: TLSSocket, peer: PeerId, dialled: boolean) {
  // Only the dialler's side of OpenSSL tells the group; the greeting brings it to the other.
  const key = dialled ? socket.getEphemeralKeyInfo() : undefined
  return {
    peer,
    dialled,
    cipher: socket.getCipher().name,
    group: key && 'name' in key && typeof key.name === 'string' ? key.name : '',
    socket,
    exportKey: (label: string, length: number) => socket.exportKeyingMaterial(length, label, NO_CONTEXT),
    destroy: () => void socket.destroy(),
  }
}

const NO_CONTEXT = Buffer.alloc(0)

/** IPv4 that came through a dual-stack socket is shown as IPv4. */
const plain = (address = ''): string => (address.startsWith('::ffff:') ? address.slice(7) : address)
