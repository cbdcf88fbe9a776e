import type { TLSSocket } from 'node:tls'
import type { PeerId } from '../types.ts'
import type { Link } from './link.ts'

/** A link over a TLS socket whose handshake is done and whose peer is proven. */
export function tlsLink(socket: TLSSocket, peer: PeerId, dialled: boolean): Link {
  socket.setNoDelay(true)
  // A stream may be silent for long while its path is gone: the session's own keepalive does not see that.
  socket.setKeepAlive(true, 15_000)
  // Only the dialler's side of OpenSSL tells the group; the greeting brings it to the other.
  const key = dialled ? socket.getEphemeralKeyInfo() : undefined
  const group = key && 'name' in key && typeof key.name === 'string' ? key.name : ''
  return {
    peer,
    carrier: 'tcp',
    dialled,
    local: { address: plain(socket.localAddress), port: socket.localPort ?? 0 },
    remote: { address: plain(socket.remoteAddress), port: socket.remotePort ?? 0 },
    cipher: socket.getCipher().name,
    group,
    socket,
    exportKey: (label, length) => socket.exportKeyingMaterial(length, label, NO_CONTEXT),
    destroy: () => socket.destroy(),
  }
}

const NO_CONTEXT = Buffer.alloc(0)

/** IPv4 that came through a dual-stack socket is shown as IPv4. */
const plain = (address = ''): string => (address.startsWith('::ffff:') ? address.slice(7) : address)
