import { formatHubTicket, parseHub } from '../hub/ticket.ts'
import { keyFromPeerId, peerIdFromKey } from '../identity/peer-id.ts'
import { bytesToIp, ipToBytes } from '../network/ip-bytes.ts'
import { type Ways, ways } from '../peers/ways.ts'
import type { HostPort, PeerId } from '../types.ts'
import type { FieldReader, FieldWriter } from './fields.ts'

/** How a hub is written: as its text, or as a ticket, which takes fewer bytes so. */
const TEXT = 0
const TICKET = 1
/** A ticket of the hub that the host itself is. */
const OWN_TICKET = 2

/** Longest lists that are looked at; `ways` has the limits that count. */
const MAX_COUNT = 16

/** Writes how a host, `self`, may be reached. */
export function writeWays(to: FieldWriter, { accounts, hubs, addresses }: Ways, self: PeerId): void {
  to.byte(accounts.length)
  for (const account of accounts) to.text(account)
  to.byte(hubs.length)
  for (const hub of hubs) writeHub(to, hub, self)
  writeAddresses(to, addresses)
}

/** Throws RangeError or a ZodError for what is none. */
export function readWays(from: FieldReader, self: PeerId): Ways {
  return ways.parse({
    accounts: many(from, () => from.text()),
    hubs: many(from, () => readHub(from, self)),
    addresses: readAddresses(from),
  })
}

function writeHub(to: FieldWriter, hub: string, self: PeerId): void {
  const { peer, addresses, name } = parsed(hub) ?? {}
  // Only what comes out again as it went in.
  if (!peer || !addresses || name === undefined || formatHubTicket({ peer, addresses, name }) !== hub) {
    to.byte(TEXT).text(hub)
    return
  }
  if (peer === self) to.byte(OWN_TICKET)
  else to.byte(TICKET).bytes(keyFromPeerId(peer))
  writeAddresses(to, addresses)
  to.text(name)
}

function readHub(from: FieldReader, self: PeerId): string {
  const kind = from.byte()
  if (kind === TEXT) return from.text()
  if (kind !== TICKET && kind !== OWN_TICKET) throw new RangeError('a hub of an unknown kind')
  const peer = kind === OWN_TICKET ? self : peerIdFromKey(from.bytes(32))
  const addresses = readAddresses(from)
  return formatHubTicket({ peer, addresses, name: from.text() })
}

function parsed(hub: string): ReturnType<typeof parseHub> | undefined {
  try {
    const found = parseHub(hub)
    // Bytes have no zone.
    return found.addresses.some(({ address }) => bytesToIp(ipToBytes(address)) !== address) ? undefined : found
  } catch {
    return undefined
  }
}

function writeAddresses(to: FieldWriter, addresses: readonly HostPort[]): void {
  to.byte(addresses.length)
  for (const { address, port } of addresses) to.sized(ipToBytes(address)).u16(port)
}

function readAddresses(from: FieldReader): HostPort[] {
  return many(from, () => ({ address: bytesToIp(from.sized()), port: from.u16() }))
}

function many<T>(from: FieldReader, read: () => T): T[] {
  const count = from.byte()
  if (count > MAX_COUNT) throw new RangeError(`a list of ${count}`)
  return Array.from({ length: count }, read)
}
