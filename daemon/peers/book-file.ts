import { isIP } from 'node:net'
import * as z from 'zod'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import { readState, writeState } from '../state/state-file.ts'
import type { PeerId } from '../types.ts'
import { NO_POLICY, peerPolicy } from './peer-policy.ts'
import { PeerRecord } from './peer-record.ts'
import { NO_WAYS, ways } from './ways.ts'

/** An IP literal: nothing else may be dialled, names least of all. */
const address = z.string().refine((text) => isIP(text) !== 0, 'no IP address')

const stored = z.object({
  version: z.literal(1),
  peers: z.array(
    z.object({
      id: z.string().refine((id): id is PeerId => isPeerId(id), 'no peer id'),
      name: z.string().max(256),
      petname: z.string().max(256),
      trust: z.enum(['unknown', 'trusted', 'blocked']),
      proven: z.boolean(),
      lastSeen: z.number().nonnegative(),
      addresses: z.array(z.object({ address, port: z.number().int().min(1).max(65535) })).max(64),
      ways: ways.default(NO_WAYS),
      policy: peerPolicy.default(NO_POLICY),
    }),
  ),
})

/** The records of a book file, none when there is no file. Throws `local.peers-damaged` and as `readState`, and leaves the file as it is. */
export async function readBook(file: string): Promise<PeerRecord[]> {
  const content = await readState(file, {
    version: 1,
    schema: stored,
    damaged: (why) => new PartylineError('local.peers-damaged', `${file}: ${why}; the file was left as it is`),
  })
  return (content?.peers ?? []).map((entry) => {
    const record = new PeerRecord(entry.id)
    record.name = entry.name
    record.petname = entry.petname
    record.trust = entry.trust
    record.lastSeen = entry.lastSeen
    record.proven = entry.proven
    record.restoreRemembered(entry.addresses)
    record.ways = entry.ways
    record.policy = entry.policy
    return record
  })
}

/** Writes what is worth keeping: flushed to disk and renamed into place, mode 0600. */
export async function writeBook(file: string, records: Iterable<PeerRecord>): Promise<void> {
  const peers = [...records].map(({ id, name, petname, trust, proven, lastSeen, remembered, ways: told, policy }) => ({
    id,
    name,
    petname,
    trust,
    proven,
    lastSeen,
    addresses: remembered,
    ways: told,
    ...(Object.keys(policy).length > 0 && { policy }),
  }))
  await writeState(file, { version: 1, peers })
}
