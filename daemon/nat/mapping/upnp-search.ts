import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Clock } from '../../clock.ts'
import { PartylineError } from '../../errors.ts'
import { plainAddress } from '../../network/addresses.ts'
import type { Milliseconds } from '../../types.ts'
import type { Gateway } from './protocol.ts'

const PORT = 1900
const GROUP = '239.255.255.250'
/** How long routers may take, and how often they are asked: UDP loses packets. */
const PATIENCE: Milliseconds = 2500
const PAUSE: Milliseconds = 600
const MAX_ANSWER = 2048

/** What is looked for (UPnP Device Architecture 1.1 section 1.3.2; IGD 1 and 2). */
const TARGETS: readonly string[] = [
  'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
  'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
]

/** Finds where the router describes itself; rejects with `network.no-mapping`. */
export type SearchGateway = (gateway: Gateway, signal: AbortSignal) => Promise<URL>

/**
 * Asks the router itself and, on its network, everybody: but an answer counts only if it comes from the router and leads to it. Somebody else on the
 * network could send this host anywhere.
 */
export function systemSearch(clock: Clock): SearchGateway {
  return (gateway, signal) => {
    if (gateway.family === 6) return Promise.reject(new PartylineError('network.no-mapping', 'UPnP is asked over IPv4'))
    const { promise, resolve, reject } = Promise.withResolvers<URL>()
    const socket = createSocket('udp4')
    const fail = (why: string): void => reject(new PartylineError('network.no-mapping', why))
    const abort = (): void => fail('given up')
    socket.on('error', (error) => fail(error.message))
    socket.on('message', (bytes, { address }) => {
      if (plainAddress(address) !== gateway.address || bytes.length > MAX_ANSWER) return
      const location = readSearchAnswer(bytes.toString('latin1'), gateway)
      if (location) resolve(location)
    })
    const ask = (): void => {
      for (const target of TARGETS)
        for (const to of [gateway.address, GROUP])
          socket.send(searchFor(target, to), PORT, to, () => {
            // A network without that route: the others are asked all the same.
          })
    }
    socket.bind(0, gateway.own, () => {
      try {
        socket.setMulticastTTL(2)
        socket.setMulticastInterface(gateway.own)
      } catch {
        // The address has just gone, or the system wants it otherwise: the router itself is asked all the same.
      }
      ask()
    })
    const again = clock.after(PAUSE, ask)
    const late = clock.after(PATIENCE, () => fail('no UPnP router answers'))
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    return promise.finally(() => {
      again.cancel()
      late.cancel()
      signal.removeEventListener('abort', abort)
      socket.close()
    })
  }
}

function searchFor(target: string, to: string): string {
  const lines = ['M-SEARCH * HTTP/1.1', `HOST: ${to}:${PORT}`, 'MAN: "ssdp:discover"', 'MX: 1', `ST: ${target}`]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** Where an answer says that the router's description is; undefined for what is none, or leads elsewhere. */
export function readSearchAnswer(text: string, gateway: Pick<Gateway, 'address'>): URL | undefined {
  if (!/^HTTP\/1\.[01] 200/.test(text)) return undefined
  const [, target = ''] = /^ST:[ \t]*([^\s]{1,256})[ \t]*$/im.exec(text) ?? []
  const [, location = ''] = /^LOCATION:[ \t]*([^\s]{1,512})[ \t]*$/im.exec(text) ?? []
  if (!TARGETS.includes(target) || !URL.canParse(location)) return undefined
  const url = new URL(location)
  return leadsTo(url, gateway) ? url : undefined
}

/** True for a page of the router's own, at its address as it is. */
export function leadsTo(
  { protocol, hostname, username, password }: URL,
  { address }: Pick<Gateway, 'address'>,
): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  const isIt = isIPv6(host) ? plainAddress(host) === plainAddress(address) : host === address
  return protocol === 'http:' && isIt && username === '' && password === ''
}
