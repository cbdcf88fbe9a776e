import { isIP } from 'node:net'
import type { HostPort } from '../types.ts'

/** An address as users write it: `IP`, `IP:PORT`, `[IPv6]:PORT`, IPv6 with or without a zone. Undefined where it is none. */
export function parseHostPort(text: string, defaultPort: number): HostPort | undefined {
  const [, bracketed, after] = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) ?? []
  const [, plain, port] = /^([^:]+)(?::(\d+))?$/.exec(text) ?? []
  const address = bracketed ?? plain ?? text
  const number = Number(after ?? port ?? defaultPort)
  const family = isIP(address.split('%')[0] ?? '')
  if (family === 0 || (bracketed !== undefined && family !== 6)) return undefined
  return Number.isInteger(number) && number >= 1 && number <= 65535 ? { address, port: number } : undefined
}
