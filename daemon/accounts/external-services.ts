import type { Element } from 'ltx'
import type { StunServer } from '../nat/pool/stun-server.ts'
import { parseTurnServer, type TurnServer } from '../nat/turn/server-uri.ts'
import { scopeOf } from '../network/addresses.ts'
import type { Milliseconds, UnixMilliseconds } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'

/** Services of one server that are looked at. */
export const MAX_SERVICES = 16
/** When services are asked for anew that name no end, and the least pause. */
const RENEWAL: Milliseconds = 6 * 3_600_000
const LEAST: Milliseconds = 30_000
/** Credentials are asked for anew when this part of their time is left. */
const LEFT = 0.25

/** What a server tells of STUN and TURN (XEP-0215). */
export interface ExternalServices {
  readonly stun: readonly StunServer[]
  readonly turn: readonly TurnServer[]
  /** When they are to be asked for anew. */
  readonly renewIn: Milliseconds
}

const NONE: ExternalServices = { stun: [], turn: [], renewIn: RENEWAL }

/**
 * Reads `<services/>`; what is not understood, or has its end behind it, is left out. `isNear`: the server itself is on a private network, and may
 * name others there; one on the internet may not, or it could point this host at its own neighbours.
 */
export function readServices(services: Element | undefined, wall: UnixMilliseconds, isNear: boolean): ExternalServices {
  const listed = services?.getChildren('service', NS.externalServices).slice(0, MAX_SERVICES) ?? []
  const read = listed.flatMap((one) => readService(one, wall, isNear))
  if (read.length === 0) return NONE
  const logins = new Map(read.flatMap(({ host, login }) => (login ? [[host, login] as const] : [])))
  const turn = read.flatMap(({ kind, host, port, transport, login = logins.get(host) }): TurnServer[] => {
    if (kind !== 'turn' && kind !== 'turns') return []
    const server = checked(kind, host, port, transport)
    // Some servers hand out the login with one of several services only, and mean all at this host.
    return server && login ? [{ ...server, ...login }] : []
  })
  const stun = read.flatMap(({ kind, host, port }) => (kind === 'stun' ? [{ host, port: port || 3478 }] : []))
  const ends = read.flatMap(({ expires }) => (expires === undefined ? [] : [expires - wall]))
  const renewIn = Math.max(LEAST, Math.min(RENEWAL, ...ends.map((left) => left * (1 - LEFT))))
  return { stun, turn, renewIn }
}

interface Service {
  readonly kind: string
  readonly host: string
  readonly port: number
  readonly transport: string
  readonly login: { readonly username: string; readonly password: string } | undefined
  readonly expires: UnixMilliseconds | undefined
}

function readService({ attrs }: Element, wall: UnixMilliseconds, isNear: boolean): Service[] {
  const { type = '', host = '', port = '', transport = '', username = '', password = '' } = attrs
  const number = port === '' ? 0 : Number(port)
  const expires = attrs.expires === undefined ? undefined : Date.parse(attrs.expires)
  if (!Number.isInteger(number) || number < 0 || number > 65_535 || !isHost(host, isNear)) return []
  if (expires !== undefined && (!Number.isFinite(expires) || expires <= wall)) return []
  const login = username !== '' && password !== '' ? { username, password } : undefined
  return [{ kind: type, host: host.toLowerCase(), port: number, transport: transport.toLowerCase(), login, expires }]
}

/** Names that only this machine or this network knows are as good as addresses there. */
function isHost(host: string, isNear: boolean): boolean {
  if (host === '' || host.length > 253 || !/^[a-z0-9.:_-]+$/i.test(host)) return false
  const scope = scopeOf(host)
  if (scope === 'loopback' || scope === 'link-local' || /(^|\.)localhost\.?$/i.test(host)) return false
  return isNear || (scope === 'global' && !/\.local\.?$/i.test(host))
}

function checked(kind: 'turn' | 'turns', host: string, port: number, transport: string): TurnServer | undefined {
  const named = host.includes(':') ? `[${host}]` : host
  const at = port === 0 ? named : `${named}:${port}`
  try {
    return parseTurnServer(`${kind}:${at}${transport === '' ? '' : `?transport=${transport}`}`)
  } catch {
    // A scheme or a transport that is not known here, DTLS among them.
    return undefined
  }
}
