import { resolveSrv } from 'node:dns/promises'
import { isIP } from 'node:net'
import { PartylineError } from '../errors.ts'

/** How TLS begins: with the first byte (XEP-0368), or once the server was asked for it (RFC 6120 section 5). */
type Start = 'direct' | 'starttls'

/** Where a server of a domain may be. */
export interface ServerPlace {
  readonly host: string
  readonly port: number
  readonly start: Start
}

/** Places that are tried. */
const MAX_PLACES = 8
const PORTS: Readonly<Record<Start, number>> = { direct: 5223, starttls: 5222 }
const SERVICES: readonly (readonly [string, Start])[] = [
  ['_xmpps-client._tcp', 'direct'],
  ['_xmpp-client._tcp', 'starttls'],
]
const GIVEN = /^(?:\[(?<six>[0-9a-f:.]+)\]|(?<host>[^\s:/[\]]+))(?::(?<port>\d{1,5}))?$/i

/** A record of DNS (RFC 2782). */
export interface SrvRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

/** The records of a name; none where there are none. Rejects where DNS gives no answer. */
export type LookUp = (name: string) => Promise<readonly SrvRecord[]>

export const systemLookUp: LookUp = async (name) => {
  try {
    return await resolveSrv(name)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTFOUND' || code === 'ENODATA') return []
    throw error
  }
}

/** `HOST` or `HOST:PORT`, as its owner gave it: both ways to begin TLS, the likelier first. Throws `usage.invalid-argument`. */
export function givenPlaces(server: string): readonly ServerPlace[] {
  const { six, host = six, port } = GIVEN.exec(server)?.groups ?? {}
  const number = Number(port)
  if (
    host === undefined ||
    (six !== undefined && isIP(six) !== 6) ||
    (port !== undefined && !(number >= 1 && number <= 65_535))
  )
    throw new PartylineError('usage.invalid-argument', `${server.slice(0, 80)} is not HOST or HOST:PORT of a server`)
  const starts: readonly Start[] = number === PORTS.starttls ? ['starttls', 'direct'] : ['direct', 'starttls']
  return starts.map((start) => ({ host, port: port === undefined ? PORTS[start] : number, start }))
}

/**
 * Where the servers of a domain are (RFC 6120 section 3.2, XEP-0368): what its records say, by their priority, TLS from the first byte before
 * others of the same; without records the domain itself. Empty where it says that it has none.
 */
export async function placesOf(domain: string, lookUp: LookUp): Promise<readonly ServerPlace[]> {
  const found = await Promise.all(SERVICES.map(([service]) => lookUp(`${service}.${domain}`).catch(() => [])))
  const records = found.flatMap((list, index) =>
    list.map((record) => ({ ...record, start: SERVICES[index]?.[1] ?? 'direct' })),
  )
  if (records.length === 0) return SERVICES.map(([, start]) => ({ host: domain, port: PORTS[start], start }))
  return records
    .filter(({ name, port }) => name !== '' && name !== '.' && port > 0)
    .sort((a, b) => a.priority - b.priority || b.weight - a.weight)
    .slice(0, MAX_PLACES)
    .map(({ name, port, start }) => ({ host: name, port, start }))
}
