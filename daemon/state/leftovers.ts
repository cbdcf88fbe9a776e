import { readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Places } from '../places.ts'

/** Names of `write-file-atomic` and of `conf` for files that are not whole yet: `peers.json.2781941236`, `peers.json.v1.2781941236`, `config.json.tmp-17959…`. */
const UNFINISHED = /^[a-z-]+\.(?:json|jsonl|key|pem|token)(?:\.v\d{1,6})?\.(?:\d{1,10}|tmp-[0-9a-f]{16})$/

/** Removes what a daemon that was killed had begun to write. Only who holds the lock of a home may do that. */
export async function removeLeftovers({ config, identity }: Places): Promise<void> {
  for (const folder of new Set([dirname(config), dirname(identity)])) {
    const names = await readdir(folder).catch(() => [])
    for (const name of names.filter((one) => UNFINISHED.test(one))) await rm(join(folder, name), { force: true })
  }
}
