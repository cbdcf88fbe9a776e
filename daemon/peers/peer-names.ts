import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { PeerId } from '../types.ts'
import type { PeerRecord } from './peer-record.ts'

/** Fewest characters of a peer id that stand for it. */
const MIN_PREFIX = 6

/** The peer meant by a petname, then a name that only one peer has, then a peer id, then a prefix of one. */
export function resolvePeer(text: string, records: ReadonlyMap<PeerId, PeerRecord>): PeerId {
  const all = [...records.values()]
  const named = all.find((record) => record.petname === text && text !== '')
  if (named) return named.id
  const known = all.filter((record) => record.listed)
  const byName = known.filter((record) => record.name === text && text !== '')
  if (byName.length > 0) return theOnly(text, byName)
  if (isPeerId(text)) return text
  const prefix = text.toLowerCase()
  const byPrefix = prefix.length >= MIN_PREFIX ? all.filter((record) => record.id.startsWith(prefix)) : []
  if (byPrefix.length > 0) return theOnly(text, byPrefix)
  const near = known.filter(
    (record) => record.name.toLowerCase().includes(prefix) || record.petname.toLowerCase().includes(prefix),
  )
  const guess = near.slice(0, 3).map((record) => record.petname || record.name)
  throw new PartylineError(
    'peer.not-found',
    `no peer goes by "${text}"${guess.length > 0 ? `; did you mean ${guess.join(', ')}?` : ''}`,
  )
}

function theOnly(text: string, records: readonly PeerRecord[]): PeerId {
  const [first] = records
  if (first && records.length === 1) return first.id
  const which = records.slice(0, 5).map((record) => `${record.name || 'unnamed'} (${record.id.slice(0, 12)})`)
  throw new PartylineError('usage.ambiguous-peer', `"${text}" may be ${which.join(', ')}`)
}
