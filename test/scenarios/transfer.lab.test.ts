import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import { allSeeAll, Guest } from './party.ts'

const missing = labMissing()
const GIB = 1024 ** 3
const folder = mkdtempSync(join(tmpdir(), 'partyline-transfer-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function makeFile(path: string, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  await using file = await open(path, 'w')
  for (let written = 0; written < bytes; written += 2 ** 24) {
    const piece = randomBytes(Math.min(2 ** 24, bytes - written))
    hash.update(piece)
    await file.write(piece)
  }
  return hash.digest('hex')
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk)
  return hash.digest('hex')
}

/** `partyline send` on a, `partyline receive` on b; `disturb` is called once, when a tenth has arrived. */
async function transfer(lab: Lab, a: Guest, b: Guest, bytes: number, disturb: () => Promise<void>): Promise<void> {
  const source = join(folder, `big-${b.id.slice(0, 6)}.bin`)
  const inbox = mkdtempSync(join(folder, 'inbox-'))
  const expected = await makeFile(source, bytes)
  const receive = lab.cli(b.host, [
    'receive',
    '--home',
    b.daemon.home,
    '--dir',
    inbox,
    '--accept',
    'all',
    '--once',
    '--json',
  ])
  const send = lab.cli(a.host, ['send', '--home', a.daemon.home, b.id, source, '--json'])
  send.stdout?.resume()

  let disturbance: Promise<void> | undefined
  if (!receive.stdout) throw new Error('receive has no output')
  for await (const line of createInterface(receive.stdout)) {
    const progress = JSON.parse(line) as { bytes?: number }
    if ((progress.bytes ?? 0) > bytes / 10) disturbance ??= disturb()
  }
  await disturbance
  expect(disturbance, 'the transfer ended before it was disturbed').toBeDefined()
  expect(readdirSync(inbox)).toEqual([source.slice(folder.length + 1)])
  expect(await sha256(join(inbox, source.slice(folder.length + 1)))).toBe(expected)
}

describe.skipIf(missing)(`a file of 1 GiB arrives whole${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('although the cable is pulled in the middle and put back after 20 seconds', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const guests = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')] as const
    await allSeeAll(guests)
    await transfer(lab, ...guests, GIB, async () => {
      await lab.link('h2', 'down')
      await sleep(20_000)
      await lab.link('h2', 'up')
    })
  }, 180_000)

  for (const side of ['sender', 'receiver'])
    test(`although the ${side}'s daemon is killed in the middle and restarted`, async () => {
      await using lab = await Lab.up('lan', { n: 2 })
      const guests = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')] as const
      await allSeeAll(guests)
      await transfer(lab, ...guests, GIB, () => guests[side === 'sender' ? 0 : 1].restart())
    }, 180_000)
})
