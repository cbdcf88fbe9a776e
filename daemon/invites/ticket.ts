import { createHash } from 'node:crypto'
import sodium from 'sodium-native'
import { PartylineError } from '../errors.ts'
import { decodeBase32, encodeBase32 } from '../identity/base32.ts'
import { cleanName } from '../identity/host-name.ts'
import type { Identity } from '../identity/key.ts'
import { keyFromPeerId, peerIdFromKey } from '../identity/peer-id.ts'
import { decodeRendezvous, encodeRendezvous, type RendezvousSignal } from '../nat/rendezvous/description.ts'
import type { Ways } from '../peers/ways.ts'
import type { PeerId, UnixMilliseconds } from '../types.ts'
import { FieldReader, FieldWriter } from './fields.ts'
import { ID_SIZE, PROOF_SIZE, type Proof, SECRET_SIZE } from './proof.ts'
import { readWays, writeWays } from './ways-field.ts'

/**
 * Layout, big endian: version 1, kind 1, signer's key 32, expiry 4 (Unix seconds), invitation id 8, then by kind; Ed25519 signature 64 of all
 * before it; checksum 4 of all before it, which tells damage from forgery. As text: `partyline:` and base32, whose capitals fit the
 * alphanumeric mode of QR codes (ISO/IEC 18004).
 */
const VERSION = 1
const KINDS = ['invitation', 'offer', 'answer'] as const
const SIGNATURE = 64
const CHECKSUM = 4
const LEAST = 2 + 32 + 4 + ID_SIZE + SIGNATURE + CHECKSUM
/** Largest ticket in bytes, and longest text that is looked at. */
const MAX_BYTES = 4096
const MAX_TEXT = 2 * MAX_BYTES

const SCHEME = 'partyline:'
/** Signed before the ticket, so that a signature made here means nothing anywhere else. */
const DOMAIN = Buffer.from('partyline ticket 1\0')

/** What people carry to each other with an offer and an answer: how ICE gets through to the signer. */
export type Meeting = Extract<RendezvousSignal, { kind: 'describe' }>

interface Signed {
  readonly peer: PeerId
  readonly name: string
  readonly ways: Ways
  /** Unix seconds. */
  readonly expires: number
  /** Of the invitation. */
  readonly id: string
}

interface Invites extends Signed {
  readonly secret: Uint8Array
  /** The only host that may use it. */
  readonly for: PeerId | undefined
}

/** Invites whoever holds it. */
export interface InvitationTicket extends Invites {
  readonly kind: 'invitation'
}

/** The same where no server is: brings along how to get through to the inviter. */
export interface OfferTicket extends Invites {
  readonly kind: 'offer'
  readonly meeting: Meeting
}

/** Answers an offer, to the inviter. */
export interface AnswerTicket extends Signed, Proof {
  readonly kind: 'answer'
  readonly for: PeerId
  readonly meeting: Meeting
}

export type Ticket = InvitationTicket | OfferTicket | AnswerTicket

/** Signs a ticket as `identity`, whose peer it names: `partyline:` and lower-case base32. Throws `usage.too-large`. */
export function formatTicket(ticket: Ticket, identity: Identity): string {
  const fields = new FieldWriter()
    .byte(VERSION)
    .byte(KINDS.indexOf(ticket.kind))
    .bytes(keyFromPeerId(ticket.peer))
    .u32(ticket.expires)
    .bytes(idBytes(ticket.id))
  if (ticket.kind === 'answer') fields.bytes(keyFromPeerId(ticket.for)).bytes(ticket.proof)
  else fields.bytes(ticket.secret).sized(ticket.for === undefined ? Buffer.alloc(0) : keyFromPeerId(ticket.for))
  fields.text(ticket.name)
  writeWays(fields, ticket.ways, ticket.peer)
  if (ticket.kind !== 'invitation') fields.sized(encodeRendezvous(ticket.meeting))
  const body = fields.toBuffer()
  const signed = Buffer.concat([body, identity.sign(Buffer.concat([DOMAIN, body]))])
  const bytes = Buffer.concat([signed, checksumOf(signed)])
  if (bytes.length > MAX_BYTES) throw new PartylineError('usage.too-large', `a ticket of ${bytes.length} bytes`)
  return SCHEME + encodeBase32(bytes)
}

/**
 * Reads a ticket, with or without `partyline:`, in whatever case, broken into lines or not. Throws `usage.bad-ticket` where it is none or
 * damaged, `peer.bad-signature` where somebody forged it, `usage.invalid-argument` for one of `self`, `policy.ticket-expired`, and
 * `policy.ticket-not-for-you`; nothing else, whatever the text.
 */
export function parseTicket(
  text: string,
  { self, wall }: { readonly self: PeerId; readonly wall: UnixMilliseconds },
): Ticket {
  const ticket = readSigned(bytesOf(text))
  if (ticket.peer === self)
    throw new PartylineError('usage.invalid-argument', 'this ticket was made by this host itself', {
      hint: 'Give it to the host that is to join.',
    })
  if (ticket.expires * 1000 <= wall) throw expired(ticket.expires, wall)
  if (ticket.for !== undefined && ticket.for !== self)
    throw new PartylineError('policy.ticket-not-for-you', `the ticket is for the host ${ticket.for.slice(0, 12)}`)
  return ticket
}

function bytesOf(text: string): Buffer {
  if (text.length > MAX_TEXT) throw bad('it is too long')
  const plain = text.replace(/\s/g, '').toLowerCase()
  if (plain.startsWith('partyline-hub:'))
    throw new PartylineError('usage.invalid-argument', 'this is the ticket of a hub', {
      hint: 'Run `partyline hub join` with it.',
    })
  const bytes = decodeBase32(plain.startsWith(SCHEME) ? plain.slice(SCHEME.length).replace(/^\/\//, '') : plain)
  if (!bytes) throw bad('characters are wrong or missing')
  if (bytes.length > MAX_BYTES) throw bad('it is too long')
  if (bytes.length < LEAST) throw bad('its end is missing')
  const whole = Buffer.from(bytes)
  if (!whole.subarray(-CHECKSUM).equals(checksumOf(whole.subarray(0, -CHECKSUM))))
    throw bad('parts are wrong or missing')
  return whole
}

function readSigned(whole: Buffer): Ticket {
  if (whole[0] !== VERSION) throw bad(`it is of version ${whole[0]}, and this host knows version ${VERSION}`)
  const signature = whole.subarray(-SIGNATURE - CHECKSUM, -CHECKSUM)
  const body = whole.subarray(0, -SIGNATURE - CHECKSUM)
  const fields = new FieldReader(body)
  const kind = KINDS[fields.bytes(2).readUInt8(1)]
  const key = fields.bytes(32)
  if (!sodium.crypto_sign_verify_detached(signature, Buffer.concat([DOMAIN, body]), key))
    throw new PartylineError('peer.bad-signature', 'the ticket was not signed by the host that it names', {
      hint: 'Somebody forged it: do not use it.',
    })
  try {
    return readBody(kind, peerIdFromKey(key), fields)
  } catch (cause) {
    throw bad('another version of Partyline made it', cause)
  }
}

function readBody(kind: Ticket['kind'] | undefined, peer: PeerId, fields: FieldReader): Ticket {
  if (kind === undefined) throw new RangeError('an unknown kind')
  const ticket = kind === 'answer' ? readAnswer(peer, fields) : readInvitation(kind, peer, fields)
  if (!fields.isAtEnd) throw new RangeError('more than a ticket')
  return ticket
}

function readAnswer(peer: PeerId, fields: FieldReader): AnswerTicket {
  return {
    kind: 'answer',
    peer,
    ...readTerm(fields),
    for: peerIdFromKey(fields.bytes(32)),
    proof: fields.bytes(PROOF_SIZE),
    ...readHost(peer, fields),
    meeting: meetingOf(fields.sized()),
  }
}

function readInvitation(
  kind: 'invitation' | 'offer',
  peer: PeerId,
  fields: FieldReader,
): InvitationTicket | OfferTicket {
  const invitation = {
    peer,
    ...readTerm(fields),
    secret: fields.bytes(SECRET_SIZE),
    for: receiver(fields.sized()),
    ...readHost(peer, fields),
  }
  return kind === 'invitation' ? { kind, ...invitation } : { kind, ...invitation, meeting: meetingOf(fields.sized()) }
}

function readTerm(fields: FieldReader): Pick<Signed, 'expires' | 'id'> {
  return { expires: fields.u32(), id: encodeBase32(fields.bytes(ID_SIZE)) }
}

function readHost(peer: PeerId, fields: FieldReader): Pick<Signed, 'name' | 'ways'> {
  return { name: cleanName(fields.text()), ways: readWays(fields, peer) }
}

function receiver(key: Buffer): PeerId | undefined {
  return key.length === 0 ? undefined : peerIdFromKey(key)
}

function meetingOf(bytes: Buffer): Meeting {
  const signal = decodeRendezvous(bytes)
  if (signal.kind !== 'describe') throw new RangeError('no description')
  return signal
}

function idBytes(id: string): Uint8Array {
  const bytes = decodeBase32(id)
  if (bytes?.length !== ID_SIZE) throw new RangeError(`${id} is no invitation`)
  return bytes
}

function checksumOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest().subarray(0, CHECKSUM)
}

/** The host that gave it out knows the same; this spares asking it. */
function expired(expires: number, wall: UnixMilliseconds): PartylineError {
  const [end, now] = [expires * 1000, wall].map(
    (at) => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`,
  )
  return new PartylineError('policy.ticket-expired', `the ticket was good until ${end}, and it is ${now} here`)
}

function bad(why: string, cause?: unknown): PartylineError {
  return new PartylineError('usage.bad-ticket', `this is no ticket, or a damaged one: ${why}`, { cause })
}
