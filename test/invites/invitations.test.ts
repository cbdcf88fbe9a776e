import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { Invitations } from '../../daemon/invites/invitations.ts'
import { MAX_INVITATIONS } from '../../daemon/invites/invitations-file.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const HOUR = 3_600_000
const peerOf = (n: number): PeerId => peerIdFromKey(Buffer.alloc(32, n))
const [ANNA, BEN, CAROL] = [peerOf(1), peerOf(2), peerOf(3)] as [PeerId, PeerId, PeerId]
const TERMS = { uses: 1, lifetime: HOUR, petname: '' }

let folder: string
let file: string
let clock: VirtualClock
let drawn: number

const randomBytes = (size: number): Uint8Array => {
  const bytes = Buffer.alloc(size)
  bytes.writeUInt32BE(++drawn)
  return bytes
}
const open = (): Promise<Invitations> => Invitations.open({ clock, randomBytes, file })
const claim = (invitations: Invitations, id: string, peer: PeerId): string => {
  const claimed = invitations.claim(id, peer)
  return claimed.kind === 'accepted' ? 'accepted' : claimed.code
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'partyline-invites-'))
  file = join(folder, 'invites.json')
  clock = new VirtualClock()
  drawn = 0
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('an invitation', () => {
  test('is used up by as many joiners as it is good for, each once', async () => {
    const invitations = await open()
    const { id } = await invitations.create({ ...TERMS, uses: 2 })
    expect([ANNA, ANNA, BEN, CAROL, ANNA].map((peer) => claim(invitations, id, peer))).toEqual([
      'accepted',
      'accepted',
      'accepted',
      'policy.ticket-used',
      'accepted',
    ])
    expect(invitations.list().map((one) => invitations.stateOf(one))).toEqual(['used'])
  })

  test('for one host is good for no other', async () => {
    const invitations = await open()
    const { id } = await invitations.create({ ...TERMS, for: BEN })
    expect([ANNA, BEN].map((peer) => invitations.isOpenTo(id, peer))).toEqual([false, true])
    expect([ANNA, BEN].map((peer) => claim(invitations, id, peer))).toEqual(['policy.ticket-not-for-you', 'accepted'])
  })

  test('that was taken back, or never given out, is good for nobody but those who have joined', async () => {
    const invitations = await open()
    const { id } = await invitations.create({ ...TERMS, uses: 2 })
    claim(invitations, id, ANNA)
    await invitations.revoke(id.slice(0, 12).toUpperCase())
    expect([ANNA, BEN].map((peer) => claim(invitations, id, peer))).toEqual(['accepted', 'policy.ticket-revoked'])
    expect(claim(invitations, 'aaaaaaaaaaaaa', ANNA)).toBe('policy.ticket-expired')
    for (const other of ['zzzz', id.slice(0, 3), ''])
      await expect(invitations.revoke(other)).rejects.toMatchObject({ code: 'local.no-invitation' })
  })

  test('ends with its time, also where a clock is set back, before or after a restart', async () => {
    const invitations = await open()
    const { id } = await invitations.create(TERMS)
    const began = clock.wall()
    clock.setWall(began - 10 * HOUR)
    clock.advance(HOUR - 1)
    expect(claim(invitations, id, ANNA)).toBe('accepted')
    clock.advance(1)
    expect(claim(invitations, id, BEN)).toBe('policy.ticket-used')

    const other = await invitations.create(TERMS)
    clock.advance(HOUR)
    expect(claim(invitations, other.id, BEN)).toBe('policy.ticket-expired')
    clock.setWall(began - 100 * HOUR)
    expect(claim(invitations, other.id, BEN)).toBe('policy.ticket-expired')
    const again = await open()
    expect(claim(again, other.id, BEN)).toBe('accepted')
    const third = await again.create(TERMS)
    clock.setWall(began - 1000 * HOUR)
    const late = await open()
    clock.advance(HOUR)
    expect(claim(late, third.id, CAROL)).toBe('policy.ticket-expired')
  })

  test('is over once the wall clock says so, as after a sleep of the machine', async () => {
    const invitations = await open()
    const { id } = await invitations.create(TERMS)
    clock.setWall(clock.wall() + HOUR)
    expect(claim(invitations, id, ANNA)).toBe('policy.ticket-expired')
  })
})

describe('the file', () => {
  test('has what was given out and used before anybody is told, private and without a secret', async () => {
    const invitations = await open()
    const { id } = await invitations.create({ uses: 3, lifetime: HOUR, petname: 'ben', for: BEN })
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(Object.keys(JSON.parse(await readFile(file, 'utf8')).invitations[0]).toSorted()).toEqual(
      ['id', 'created', 'expires', 'uses', 'for', 'petname', 'revoked', 'joined'].toSorted(),
    )
    claim(invitations, id, BEN)
    await invitations.save()
    // As after a kill: nothing is told to the first.
    const again = await open()
    expect(again.list()).toEqual(invitations.list())
    expect(again.claim(id, BEN)).toMatchObject({ kind: 'accepted', isWelcomed: false })
    await again.welcomed(id, BEN)
    expect((await open()).claim(id, BEN)).toMatchObject({ kind: 'accepted', isWelcomed: true })
  })

  test('that is damaged is left as it is', async () => {
    await writeFile(file, '{"version":1,"invitations":[{}]}')
    await expect(open()).rejects.toMatchObject({ code: 'local.invites-damaged' })
    expect(await readFile(file, 'utf8')).toBe('{"version":1,"invitations":[{}]}')
  })

  test('that cannot be written lets nobody in', async () => {
    const invitations = await Invitations.open({ clock, randomBytes, file: join(folder, 'no', 'invites.json') })
    await expect(invitations.create(TERMS)).rejects.toMatchObject({ code: 'local.file' })
    await expect(invitations.save()).rejects.toMatchObject({ code: 'local.file' })
  })

  test('holds no more than so many: what is over makes room, what is open stays', async () => {
    const invitations = await Invitations.open({ clock, randomBytes })
    const first = await invitations.create({ ...TERMS, lifetime: 1000 })
    for (let n = 1; n < MAX_INVITATIONS; n++) await invitations.create(TERMS)
    await expect(invitations.create(TERMS)).rejects.toMatchObject({ code: 'local.limit' })
    clock.advance(1000)
    const last = await invitations.create(TERMS)
    expect(invitations.list()).toHaveLength(MAX_INVITATIONS)
    expect(invitations.list()[0]).toBe(last)
    expect(claim(invitations, first.id, ANNA)).toBe('policy.ticket-expired')
    await expect(invitations.create(TERMS)).rejects.toMatchObject({ code: 'local.limit' })
  })
})
