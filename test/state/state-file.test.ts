import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { readAccounts } from '../../daemon/accounts/account-file.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { readInvitations } from '../../daemon/invites/invitations-file.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { readBook } from '../../daemon/peers/book-file.ts'
import { RelaySecrets } from '../../daemon/relay/secrets.ts'
import { readState, type StateShape, writeState } from '../../daemon/state/state-file.ts'

/** The third version: it has a list in the place of a name, and counts from a number that the second one brought. */
const schema = z.object({ version: z.literal(3), names: z.array(z.string()), count: z.number() })
const SHAPE: StateShape<z.output<typeof schema>> = {
  version: 3,
  schema,
  steps: {
    1: (older) => ({ ...older, count: 0 }),
    2: ({ name, ...rest }: { name?: string }) => ({ ...rest, names: [name] }),
  },
  damaged: (why) => new PartylineError('local.peers-damaged', why),
}

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-'))
  file = join(folder, 'state.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const put = (content: unknown): void =>
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 })
const read = () => readState(file, SHAPE)

describe('a state file', () => {
  test('comes back as it was written, is the owner’s only, and there is none before', async () => {
    expect(await read()).toBeUndefined()
    const content = { version: 3 as const, names: ['anna'], count: 2 }
    await writeState(file, content)
    expect(await read()).toEqual(content)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toEqual(['state.json'])
  })

  test.each([
    [1, { version: 1, name: 'anna' }, { version: 3, names: ['anna'], count: 0 }],
    [2, { version: 2, name: 'anna', count: 7 }, { version: 3, names: ['anna'], count: 7 }],
  ])('of version %i is brought up to date step by step, and kept beside it as it was', async (version, older, now) => {
    put(older)
    expect(await read()).toEqual(now)
    const copy = `${file}.v${version}`
    expect(JSON.parse(readFileSync(copy, 'utf8'))).toEqual(older)
    expect(statSync(copy).mode & 0o777).toBe(0o600)
    // Nothing was written yet: a version before can still read it, and reading again comes to the same.
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(older)
    put({ ...older, name: 'later' })
    await read()
    expect(JSON.parse(readFileSync(copy, 'utf8'))).toEqual(older)
  })

  test('whose copy cannot be kept is not brought up to date, and no half copy is left', async () => {
    // What stands for a full disk: the name that the copy is written under at first cannot be made.
    const long = join(folder, `${'s'.repeat(246)}.json`)
    writeFileSync(long, JSON.stringify({ version: 1, name: 'anna' }))
    await expect(readState(long, SHAPE)).rejects.toMatchObject({ code: 'local.file' })
    expect(readdirSync(folder)).toEqual([`${'s'.repeat(246)}.json`])
  })

  test('of a later version is refused with a sentence, and left as it is', async () => {
    put({ version: 4, anything: true })
    await expect(read()).rejects.toMatchObject({
      code: 'local.state-newer',
      message: expect.stringContaining('it has version 4, and this one knows 3'),
      hint: expect.stringContaining('Install that version again'),
    })
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ version: 4, anything: true })
    expect(readdirSync(folder)).toEqual(['state.json'])
  })

  test.each([
    ['no JSON', '{"version": 3,'],
    ['no object', '[]'],
    ['without a version', '{}'],
    ['of a version that is none', '{"version": 0}'],
    ['of something else', '{"version": 3, "names": 5, "count": 1}'],
  ])('that is %s is damaged, and left as it is', async (_, text) => {
    put(text)
    await expect(read()).rejects.toMatchObject({ code: 'local.peers-damaged' })
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  test('that is too old to be known says so, after a copy was made', async () => {
    put({ version: 1, name: 'anna' })
    await expect(readState(file, { ...SHAPE, steps: {} })).rejects.toMatchObject({
      message: 'version 1 is not known any more',
    })
  })
})

test.each([
  ['the peer book', (path: string) => readBook(path)],
  ['accounts', (path: string) => readAccounts(path)],
  ['invitations', (path: string) => readInvitations(path)],
  [
    'the secret of the relay',
    (path: string) =>
      new RelaySecrets({
        file: path,
        logger: silentLogger,
        wall: () => 0,
        random: (size) => Buffer.alloc(size),
      }).open(),
  ],
])('%s of a later version is not touched', async (_, open) => {
  put({ version: 2, peers: [], accounts: [], invitations: [], secrets: [] })
  const before = readFileSync(file, 'utf8')
  await expect(open(file)).rejects.toMatchObject({ code: 'local.state-newer' })
  expect(readFileSync(file, 'utf8')).toBe(before)
})
