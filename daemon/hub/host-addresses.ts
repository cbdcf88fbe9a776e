import { isIP } from 'node:net'
import { cleanName } from '../identity/host-name.ts'
import { interfaceOf, plainAddress, scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { HostPort } from '../types.ts'

/** The topic of signals in which hosts at a hub tell each other their addresses. */
export const ADDRESSES_TOPIC = 'addresses'
/** Most addresses told, and looked at. */
export const MAX_HOST_ADDRESSES = 32
const MAX_CONTENT = 4096
/** Most addresses of a host asked that are on no network of ours: it may tell of anybody's, and every host at the hub would ask there. */
const MAX_FAR = 4

/** Where a host can be reached, as it tells. */
export interface HostAddresses {
  readonly name: string
  readonly port: number
  readonly addresses: readonly string[]
  /** True where the sender wants to be told the receiver's. */
  readonly ask: boolean
}

export function encodeAddresses({ name, port, addresses, ask }: HostAddresses): Uint8Array {
  return Buffer.from(JSON.stringify({ name, port, addresses: addresses.slice(0, MAX_HOST_ADDRESSES), ask }))
}

/** Undefined where it is none. Never throws. */
export function decodeAddresses(content: Uint8Array): HostAddresses | undefined {
  if (content.length > MAX_CONTENT) return undefined
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(content).toString())
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { name, port, addresses, ask } = value as Record<string, unknown>
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65535) return undefined
  if (!Array.isArray(addresses) || addresses.length > MAX_HOST_ADDRESSES || !addresses.every(isAddress))
    return undefined
  return {
    name: typeof name === 'string' ? cleanName(name) : '',
    port,
    addresses: [...new Set(addresses.map(plainAddress))],
    ask: ask === true,
  }
}

/** The addresses of this host that mean something to others: link-local ones of IPv6 need a zone, which is everybody's own. */
export function tellableAddresses(interfaces: readonly NetworkInterface[]): string[] {
  return interfaces
    .filter(({ participating, kind }) => participating && kind !== 'loopback')
    .flatMap(({ addresses }) => addresses)
    .filter(({ family, scope }) => scope !== 'loopback' && (family === 4 || scope !== 'link-local'))
    .map(({ address }) => address)
    .slice(0, MAX_HOST_ADDRESSES)
}

/**
 * Which of a host's addresses are worth asking, those on a network of ours first. An address that is private and on none is somebody's
 * inner network, unless the hub itself is beyond our networks: then routers carry private addresses here (a campus, say).
 */
export function askableAddresses(
  { port, addresses }: HostAddresses,
  interfaces: readonly NetworkInterface[],
  hubAddress: string,
): HostPort[] {
  const participating = interfaces.filter((one) => one.participating && one.kind !== 'loopback')
  const isNear = (address: string): boolean => interfaceOf(address, participating) !== undefined
  const isRouted = scopeOf(hubAddress) === 'private' && !isNear(hubAddress)
  const isOwn = (address: string): boolean =>
    interfaces.some((one) => one.addresses.some((own) => own.address === address))
  const reach = (address: string): boolean => {
    const scope = scopeOf(address)
    const needsZone = scope === 'link-local' && isIP(address) === 6
    if (scope === 'loopback' || needsZone || isOwn(address)) return false
    return isNear(address) || scope === 'global' || (scope === 'private' && isRouted)
  }
  const worth = addresses.filter(reach)
  const far = worth.filter((address) => !isNear(address)).slice(0, MAX_FAR)
  return [...worth.filter(isNear), ...far].map((address) => ({ address, port }))
}

function isAddress(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 45 && isIP(value) !== 0 && !value.includes('%')
}
