import { PartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import { isPeerId } from '../identity/peer-id.ts'
import { parseHostPort } from '../network/host-port.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort, PeerId } from '../types.ts'

/** The port of a hub whose address names none: XMPP clients' for TLS from the first byte (XEP-0368). */
const HUB_PORT = 5223
/** Most addresses of one ticket: with more it would fit no QR code that a phone reads from a distance. */
export const MAX_TICKET_ADDRESSES = 12
/** Longest text that is looked at, in characters. */
const MAX_TEXT = 1024

const SCHEME = 'partyline-hub:'

/** Where a hub is, and whose key it shows where that is known. */
export interface HubTicket {
  readonly peer: PeerId
  readonly addresses: readonly HostPort[]
  readonly name: string
}

/** A hub as somebody gave it: of a bare address neither key nor name is known. */
export type GivenHub = Omit<HubTicket, 'peer'> & { readonly peer: PeerId | undefined }

/** `partyline-hub:PEER-ID?a=IP:PORT&a=[IPv6]:PORT&n=NAME`, percent-encoded; addresses beyond the first twelve are left out. */
export function formatHubTicket({ peer, addresses, name }: HubTicket): string {
  const parameters = [
    ...addresses.slice(0, MAX_TICKET_ADDRESSES).map((address) => `a=${encode(formatHostPort(address))}`),
    `n=${encode(name)}`,
  ]
  return `${SCHEME}${peer}?${parameters.join('&')}`
}

/** A ticket, `IP`, `IP:PORT` or `[IPv6]:PORT`. Throws `usage.invalid-argument`. */
export function parseHub(text: string): GivenHub {
  const given = text.trim()
  if (given.length > MAX_TEXT) throw invalid('a hub takes at most 1024 characters')
  if (given.startsWith(SCHEME)) return parseTicket(given)
  const target = parseHostPort(given, HUB_PORT)
  if (!target) throw invalid(`"${given.slice(0, 80)}" is no IP, IP:PORT, [IPv6]:PORT or ticket of a hub`)
  return { peer: undefined, addresses: [target], name: '' }
}

function parseTicket(text: string): HubTicket {
  const [peer = '', query = ''] = text.slice(SCHEME.length).split('?', 2)
  if (!isPeerId(peer)) throw invalid('the ticket holds no peer id')
  const parameters = query.split('&').map((parameter) => parameter.split('=', 2))
  const values = (key: string): string[] =>
    parameters.flatMap(([name, value = '']) => (name === key ? [decode(value)] : []))
  const addresses = values('a').map((value) => parseHostPort(value, HUB_PORT) ?? wrongAddress(value))
  if (addresses.length === 0) throw invalid('the ticket holds no address')
  if (addresses.length > MAX_TICKET_ADDRESSES)
    throw invalid(`the ticket holds more than ${MAX_TICKET_ADDRESSES} addresses`)
  return { peer, addresses, name: cleanName(values('n')[0] ?? '') }
}

/** The characters of addresses stay readable: RFC 3986 allows `:` in a query, and no parser stumbles over the brackets. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(/%3A|%5B|%5D/g, decodeURIComponent)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('the ticket is damaged')
  }
}

function wrongAddress(text: string): never {
  throw invalid(`the ticket holds "${text.slice(0, 80)}", which is no address`)
}

function invalid(message: string): PartylineError {
  return new PartylineError('usage.invalid-argument', message, {
    hint: 'Give the address of the hub, or the ticket on its screen.',
  })
}
