import type { Milliseconds } from '../../daemon/types.ts'
import type { Place } from './inbox-folder.ts'
import type { ManifestFile } from './manifest.ts'
import type { PartFile } from './part-file.ts'

/** Most files, and about how many bytes, asked for in one stream: small enough to spread over the streams. */
const BATCH_FILES = 256
const BATCH_BYTES = 16 * 1024 * 1024

/** A file to receive. */
export interface Target {
  readonly index: number
  readonly entry: ManifestFile
  readonly place: Place
  part: PartFile | undefined
  mismatched: boolean
  began: Milliseconds | undefined
}

/** Files asked for in one stream, with consecutive numbers. */
export interface Batch {
  readonly targets: readonly Target[]
  /** Only their hashes: files of the same size and time are here. */
  readonly verify: boolean
}

/** Files begun before go alone, the others together with their neighbours. */
export function makeBatches(planned: readonly { target: Target; verify: boolean; begun: number }[]): Batch[] {
  const batches: Batch[] = []
  let open: { targets: Target[]; verify: boolean; bytes: number } | undefined
  for (const { target, verify, begun } of planned) {
    const fits =
      open?.verify === verify &&
      begun === 0 &&
      open.targets.length < BATCH_FILES &&
      (verify || open.bytes < BATCH_BYTES)
    if (!open || !fits) {
      open = { targets: [], verify, bytes: 0 }
      batches.push(open)
    }
    open.targets.push(target)
    open.bytes += target.entry.size
    if (begun > 0) open = undefined
  }
  return batches
}
