import { editDistance } from '../edit-distance.ts'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { PeerId } from '../types.ts'
import type { PeerRecord } from './peer-record.ts'

/** Fewest characters of a peer id that stand for it. */
const MIN_PREFIX = 6
/** Most names that are compared with a mistyped one. */
const MAX_COMPARED = 1000

/**
 * The peer meant by a petname, a peer id, a name that only one peer has, or a prefix of an id. An id is never somebody's name, and
 * what is one peer's name and the beginning of another's id is ambiguous: else a peer could call itself like another's id.
 * Throws `peer.not-found` or `usage.ambiguous-peer`.
 */
export function resolvePeer(text: string, records: ReadonlyMap<PeerId, PeerRecord>): PeerId {
  if (isPeerId(text)) return text
  const prefix = text.length >= MIN_PREFIX ? text.toLowerCase() : undefined
  const meant: PeerRecord[] = []
  for (const record of text === '' ? [] : records.values()) {
    if (record.petname === text) return record.id
    const named = record.name === text && record.listed
    if (named || (prefix !== undefined && record.id.startsWith(prefix))) meant.push(record)
  }
  const [first] = meant
  if (!first) throw notFound(text, records)
  if (meant.length > 1) throw ambiguous(text, meant)
  return first.id
}

function ambiguous(text: string, meant: readonly PeerRecord[]): PartylineError {
  const which = meant.slice(0, 5).map((record) => `${record.name || 'unnamed'} (${record.id.slice(0, 12)})`)
  const more = meant.length > which.length ? ` or ${meant.length - which.length} more` : ''
  return new PartylineError('usage.ambiguous-peer', `"${text}" may be ${which.join(', ')}${more}`)
}

function notFound(text: string, records: ReadonlyMap<PeerId, PeerRecord>): PartylineError {
  const names = new Set<string>()
  for (const record of records.values()) {
    if (names.size >= MAX_COMPARED) break
    if (record.listed) names.add(record.petname || record.name)
  }
  const near = [...names].filter((name) => isNear(text.toLowerCase(), name.toLowerCase())).slice(0, 3)
  const guess = near.length > 0 ? `; did you mean ${near.join(', ')}?` : ''
  return new PartylineError('peer.not-found', `no peer goes by "${text}"${guess}`)
}

function isNear(text: string, name: string): boolean {
  if (text === '' || name === '') return false
  if (name.includes(text)) return true
  return Math.abs(text.length - name.length) <= 2 && editDistance(text, name) <= 2
}
