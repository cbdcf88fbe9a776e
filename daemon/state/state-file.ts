import { access, readFile } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import * as z from 'zod'
import { parseJsonText } from '../config/json-text.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'

/** What a state file holds, now and in former versions. */
export interface StateShape<T> {
  /** Counts up when a version before could not read what is written, or would lose some of it. */
  readonly version: number
  /** Of the whole content, `version` included. */
  readonly schema: z.ZodType<T>
  /** Makes the content of one version that of the next, by the number of the older one. */
  readonly steps?: Readonly<Record<number, (older: object) => object>>
  /** The error of a file that is not as it was written; `why` may quote it. */
  readonly damaged: (why: string) => PartylineError
}

const versioned = z.looseObject({ version: z.number().int().min(1) })

/**
 * The content of a file; undefined where there is none. An older version's is brought up to date, and a copy of it left beside it
 * (`FILE.v1`). Throws `local.state-newer` for one that a later Partyline wrote, `damaged`, `local.file` or `local.permission`; the file is left as it is.
 */
export async function readState<T>(file: string, shape: StateShape<T>): Promise<T | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fileError(file, error)
  }
  const content = await broughtUp(file, text, shape)
  const { data, error } = shape.schema.safeParse(content)
  if (error) throw shape.damaged(z.prettifyError(error))
  return data
}

/** Flushed to disk and renamed into place, mode 0600. Rejects with `local.file` or `local.permission`. */
export async function writeState<T>(file: string, content: T): Promise<void> {
  try {
    await writeFileAtomic(file, `${JSON.stringify(content, null, 1)}\n`, { mode: 0o600 })
  } catch (error) {
    throw fileError(file, error)
  }
}

function parsed<T>(text: string, { damaged }: StateShape<T>): z.output<typeof versioned> {
  let json: unknown
  try {
    json = parseJsonText(text)
  } catch (error) {
    throw damaged((error as Error).message)
  }
  const { data, error } = versioned.safeParse(json)
  if (error) throw damaged(z.prettifyError(error))
  return data
}

async function broughtUp<T>(file: string, text: string, shape: StateShape<T>): Promise<object> {
  const { version, steps = {}, damaged } = shape
  const content = parsed(text, shape)
  if (content.version > version)
    throw new PartylineError(
      'local.state-newer',
      `${file} was written by a later Partyline: it has version ${content.version}, and this one knows ${version}`,
    )
  if (content.version < version) await keepCopy(`${file}.v${content.version}`, text)
  let current: object = content
  for (let older = content.version; older < version; older++) {
    const step = steps[older]
    if (!step) throw damaged(`version ${older} is not known any more`)
    current = { ...step(current), version: older + 1 }
  }
  return current
}

/** A copy that is there already is left, since it is the older one. Whole or not there: a half copy of a daemon that was killed would be left too. */
async function keepCopy(copy: string, text: string): Promise<void> {
  try {
    await access(copy)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(copy, error)
    await writeFileAtomic(copy, text, { mode: 0o600 }).catch((failure: unknown) => {
      throw fileError(copy, failure)
    })
  }
}
