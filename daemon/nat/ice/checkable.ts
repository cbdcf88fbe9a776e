import { isIP } from 'node:net'
import { plainAddress, scopeOf } from '../../network/addresses.ts'
import type { HostPort } from '../../types.ts'

/** An address as it is compared: canonical, with its zone. */
export function canonical(address: string): string {
  const zone = address.split('%')[1]
  return zone ? `${plainAddress(address)}%${zone}` : plainAddress(address)
}

/** False for addresses that no peer can be at, or that would make us talk to ourselves or to many at once. */
export function isCheckable({ address, port }: HostPort): boolean {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return false
  const plain = plainAddress(address)
  const family = isIP(plain)
  const scope = scopeOf(plain)
  if (family === 0 || scope === 'loopback') return false
  // Class D and E, 255.255.255.255 among them.
  if (family === 4) return Number(plain.split('.', 1)[0]) < 224
  if (/^ff/i.test(plain)) return false
  return scope !== 'link-local' || address.includes('%')
}
