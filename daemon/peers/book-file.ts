import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { parseJsonText } from '../config/json-text.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import { isPeerId } from '../identity/peer-id.ts'
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

/** The records of a book file, none when there is no file. Throws `local.peers-damaged`, and leaves the file as it is. */
export async function readBook(file: string): Promise<PeerRecord[]> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fileError(file, error)
  }
  try {
    return stored.parse(parseJsonText(text)).peers.map((entry) => {
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
  } catch (error) {
    const what = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message
    throw new PartylineError('local.peers-damaged', `${file}: ${what}; the file was left as it is`, { cause: error })
  }
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
  await writeFileAtomic(file, `${JSON.stringify({ version: 1, peers }, null, 1)}\n`, { mode: 0o600 })
}
