import { createHmac } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { userhash } from '../../daemon/nat/stun/attributes.ts'
import { CredentialBook, LONGEST_LIFE, MAX_LIFETIME } from '../../daemon/relay/credentials.ts'
import { RelaySecrets } from '../../daemon/relay/secrets.ts'
import type { PeerId } from '../../daemon/types.ts'
import { ANNA, BEN, EVE, HOUR } from './relay-world.ts'

const START = 1_795_000_123_456
let folder: string
let file: string
let now = START
let made = 0

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'relay-secret-'))
  file = join(folder, 'relay-secret.json')
  now = START
  made = 0
})
afterEach(() => rm(folder, { recursive: true }))

async function open(): Promise<RelaySecrets> {
  const random = (bytes: number): Buffer => Buffer.alloc(bytes, ++made)
  const secrets = new RelaySecrets({ file, logger: silentLogger, wall: () => now, random })
  await secrets.open()
  return secrets
}

const bookOf = (secrets: RelaySecrets, trusted: readonly PeerId[] = [ANNA, BEN]): CredentialBook =>
  new CredentialBook({ realm: 'partyline', secrets: () => secrets.keys, wall: () => now, trusted: () => trusted })

test("the secret is the owner's alone, and the same after a restart", async () => {
  const first = await open()
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const again = await open()
  expect(again.keys).toEqual(first.keys)
  expect(again.keys).toHaveLength(1)
})

test('it is changed in time, and no credentials end early for it', async () => {
  const secrets = await open()
  const book = bookOf(secrets)
  now += LONGEST_LIFE - 1
  const issued = book.issue(ANNA, MAX_LIFETIME) ?? expect.fail('no secret')
  now += 1
  await secrets.renew()
  expect(secrets.keys).toHaveLength(2)
  now = issued.expires - 1
  await secrets.renew()
  expect(book.byName(issued.username)?.passwords).toContain(issued.password)
  now = issued.expires
  expect(book.byName(issued.username)).toBeUndefined()
  await secrets.renew()
  await secrets.renew()
  expect((JSON.parse(await readFile(file, 'utf8')) as { secrets: unknown[] }).secrets).toHaveLength(2)
})

test.each(['', 'no json', '{}', '{"version":1,"secrets":[{"key":"short","since":0}]}'])(
  'a file that holds %j is made anew',
  async (content) => {
    await writeFile(file, content)
    expect((await open()).keys).toHaveLength(1)
    expect((await open()).keys).toHaveLength(1)
  },
)

test('credentials are those of the TURN REST scheme', async () => {
  const secrets = await open()
  const { username, password, expires } = bookOf(secrets).issue(ANNA, HOUR) ?? expect.fail('no secret')
  expect(username).toBe(`${expires / 1000}:${ANNA}`)
  const [key] = secrets.keys
  expect(password).toBe(
    createHmac('sha1', key as Buffer)
      .update(username)
      .digest('base64'),
  )
  expect(expires - now).toBeGreaterThanOrEqual(HOUR)
  expect(expires - now).toBeLessThan(2 * HOUR)
})

test('without a secret there are none', () => {
  const book = new CredentialBook({ realm: 'r', secrets: () => [], wall: () => now, trusted: () => [ANNA] })
  expect(book.issue(ANNA, HOUR)).toBeUndefined()
})

test('hashed names of trusted peers are known from the moment they are issued to their end, whatever their lifetime', async () => {
  const book = bookOf(await open())
  for (const lifetime of [1, HOUR, 24 * HOUR, 24 * HOUR + 1, 7 * 24 * HOUR, MAX_LIFETIME]) {
    now = START
    const { username, expires } = book.issue(BEN, lifetime) ?? expect.fail('no secret')
    const hash = userhash(username, 'partyline')
    for (const moment of [START, (START + expires) / 2, expires - 1]) {
      now = moment
      expect(book.byHash(hash)?.username).toBe(username)
    }
    now = expires
    expect(book.byHash(hash)).toBeUndefined()
  }
})

test('hashed names of others are not', async () => {
  const book = bookOf(await open())
  const { username } = book.issue(EVE, HOUR) ?? expect.fail('no secret')
  expect(book.byHash(userhash(username, 'partyline'))).toBeUndefined()
  expect(book.byHash(Buffer.alloc(3))).toBeUndefined()
})
