import { PartylineError } from '../../errors.ts'
import { cleanName } from '../../identity/host-name.ts'
import { type Identity, verifySignature } from '../../identity/key.ts'
import { keyFromPeerId, peerIdFromKey } from '../../identity/peer-id.ts'
import type { PeerId } from '../../types.ts'

/**
 * Every beacon has this size, so that an answer is never larger than what asked for it. Layout, big endian: magic 4, kind 1, flags 1,
 * port 2, instance 8, sequence 8, nonce 16, echo 16, key 32, length of the name 1, name 63, zeros 40, Ed25519 signature 64.
 */
export const PACKET_SIZE = 256
const SIGNED = PACKET_SIZE - 64
const NAME_AT = 89
const NAME_SIZE = 63
const MAGIC = 0x50_4c_42_31
/** Signed before the packet, so that a signature made here means nothing anywhere else. */
const DOMAIN = Buffer.from('partyline beacon 1\0')

const KINDS = ['announce', 'answer', 'goodbye'] as const
/** A flag of an announcement: answer it, even if its sender is known. */
const WANT_ANSWER = 1

/** Sixteen zero bytes as text: no challenge, or none answered. */
export const NO_NONCE = '00'.repeat(16)

/** What a beacon says. Nonces and the instance are hexadecimal. */
export interface Beacon {
  readonly kind: (typeof KINDS)[number]
  readonly wantAnswer: boolean
  readonly port: number
  /** Eight random bytes, new at each start of the daemon. */
  readonly instance: string
  /** Grows with each packet of an instance. */
  readonly sequence: number
  /** A challenge: whoever returns it as `echo` under its signature is alive. */
  readonly nonce: string
  readonly echo: string
  readonly peer: PeerId
  readonly name: string
}

export function encodeBeacon(beacon: Beacon, identity: Pick<Identity, 'sign'>): Buffer {
  const packet = Buffer.alloc(PACKET_SIZE)
  packet.writeUInt32BE(MAGIC)
  packet[4] = KINDS.indexOf(beacon.kind)
  packet[5] = beacon.wantAnswer ? WANT_ANSWER : 0
  packet.writeUInt16BE(beacon.port, 6)
  packet.write(beacon.instance, 8, 8, 'hex')
  packet.writeBigUInt64BE(BigInt(beacon.sequence), 16)
  packet.write(beacon.nonce, 24, 16, 'hex')
  packet.write(beacon.echo, 40, 16, 'hex')
  packet.set(keyFromPeerId(beacon.peer), 56)
  packet[NAME_AT - 1] = packet.write(cleanName(beacon.name), NAME_AT, NAME_SIZE, 'utf8')
  packet.set(identity.sign(Buffer.concat([DOMAIN, packet.subarray(0, SIGNED)])), SIGNED)
  return packet
}

/** What a packet says, its signature not yet checked. Throws `peer.oversized` or `peer.malformed`. */
export function decodeBeacon(packet: Buffer): Beacon {
  if (packet.length > PACKET_SIZE) throw new PartylineError('peer.oversized', `a beacon of ${packet.length} bytes`)
  if (packet.length < PACKET_SIZE || packet.readUInt32BE() !== MAGIC)
    throw new PartylineError('peer.malformed', 'not a beacon')
  const kind = KINDS[packet[4] ?? 255]
  const flags = packet[5] ?? 0
  const port = packet.readUInt16BE(6)
  const sequence = packet.readBigUInt64BE(16)
  const nameLength = packet[NAME_AT - 1] ?? 0
  const padding = packet.subarray(NAME_AT + nameLength, SIGNED)
  if (
    !kind ||
    flags > WANT_ANSWER ||
    port === 0 ||
    sequence > BigInt(Number.MAX_SAFE_INTEGER) ||
    nameLength > NAME_SIZE ||
    padding.some((byte) => byte !== 0)
  )
    throw new PartylineError('peer.malformed', 'a beacon with impossible fields')
  return {
    kind,
    wantAnswer: flags === WANT_ANSWER,
    port,
    instance: packet.toString('hex', 8, 16),
    sequence: Number(sequence),
    nonce: packet.toString('hex', 24, 40),
    echo: packet.toString('hex', 40, 56),
    peer: peerIdFromKey(packet.subarray(56, 88)),
    name: cleanName(packet.toString('utf8', NAME_AT, NAME_AT + nameLength)),
  }
}

/** True when the packet carries the signature of the key that it names. Costs some 100 µs. */
export function isSigned(packet: Buffer, peer: PeerId): boolean {
  return verifySignature(peer, Buffer.concat([DOMAIN, packet.subarray(0, SIGNED)]), packet.subarray(SIGNED))
}
