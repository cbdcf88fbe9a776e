import { cleanName } from '../../identity/host-name.ts'
import { isPeerId } from '../../identity/peer-id.ts'
import type { PeerId } from '../../types.ts'
import { MAX_LABEL } from './service-name.ts'

/** What a host's records say. */
export interface HostRecord {
  readonly peer: PeerId
  readonly name: string
  readonly port: number
}

/** What of a DNS-SD service counts here. */
export interface FoundService {
  readonly port?: unknown
  readonly txt?: unknown
}

/** The keys of our TXT record. */
export function txtOf(peer: PeerId, name: string): Record<string, string> {
  return { v: '1', id: peer, name }
}

/** A name that is readable, and unique by the peer id: no probing is needed before it is used. */
export function instanceName(peer: PeerId, name: string): string {
  const suffix = ` (${peer.slice(0, 8)})`
  let readable = ''
  for (const character of name.replaceAll('.', '-')) {
    if (Buffer.byteLength(readable + character + suffix) > MAX_LABEL) break
    readable += character
  }
  return readable + suffix
}

/** This host's name in DNS. The machine's own belongs to whoever answers for it, avahi say. */
export function ownHost(peer: PeerId): string {
  return `partyline-${peer.slice(0, 16)}.local`
}

/** The host that a service is, or undefined where its records are not a Partyline host's. Never throws, whatever they hold. */
export function readRecord({ port, txt }: FoundService): HostRecord | undefined {
  if (typeof txt !== 'object' || txt === null) return undefined
  const { v, id, name } = txt as Record<string, unknown>
  if (v !== '1' || typeof id !== 'string' || !isPeerId(id)) return undefined
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65535) return undefined
  return { peer: id, name: typeof name === 'string' ? cleanName(name.slice(0, 255)) : '', port }
}
