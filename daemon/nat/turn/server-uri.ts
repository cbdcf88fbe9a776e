import { isIP } from 'node:net'
import { PartylineError } from '../../errors.ts'
import type { ChannelRange } from './channels.ts'

/** How a TURN server is talked to. */
export type TurnTransport = 'udp' | 'tcp' | 'tls'

/** A TURN server, as the user names it. */
export interface TurnServer {
  /** A name or an IP literal without brackets. */
  readonly host: string
  readonly port: number
  readonly transport: TurnTransport
  /** Empty for none. */
  readonly username: string
  readonly password: string
  /** The half of the channel numbers that we use with a server that may be our client as well, over the same two ports; all if absent. */
  readonly channels?: ChannelRange
}

const DEFAULT_PORT = { turn: 3478, turns: 5349 } as const
const MAX_LENGTH = 1024
/** RFC 8489 sections 14.3 and 14.9 allow so many bytes; passwords are never sent, and get the same bound. */
const MAX_CREDENTIAL = 508
const FORM = 'write turn:[USER:PASSWORD@]HOST[:PORT][?transport=udp|tcp] or turns:[USER:PASSWORD@]HOST[:PORT]'
const URI =
  /^(?<scheme>[a-z]+):(?:(?<login>[^@/?#]*)@)?(?<host>\[[^\]]*\]|[^:@/?#[\]]*)(?::(?<port>\d*))?(?:\?(?<query>.*))?$/i
const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i

/**
 * Reads a URI of RFC 7065, with a name and a password before the host where the server wants them, percent-encoded (RFC 3986 section 2.1)
 * where they have `:`, `@`, `/`, `?`, `#` or `%` in them. Throws `usage.invalid-setting`; no message has the password in it.
 */
export function parseTurnServer(text: string): TurnServer {
  const parts = text.length <= MAX_LENGTH ? URI.exec(text)?.groups : undefined
  const scheme = parts?.scheme?.toLowerCase()
  if (!parts || (scheme !== 'turn' && scheme !== 'turns')) throw invalid(`not the address of a TURN server; ${FORM}`)
  const { login, host = '', port, query } = parts
  return {
    host: readHost(host),
    port: port === undefined ? DEFAULT_PORT[scheme] : readPort(port),
    transport: readTransport(scheme, query),
    ...readLogin(login),
  }
}

/** The URI without name and password, for logs and for people. */
export function formatTurnServer({ host, port, transport }: Pick<TurnServer, 'host' | 'port' | 'transport'>): string {
  const scheme = transport === 'tls' ? 'turns' : 'turn'
  const shownHost = host.includes(':') ? `[${host}]` : host
  const shownPort = port === DEFAULT_PORT[scheme] ? '' : `:${port}`
  return `${scheme}:${shownHost}${shownPort}${transport === 'tcp' ? '?transport=tcp' : ''}`
}

function readHost(text: string): string {
  if (text.startsWith('[')) {
    const address = text.slice(1, -1)
    if (isIP(address) !== 6 || address.includes('%')) throw invalid(`${text} is no IPv6 address`)
    return address
  }
  // A number with dots that is no address would be looked up as a name, and never be found.
  if (isIP(text) !== 4 && (!NAME.test(text) || /^[\d.]+$/.test(text)))
    throw invalid(text === '' ? `the host is missing; ${FORM}` : `${text} is neither a host name nor an address`)
  return text.toLowerCase()
}

function readPort(text: string): number {
  const port = Number(text)
  if (text === '' || port < 1 || port > 65535) throw invalid('the port of a TURN server is a number from 1 to 65535')
  return port
}

function readTransport(scheme: 'turn' | 'turns', query: string | undefined): TurnTransport {
  const transport = query === undefined ? undefined : /^transport=(\w+)$/i.exec(query)?.[1]?.toLowerCase()
  if (query !== undefined && transport !== 'udp' && transport !== 'tcp')
    throw invalid('after the "?" only transport=udp or transport=tcp may stand')
  if (scheme === 'turn') return transport === 'tcp' ? 'tcp' : 'udp'
  if (transport === 'udp')
    throw invalid('turns: over UDP (DTLS) is not supported; leave ?transport=udp out for TLS over TCP')
  return 'tls'
}

function readLogin(text: string | undefined): { username: string; password: string } {
  if (text === undefined) return { username: '', password: '' }
  const at = text.indexOf(':')
  if (at < 1) throw invalid('the name and the password before the "@" are written USER:PASSWORD')
  const [username, password] = [readCredential(text.slice(0, at)), readCredential(text.slice(at + 1))]
  return { username, password }
}

function readCredential(text: string): string {
  let value: string
  try {
    value = decodeURIComponent(text)
  } catch {
    throw invalid('the name or the password has a "%" that begins no percent-encoding; write %25')
  }
  // OpaqueString (RFC 8265): spaces as they are, composed, no control characters.
  if (/\p{Cc}/u.test(value)) throw invalid('the name or the password has a control character')
  if (Buffer.byteLength(value) > MAX_CREDENTIAL) throw invalid('the name or the password is too long')
  return value.normalize('NFC')
}

function invalid(why: string): PartylineError {
  return new PartylineError('usage.invalid-setting', `a TURN server: ${why}`)
}
