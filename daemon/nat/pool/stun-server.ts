import { isIP } from 'node:net'
import { PartylineError } from '../../errors.ts'

/** A STUN server, as the user names it. */
export interface StunServer {
  /** A name or an IP literal without brackets. */
  readonly host: string
  readonly port: number
}

const DEFAULT_PORT = 3478
const FORM = /^(?:stun:)?(?:\[(?<six>[0-9a-f:.]+)\]|(?<host>[a-z0-9._-]+))(?::(?<port>\d{1,5}))?$/i

/** Reads `HOST`, `HOST:PORT` or `[IPv6]:PORT`, also as a URI of RFC 7064. Throws `usage.invalid-setting`. */
export function parseStunServer(text: string): StunServer {
  const parts = FORM.exec(text)?.groups
  const host = isIP(text) === 6 ? text : (parts?.six ?? parts?.host)
  const port = Number(parts?.port ?? DEFAULT_PORT)
  const isWrong = host === undefined || port < 1 || port > 65535 || (parts?.six !== undefined && isIP(parts.six) !== 6)
  if (isWrong) throw new PartylineError('usage.invalid-setting', `${text} is not HOST or HOST:PORT of a STUN server`)
  return { host: host.toLowerCase(), port }
}
