import { hkdfSync } from 'node:crypto'
import sodium from 'sodium-native'

/** Keying material of the TLS exporter, at least this long. */
const MIN_SECRET = 64

/** The key and the start of the nonces of one direction, for one key phase; it leads to that of the next. */
export class PacketKey {
  readonly key: Buffer
  readonly iv: Buffer
  readonly #secret: Buffer

  constructor(secret: Buffer) {
    this.#secret = secret
    this.key = derive(secret, 'key', 32)
    this.iv = derive(secret, 'iv', 12)
  }

  /** That of the next phase. It does not lead back. */
  next(): PacketKey {
    return new PacketKey(derive(this.#secret, 'next', 32))
  }

  wipe(): void {
    for (const part of [this.#secret, this.key, this.iv]) sodium.sodium_memzero(part)
  }
}

/** The first keys of both directions, from what the TLS exporter gave to both ends (HKDF, RFC 5869, with SHA-256). */
export function packetKeys(secret: Buffer, dialled: boolean): { out: PacketKey; in: PacketKey } {
  if (secret.length < MIN_SECRET) throw new RangeError(`a datagram secret has at least ${MIN_SECRET} bytes`)
  const ofDialler = new PacketKey(derive(secret, 'dialler', 32))
  const ofListener = new PacketKey(derive(secret, 'listener', 32))
  return dialled ? { out: ofDialler, in: ofListener } : { out: ofListener, in: ofDialler }
}

function derive(secret: Buffer, label: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `partyline datagram ${label}`, length))
}
