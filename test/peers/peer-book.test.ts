import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { isPeerId, peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { MAX_PROVEN, MAX_STRANGERS, PeerBook } from '../../daemon/peers/peer-book.ts'
import type { PeerId, Sighting } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const id = (n: number): PeerId => peerIdFromKey(createHash('sha256').update(`peer ${n}`).digest())
const SELF = id(0)

let folder: string
let file: string
let clock: VirtualClock

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'peers-'))
  file = join(folder, 'peers.json')
  clock = new VirtualClock()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const open = (): Promise<PeerBook> => PeerBook.open({ self: SELF, clock, logger: silentLogger, file })
const inMemory = (): Promise<PeerBook> => PeerBook.open({ self: SELF, clock, logger: silentLogger })

const sighting = (peer: PeerId, change: Partial<Sighting> = {}): Sighting => ({
  peer,
  method: 'mdns',
  interface: 'eth0',
  address: '192.168.50.2',
  port: 47800,
  name: `host-${peer.slice(0, 4)}`,
  proven: false,
  ...change,
})

/** What the book tells from now on, `changed` or `gone` and the name that can be asked for at that moment. */
function listen(book: PeerBook): string[] {
  const told: string[] = []
  book.onChange((peer, change) => void told.push(`${change} ${book.get(peer).name}`))
  return told
}

const codeOf = (task: () => unknown): string => {
  try {
    task()
  } catch (error) {
    return error instanceof PartylineError ? error.code : String(error)
  }
  return 'none'
}

describe('sightings', () => {
  test('make a peer seen, and gone when the last one is taken back', async () => {
    const book = await inMemory()
    const told = listen(book)
    book.seen(sighting(id(1), { name: 'anna' }))
    book.seen(sighting(id(1), { name: 'anna', method: 'beacon' }))
    clock.advance(250)
    expect(book.list()).toEqual([
      {
        id: id(1),
        kind: 'host',
        name: 'anna',
        petname: '',
        trust: 'unknown',
        state: 'seen',
        proven: false,
        presence: { show: 'available', text: '' },
        note: '',
        sightings: [
          { method: 'mdns', interface: 'eth0', address: '192.168.50.2', port: 47800, age: 250 },
          { method: 'beacon', interface: 'eth0', address: '192.168.50.2', port: 47800, age: 250 },
        ],
        route: null,
        rtt: null,
      },
    ])
    book.gone(id(1), 'mdns', 'eth0')
    expect(book.isPresent(id(1))).toBe(true)
    book.gone(id(1), 'beacon', 'eth0', '192.168.50.99')
    expect(book.isPresent(id(1))).toBe(true)
    book.gone(id(1), 'beacon', 'eth0', '192.168.50.2')
    expect(book.list()).toEqual([])
    expect(told).toEqual(['changed anna', 'changed anna', 'changed anna', 'gone anna'])
  })

  test('through a hub, without an address, make a peer seen and give nothing to dial', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { method: 'hub', interface: '', address: '192.168.50.254', port: 0 }))
    expect(book.list()).toMatchObject([{ id: id(1), state: 'seen' }])
    expect(book.addresses(id(1))).toEqual([])
    book.seen(sighting(id(1), { method: 'hub' }))
    expect(book.addresses(id(1))).toMatchObject([{ address: '192.168.50.2', port: 47800 }])
  })

  test('that only repeat tell nobody anything, and keep the peer young', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1)))
    const told = listen(book)
    for (let i = 0; i < 30; i++) {
      clock.advance(60_000)
      book.seen(sighting(id(1)))
    }
    expect(told).toEqual([])
    expect(book.list()[0]?.sightings[0]?.age).toBe(0)
  })

  test('with another port, name or proof do tell', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'a' }))
    const told = listen(book)
    book.seen(sighting(id(1), { name: 'a', port: 4000 }))
    book.seen(sighting(id(1), { name: 'b', port: 4000 }))
    book.seen(sighting(id(1), { name: 'b', port: 4000, proven: true }))
    expect(told).toEqual(['changed a', 'changed b', 'changed b'])
  })

  test('of this host itself are ignored', async () => {
    const book = await inMemory()
    book.seen(sighting(SELF))
    book.connected(SELF, 'me', 'lan', undefined)
    expect(book.list()).toEqual([])
    await expect(book.setTrust(SELF, 'trusted')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  })

  test('that nobody repeats or takes back are dropped after ten minutes of the monotonic clock', async () => {
    const book = await inMemory()
    const told = listen(book)
    book.seen(sighting(id(1), { name: 'anna' }))
    clock.advance(599_000)
    expect(book.list()).toHaveLength(1)
    clock.advance(120_000)
    expect(book.list()).toEqual([])
    expect(told).toEqual(['changed anna', 'gone anna'])
  })

  test('outlive a jump of the wall clock', async () => {
    let jump = 0
    const jumping = { now: () => clock.now(), wall: () => clock.wall() + jump, after: clock.after.bind(clock) }
    const book = await PeerBook.open({ self: SELF, clock: jumping, logger: silentLogger })
    book.seen(sighting(id(1)))
    for (jump of [1e12, -1e12]) {
      clock.advance(61_000)
      expect(book.list()).toHaveLength(1)
    }
  })

  test('are at most 16 a peer; forged ones push out each other and not a proven one', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { address: '10.0.0.1', proven: true }))
    for (let i = 0; i < 100; i++) book.seen(sighting(id(1), { address: `10.0.1.${i}` }))
    const shown = book.get(id(1)).sightings.map(({ address }) => address)
    expect(shown).toHaveLength(16)
    expect(shown).toContain('10.0.0.1')
    expect(shown).toContain('10.0.1.99')
    expect(book.addresses(id(1))[0]?.address).toBe('10.0.0.1')
  })
})

describe('names', () => {
  test('that were proven are not replaced by claimed ones, and are cleaned', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'claimed\u202e' }))
    expect(book.get(id(1)).name).toBe('claimed')
    book.connected(id(1), 'proven', 'lan', undefined)
    book.seen(sighting(id(1), { name: 'forged' }))
    expect(book.get(id(1)).name).toBe('proven')
    book.seen(sighting(id(1), { name: 'renamed', proven: true }))
    expect(book.get(id(1)).name).toBe('renamed')
  })
})

describe('sessions', () => {
  test('show state, route and round-trip time while they last, and speak only when these change', async () => {
    const book = await inMemory()
    const told = listen(book)
    book.connected(id(1), 'anna', 'lan', { address: '10.0.0.1', port: 1 })
    book.connected(id(1), 'anna', 'lan', { address: '10.0.0.1', port: 1 })
    book.measured(id(1), 0.5)
    expect(book.get(id(1))).toMatchObject({ state: 'connected', proven: true, route: 'lan', rtt: 0.5 })
    book.connected(id(1), 'anna', 'direct', undefined)
    book.disconnected(id(1))
    book.disconnected(id(1))
    expect(book.get(id(1))).toMatchObject({ state: 'away', route: null, rtt: null })
    expect(told).toEqual(['changed anna', 'changed anna', 'gone anna'])
  })

  test('are counted', async () => {
    const book = await inMemory()
    book.connected(id(1), 'a', 'lan', undefined)
    book.seen(sighting(id(2)))
    await book.setTrust(id(3), 'trusted')
    expect(book.counts()).toEqual({ seen: 1, connected: 1, away: 1 })
  })
})

describe('a peer that is about to be met', () => {
  const WAYS = { accounts: [], hubs: [], addresses: [{ address: '203.0.113.7', port: 47_800 }] }

  test('is known and can be dialled until that is over, without being listed or pushed out', async () => {
    const book = await inMemory()
    const told = listen(book)
    const over = book.expect(id(1), 'anna', WAYS)
    expect(book.get(id(1))).toMatchObject({ name: 'anna', trust: 'unknown', state: 'away' })
    expect([book.ways(id(1)), book.addresses(id(1))]).toMatchObject([WAYS, WAYS.addresses])
    for (let n = 2; n < MAX_STRANGERS + 10; n++) book.seen(sighting(id(n)))
    book.seen(sighting(id(1), { name: 'anna' }))
    book.gone(id(1), 'mdns', 'eth0')
    expect(book.ways(id(1))).toEqual(WAYS)
    over()
    over()
    expect([book.ways(id(1)).addresses, book.addresses(id(1)), book.get(id(1)).name]).toEqual([[], [], ''])
    expect(told.filter((one) => one.endsWith('anna'))).toEqual(['changed anna', 'gone anna'])
  })

  test('stays when it was decided meanwhile, and for as long as anybody expects it', async () => {
    const book = await inMemory()
    const [first, second] = [book.expect(id(1), 'anna', WAYS), book.expect(id(1), 'anna', WAYS)]
    first()
    expect(book.ways(id(1))).toEqual(WAYS)
    await book.setTrust(id(1), 'trusted')
    second()
    expect(book.get(id(1))).toMatchObject({ name: 'anna', trust: 'trusted' })
    expect(book.ways(id(1))).toEqual(WAYS)
  })

  test('that was forgotten meanwhile leaves nothing behind', async () => {
    const book = await inMemory()
    const over = book.expect(id(1), 'anna', WAYS)
    await book.forget(id(1))
    over()
    expect(book.get(id(1)).name).toBe('')
  })
})

describe('what the user decides', () => {
  test('is on disk, mode 0600, when the call returns', async () => {
    const book = await open()
    await book.setTrust(id(1), 'trusted')
    await book.setPetname(id(2), 'Änne')
    await book.setTrust(id(3), 'blocked')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const again = await open()
    expect(again.list().map(({ id: peer, petname, trust, state }) => ({ peer, petname, trust, state }))).toEqual([
      { peer: id(1), petname: '', trust: 'trusted', state: 'away' },
      { peer: id(2), petname: 'Änne', trust: 'unknown', state: 'away' },
      { peer: id(3), petname: '', trust: 'blocked', state: 'away' },
    ])
    expect(again.isBlocked(id(3))).toBe(true)
    expect(again.isBlocked(id(1))).toBe(false)
  })

  test('does not make a peer proven, neither now nor after a restart', async () => {
    await (await open()).setTrust(id(1), 'trusted')
    const again = await open()
    expect(again.get(id(1)).proven).toBe(false)
    again.seen(sighting(id(1), { name: 'first name' }))
    expect(again.get(id(1)).name).toBe('first name')
  })

  test('is all there when a hundred decisions come at once', async () => {
    const book = await open()
    await Promise.all(Array.from({ length: 100 }, (_, i) => book.setPetname(id(i + 1), `peer ${i}`)))
    expect((await open()).list()).toHaveLength(100)
  })

  test('shows a blocked peer that is there as blocked', async () => {
    const book = await inMemory()
    await book.setTrust(id(1), 'blocked')
    book.seen(sighting(id(1)))
    expect(book.list()).toMatchObject([{ trust: 'blocked', state: 'seen' }])
  })

  test('tells listeners once for a change and not for a repetition', async () => {
    const book = await inMemory()
    const told = listen(book)
    await book.setTrust(id(1), 'trusted')
    await book.setTrust(id(1), 'trusted')
    await book.setPetname(id(1), 'anna')
    await book.setPetname(id(1), 'anna')
    await book.setTrust(id(1), 'unknown')
    await book.setPetname(id(1), '')
    await book.setPetname(id(1), '')
    await book.setTrust(id(2), 'unknown')
    expect(told).toEqual(['changed ', 'changed ', 'changed ', 'gone '])
    expect(book.list()).toEqual([])
  })

  test('gives a petname to one peer only, and none that is an id or cannot be shown', async () => {
    const book = await inMemory()
    await book.setPetname(id(1), 'anna')
    await expect(book.setPetname(id(2), 'anna')).rejects.toMatchObject({
      code: 'usage.invalid-argument',
      message: expect.stringContaining('anna'),
    })
    for (const wrong of [id(5), 'two\nlines', '\u202eanna', 'x'.repeat(64)])
      await expect(book.setPetname(id(2), wrong)).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await book.setPetname(id(1), '')
    await book.setPetname(id(2), 'anna')
    expect(book.resolve('anna')).toBe(id(2))
  })

  test('to forget takes petname, trust and addresses away, on disk too', async () => {
    const book = await open()
    await book.setPetname(id(1), 'anna')
    book.connected(id(1), 'anna-laptop', 'lan', { address: '10.0.0.1', port: 1 })
    book.disconnected(id(1))
    const told = listen(book)
    await book.forget(id(1))
    await book.forget(id(1))
    expect(told).toEqual(['gone anna-laptop'])
    expect(book.list()).toEqual([])
    expect(book.addresses(id(1))).toEqual([])
    expect(JSON.parse(readFileSync(file, 'utf8')).peers).toEqual([])
  })

  test('holds in memory and says so when it cannot be written, and is written by the next decision', async () => {
    const book = await open()
    mkdirSync(file)
    await expect(book.setTrust(id(1), 'blocked')).rejects.toMatchObject({
      code: 'local.file',
      message: expect.stringContaining(file),
    })
    expect(book.isBlocked(id(1))).toBe(true)
    rmdirSync(file)
    await book.setTrust(id(1), 'blocked')
    expect((await open()).isBlocked(id(1))).toBe(true)
    await book.close()
  })
})

describe('resolving', () => {
  test('goes by petname, then by name, then by id or a prefix of it', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'anna' }))
    book.seen(sighting(id(2), { name: 'bert' }))
    await book.setPetname(id(2), 'anna')
    expect(book.resolve('anna')).toBe(id(2))
    expect(book.resolve('bert')).toBe(id(2))
    expect(book.resolve(id(1))).toBe(id(1))
    expect(book.resolve(id(1).slice(0, 6))).toBe(id(1))
    expect(book.resolve(id(1).slice(0, 10).toUpperCase())).toBe(id(1))
    expect(book.resolve(id(99))).toBe(id(99))
    expect(codeOf(() => book.resolve(id(1).slice(0, 5)))).toBe('peer.not-found')
    expect(codeOf(() => book.resolve(''))).toBe('peer.not-found')
  })

  test('lists the candidates when two go by one name', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'laptop' }))
    book.seen(sighting(id(2), { name: 'laptop' }))
    expect(() => book.resolve('laptop')).toThrow(
      new PartylineError(
        'usage.ambiguous-peer',
        `"laptop" may be laptop (${id(1).slice(0, 12)}), laptop (${id(2).slice(0, 12)})`,
      ),
    )
  })

  test('suggests near names', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'anna-laptop' }))
    book.seen(sighting(id(2), { name: 'bert' }))
    expect(() => book.resolve('Anna')).toThrow('no peer goes by "Anna"; did you mean anna-laptop?')
    expect(() => book.resolve('brt')).toThrow('did you mean bert?')
    expect(() => book.resolve('zzzzzzzz')).toThrow(/^no peer goes by "zzzzzzzz"$/)
  })

  test('is not deceived by a peer that calls itself by another one’s id or its beginning', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'victim' }))
    book.seen(sighting(id(2), { name: id(1) }))
    book.seen(sighting(id(3), { name: id(1).slice(0, 8) }))
    expect(book.resolve(id(1))).toBe(id(1))
    expect(codeOf(() => book.resolve(id(1).slice(0, 8)))).toBe('usage.ambiguous-peer')
  })

  test('ends in a peer or in one of two errors, whatever the text', async () => {
    const book = await inMemory()
    for (let i = 1; i < 20; i++) book.seen(sighting(id(i), { name: 'abc'.slice(0, i % 4) }))
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('a', 'b', 'c') })), (text) => {
        try {
          expect(isPeerId(book.resolve(text))).toBe(true)
        } catch (error) {
          expect(['peer.not-found', 'usage.ambiguous-peer']).toContain((error as PartylineError).code)
        }
      }),
    )
  })
})

describe('addresses', () => {
  test('are those seen now, newest first, then those that were good before, each once', async () => {
    const book = await inMemory()
    book.connected(id(1), 'anna', 'lan', { address: '10.0.0.7', port: 7 })
    book.connected(id(1), 'anna', 'lan', { address: '10.0.0.8', port: 8 })
    book.disconnected(id(1))
    book.seen(sighting(id(1), { address: '10.0.0.1' }))
    book.seen(sighting(id(1), { address: '10.0.0.8', port: 8, interface: 'wlan0' }))
    book.seen(sighting(id(1), { address: '10.0.0.1', method: 'beacon' }))
    expect(book.addresses(id(1))).toEqual([
      { address: '10.0.0.1', port: 47800, interface: 'eth0', lastGood: false },
      { address: '10.0.0.8', port: 8, interface: 'wlan0', lastGood: true },
      { address: '10.0.0.7', port: 7, interface: '', lastGood: false },
    ])
    expect(book.addresses(id(2))).toEqual([])
  })

  test('that were good before are at most eight, and survive a restart', async () => {
    const book = await open()
    for (let i = 0; i < 12; i++) book.connected(id(1), 'anna', 'lan', { address: `10.0.0.${i}`, port: 1 })
    book.connected(id(1), 'anna', 'lan', { address: 'fe80::1%eth0', port: 1 })
    book.disconnected(id(1))
    await book.close()
    const known = (await open()).addresses(id(1))
    expect(known.map(({ address }) => address)).toEqual([
      'fe80::1%eth0',
      ...[11, 10, 9, 8, 7, 6, 5].map((i) => `10.0.0.${i}`),
    ])
  })

  test('to look at first at start are the last ones of each proven peer, latest first, blocked ones left out', async () => {
    const book = await open()
    for (let i = 1; i <= 5; i++) {
      clock.advance(1000)
      book.connected(id(i), `peer ${i}`, 'lan', { address: `10.0.0.${i}`, port: i })
      book.disconnected(id(i))
    }
    await book.setTrust(id(4), 'blocked')
    await book.close()
    expect((await open()).remembered(2)).toEqual([
      { peer: id(5), address: '10.0.0.5', port: 5 },
      { peer: id(3), address: '10.0.0.3', port: 3 },
    ])
  })
})

describe('the book on disk', () => {
  test('keeps proven peers and not strangers', async () => {
    const book = await open()
    book.seen(sighting(id(1)))
    book.seen(sighting(id(2), { name: 'proven by beacon', proven: true }))
    book.connected(id(3), 'proven by link', 'lan', undefined)
    await book.close()
    const stored = JSON.parse(readFileSync(file, 'utf8')).peers as { id: string; name: string; proven: boolean }[]
    expect(stored.map(({ id: peer, name, proven }) => ({ peer, name, proven }))).toEqual([
      { peer: id(2), name: 'proven by beacon', proven: true },
      { peer: id(3), name: 'proven by link', proven: true },
    ])
    const again = await open()
    expect(again.list()).toEqual([])
    expect(again.get(id(3))).toMatchObject({ name: 'proven by link', proven: true, state: 'away' })
  })

  test('is written a second after a change, not for every sighting', async () => {
    const book = await open()
    book.seen(sighting(id(1), { proven: true }))
    expect(readdirSync(folder)).toEqual([])
    clock.advance(1000)
    await book.setTrust(id(9), 'trusted')
    const before = statSync(file, { bigint: true }).mtimeNs
    for (let i = 0; i < 100; i++) {
      book.seen(sighting(id(1), { proven: true }))
      clock.advance(1000)
    }
    expect(statSync(file, { bigint: true }).mtimeNs).toBe(before)
    await book.close()
    await book.close()
  })

  test.each([
    ['not JSON', '{"version": 1,\n "peers": [,]}', 'line 2, column 12'],
    ['cut short', '{"version": 1, "peers": [{"id"', 'line 1'],
    ['of no version', '{"peers": []}', 'version'],
    ['with an id that is none', JSON.stringify({ version: 1, peers: [{ id: 'anna' }] }), 'no peer id'],
    ['empty', '', 'line 1, column 1'],
    [
      'with a name in place of an address',
      JSON.stringify({
        version: 1,
        peers: [
          {
            id: id(1),
            name: '',
            petname: '',
            trust: 'unknown',
            proven: true,
            lastSeen: 0,
            addresses: [{ address: 'evil.example', port: 1 }],
          },
        ],
      }),
      'no IP address',
    ],
  ])('that is %s is refused and left as it is', async (_, text, reason) => {
    writeFileSync(file, text)
    await expect(open()).rejects.toMatchObject({
      code: 'local.peers-damaged',
      message: expect.stringMatching(new RegExp(`${file}.*${reason}`, 's')),
    })
    expect(readFileSync(file, 'utf8')).toBe(text)
    expect(readdirSync(folder)).toEqual(['peers.json'])
  })

  test('is whole after kill -9 at any moment', async () => {
    for (let round = 0; round < 5; round++) {
      const child = spawn(process.execPath, [fileURLToPath(new URL('./book-writer.ts', import.meta.url)), file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await once(child.stdout, 'data')
      const before = statSync(file).mtimeMs
      while (statSync(file).mtimeMs === before) await new Promise((resolve) => setImmediate(resolve))
      child.kill('SIGKILL')
      await once(child, 'exit')
      const peers = (await open()).list()
      expect(peers.length).toBeGreaterThanOrEqual(20)
      for (const { petname } of peers) expect(petname).toMatch(/^peer \d+$/)
    }
  })

  test('gives back what was decided, in whatever order', async () => {
    const step = fc.record({
      peer: fc.integer({ min: 1, max: 4 }).map(id),
      trust: fc.constantFrom('unknown', 'trusted', 'blocked', 'forget' as const),
      petname: fc.option(fc.string({ maxLength: 8 })),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 6 }), async (steps) => {
        rmSync(file, { force: true })
        const book = await open()
        for (const { peer, trust, petname } of steps) {
          if (trust === 'forget') await book.forget(peer)
          else await book.setTrust(peer, trust)
          if (petname !== null)
            await book.setPetname(peer, petname).catch((error) => expect(error.code).toBe('usage.invalid-argument'))
        }
        const byId = (list: { id: string }[]): unknown[] => list.toSorted((a, b) => a.id.localeCompare(b.id))
        expect(byId((await open()).list())).toEqual(byId(book.list()))
        await book.close()
      }),
      { numRuns: 25 },
    )
  })
})

describe('a flood', () => {
  test('of forged sightings stays below its bound and pushes out no peer that matters', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1), { name: 'proven', proven: true }))
    await book.setTrust(id(2), 'trusted')
    await book.setPetname(id(3), 'anna')
    book.connected(id(4), 'connected', 'lan', undefined)
    let gone = 0
    book.onChange((_, change) => {
      if (change === 'gone') gone++
    })
    const key = Buffer.alloc(32)
    const forged = Array.from({ length: 60_000 }, (_, i) => {
      key.writeUInt32BE(i)
      return sighting(peerIdFromKey(key))
    })
    for (const one of forged) book.seen(one)
    expect(book.list()).toHaveLength(MAX_STRANGERS + 4)
    expect(gone).toBe(forged.length - MAX_STRANGERS)
    for (const n of [1, 2, 3, 4]) expect(book.list().some((peer) => peer.id === id(n))).toBe(true)
    expect(book.isPresent(forged.at(-1)?.peer ?? SELF)).toBe(true)
    expect(book.isPresent(forged[0]?.peer ?? SELF)).toBe(false)
  })

  test('of proven keys stays below its bound, and pushes out neither sessions nor decided peers', async () => {
    const book = await inMemory()
    book.connected(id(1), 'connected', 'lan', undefined)
    await book.setTrust(id(2), 'trusted')
    const key = Buffer.alloc(32)
    for (let i = 0; i < MAX_PROVEN + 1000; i++) {
      key.writeUInt32BE(i)
      book.seen(sighting(peerIdFromKey(key), { proven: true }))
    }
    const list = book.list()
    expect(list).toHaveLength(MAX_PROVEN + 1)
    expect(list.slice(0, 2).map(({ id: peer }) => peer)).toEqual([id(1), id(2)])
  })

  test('leaves nothing behind when its sightings are taken back', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1)))
    book.gone(id(1), 'mdns', 'eth0')
    expect(codeOf(() => book.resolve(id(1).slice(0, 10)))).toBe('peer.not-found')
  })
})

describe('what a peer tells, and what is in its way', () => {
  test('is shown and told while the peer is there, and gone with it', async () => {
    const book = await inMemory()
    book.setPresence(id(1), { show: 'busy', text: 'in a match' })
    expect(book.list()).toEqual([])
    book.seen(sighting(id(1)))
    await book.setTrust(id(1), 'trusted')
    const told = listen(book)
    book.setPresence(id(1), { show: 'busy', text: 'in a match' })
    book.setPresence(id(1), { show: 'busy', text: 'in a match' })
    book.setNote(id(1), 'kept apart')
    book.setNote(id(1), 'kept apart')
    expect(told).toHaveLength(2)
    expect(book.get(id(1))).toMatchObject({ presence: { show: 'busy', text: 'in a match' }, note: 'kept apart' })
    book.gone(id(1), 'mdns', 'eth0')
    expect(book.get(id(1))).toMatchObject({ state: 'away', presence: { show: 'available', text: '' }, note: '' })
  })

  test('is not said of a peer that a session reaches', async () => {
    const book = await inMemory()
    book.seen(sighting(id(1)))
    book.setNote(id(1), 'kept apart')
    book.connected(id(1), 'anna', 'lan', undefined)
    expect(book.get(id(1)).note).toBe('')
  })
})

test('what was decided about peers is counted while it holds, and after a restart', async () => {
  const book = await open()
  const rules = new Map([
    [id(1), 'public'],
    [id(2), 'relay'],
    [id(3), 'all'],
  ] as const)
  for (const [peer, share] of rules) await book.setPolicy(peer, { share })
  expect(book.shares().toSorted()).toEqual(['all', 'public', 'relay'])
  await book.setPolicy(id(1), {})
  await book.forget(id(2))
  expect(book.shares()).toEqual(['all'])
  await book.close()
  const again = await open()
  expect([again.shares(), again.policy(id(3))]).toEqual([['all'], { share: 'all' }])
  await again.close()
})

test('trusted peers are far while no network of ours and no hub shows them', async () => {
  const book = await inMemory()
  for (const n of [1, 2, 3, 4, 5]) await book.setTrust(id(n), n === 5 ? 'unknown' : 'trusted')
  book.seen(sighting(id(1)))
  book.seen(sighting(id(2), { method: 'hub', interface: '' }))
  // It answered at an address that was remembered.
  book.seen(sighting(id(3), { method: 'beacon', interface: '', address: '203.0.113.7', proven: true }))
  expect(book.far().toSorted()).toEqual([id(3), id(4)].toSorted())
  await book.close()
})
