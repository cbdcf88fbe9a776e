import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { presenceInstance, presenceTxt, readPresence } from '../../daemon/discovery/presence/record.ts'
import { cleanName } from '../../daemon/identity/host-name.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import type { Presence, Show } from '../../daemon/types.ts'

const { peer } = identityOf(generateKeyPairSync('ed25519').privateKey)
const CAPS = { node: 'https://example.org/partyline', hash: 'sha-1', ver: 'QgayPKawpkPSDYmwT/WM94uAlu0=' }
const AVAILABLE: Presence = { show: 'available', text: '' }

const encode = (txt: Record<string, string>): Buffer[] =>
  Object.entries(txt).map(([key, value]) => Buffer.from(`${key}=${value}`))
const strings = (...texts: readonly string[]): Buffer[] => texts.map((text) => Buffer.from(text))

describe("a host's presence record", () => {
  test('holds the keys of XEP-0174 in their order, then ours', () => {
    const txt = presenceTxt(
      { name: 'Küche', presence: { show: 'busy', text: 'beim Essen ☕' }, caps: CAPS },
      { peer, port: 4711 },
    )
    expect(Object.entries(txt)).toEqual([
      ['txtvers', '1'],
      ['nick', 'Küche'],
      ['status', 'dnd'],
      ['msg', 'beim Essen ☕'],
      ['node', CAPS.node],
      ['hash', CAPS.hash],
      ['ver', CAPS.ver],
      ['port.p2pj', '4711'],
      ['pl.id', peer],
      ['pl.port', '4711'],
    ])
  })

  test('holds no msg where nothing is said', () => {
    expect(presenceTxt({ name: 'a', presence: AVAILABLE, caps: CAPS }, { peer, port: 1 })).not.toHaveProperty('msg')
  })

  test('says what the host told', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1 }).map(cleanName),
        fc.constantFrom<Show>('available', 'away', 'busy'),
        fc.string({ unit: 'grapheme-ascii', maxLength: 251 }).map((text) => text.replace(/ +/g, ' ').trim()),
        fc.integer({ min: 1, max: 65535 }),
        (name, show, text, port) => {
          fc.pre(name !== '')
          const txt = presenceTxt({ name, presence: { show, text }, caps: CAPS }, { peer, port })
          expect(readPresence('x@y', encode(txt))).toEqual({ name, presence: { show, text }, host: { peer, port } })
        },
      ),
    )
  })

  test('is never longer than a reader takes, and each string fits', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 600 })
    fc.assert(
      fc.property(text, text, (name, msg) => {
        const txt = presenceTxt({ name, presence: { show: 'away', text: msg }, caps: CAPS }, { peer, port: 65535 })
        for (const string of encode(txt)) expect(string.length).toBeLessThanOrEqual(255)
        expect(readPresence('x@y', encode(txt))?.host).toEqual({ peer, port: 65535 })
      }),
    )
  })

  test.for([
    ['anna', 'h1', 0, 'anna@h1'],
    ['anna', 'h1', 1, 'anna-1@h1'],
    ['anna', 'h1', 12, 'anna-12@h1'],
    ['Annas Küche (oben)', 'PC-7', 0, 'Annas-Kuche-oben@PC-7'],
    ['厨房', '', 0, 'host@host'],
    ['a.b@c', 'x.y', 0, 'a-b-c@x-y'],
    ['a'.repeat(80), 'b'.repeat(80), 99, `${'a'.repeat(29)}-99@${'b'.repeat(30)}`],
  ] as const)('has the instance of %s on %s after %d clashes: %s', ([name, machine, clashes, instance]) => {
    expect(presenceInstance(name, machine, clashes)).toBe(instance)
  })

  test('has an instance that is one label of US-ASCII, whatever it is made of', () => {
    const text = fc.string({ unit: 'binary', maxLength: 100 })
    fc.assert(
      fc.property(text, text, fc.integer({ min: 0, max: 99 }), (name, machine, clashes) => {
        const instance = presenceInstance(name, machine, clashes)
        expect(instance).toMatch(/^[A-Za-z0-9-]+@[A-Za-z0-9-]+$/)
        expect(instance.length).toBeLessThanOrEqual(63)
      }),
    )
  })
})

describe("others' presence records", () => {
  test('of Finch are read as it writes them', () => {
    const finch = strings(
      'jid=alice@example.org',
      'email=alice@example.org',
      'vc=!',
      'ver=2.14.12',
      'node=libpurple',
      'status=avail',
      'port.p2pj=5298',
      'last=Tester',
      '1st=alice',
      'txtvers=1',
    )
    expect(readPresence('alice@h1', finch)).toEqual({ name: 'alice Tester', presence: AVAILABLE, host: undefined })
  })

  test.for([
    [['nick=Ally', '1st=Alice', 'last=L'], 'Ally'],
    [['1st=Alice'], 'Alice'],
    [['last=Liddell'], 'Liddell'],
    [['nick='], 'alice'],
    [['nick=\u202e\u0007'], 'alice'],
    [['NICK=Ally'], 'Ally'],
    [['nick=first', 'nick=second'], 'first'],
    [['=nick', 'nick', 'nick=late'], 'alice'],
    [[], 'alice'],
  ] as const)('with %j name %s', ([texts, name]) => {
    expect(readPresence('alice@h1', strings(...texts))?.name).toBe(name)
  })

  test.for([
    ['avail', 'available'],
    ['away', 'away'],
    ['dnd', 'busy'],
    ['DND', 'busy'],
    ['xa', 'available'],
    ['', 'available'],
  ] as const)('with status=%s are %s', ([status, show]) => {
    expect(readPresence('a@b', strings(`status=${status}`))?.presence.show).toBe(show)
  })

  test('tell a text of one line, at most 255 characters, without what a screen does not show', () => {
    const text = (msg: string): string | undefined => readPresence('a@b', strings(`msg=${msg}`))?.presence.text
    expect(text(' at\nlunch\u001b[2J\u202e ')).toBe('at lunch[2J')
    expect(text('x'.repeat(251))).toBe('x'.repeat(251))
  })

  test('ignore port.p2pj, and strings that are no UTF-8', () => {
    const record = [...strings('port.p2pj=0', 'nick=Ally'), Buffer.from([0x6d, 0x73, 0x67, 0x3d, 0xff, 0xfe])]
    expect(readPresence('a@b', record)).toEqual({ name: 'Ally', presence: AVAILABLE, host: undefined })
  })

  test.for([
    ['no TXT', undefined],
    ['a string for a TXT', 'txtvers=1'],
    ['numbers for strings', [1, 2]],
    ['more than 64 strings', strings(...Array.from({ length: 65 }, () => 'a=b'))],
    ['more than 1300 bytes', strings(...Array.from({ length: 6 }, (_, index) => `k${index}=${'x'.repeat(240)}`))],
    ['a peer id that is none', strings('pl.id=short', 'pl.port=1')],
    ['a peer id without a port', strings(`pl.id=${peer}`)],
    ['a port that is none', strings(`pl.id=${peer}`, 'pl.port=65536')],
    ['a port in other digits', strings(`pl.id=${peer}`, 'pl.port=0x10')],
  ] as const)('are refused with %s', ([, txt]) => {
    expect(readPresence('a@b', txt)).toBeUndefined()
  })

  test('are read up to 64 strings and 1300 bytes', () => {
    expect(readPresence('a@b', strings(...Array.from({ length: 64 }, () => 'a=b')))?.name).toBe('a')
    const full = [...Array.from({ length: 5 }, (_, index) => `k${index}=${'x'.repeat(252)}`), `l=${'x'.repeat(17)}`]
    expect(full.reduce((sum, text) => sum + text.length + 1, 0)).toBe(1300)
    expect(readPresence('a@b', strings(...full))).toBeDefined()
    expect(readPresence('a@b', strings(...full.slice(0, 5), `l=${'x'.repeat(18)}`))).toBeUndefined()
  })

  test('never throw, and what is read is clean, whatever they hold', () => {
    const bytes = fc.uint8Array({ maxLength: 255 }).map((array) => Buffer.from(array))
    const key = fc.constantFrom('nick', '1st', 'last', 'status', 'msg', 'pl.id', 'pl.port', '__proto__', 'txtvers')
    const value = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.constantFrom(peer, '47800', 'dnd'))
    const pair = fc.tuple(key, value).map(([name, text]) => Buffer.from(`${name}=${text}`))
    const record = fc.array(fc.oneof(bytes, pair, pair, fc.anything()), { maxLength: 70 })
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 63 }), fc.oneof(record, fc.anything()), (instance, txt) => {
        const read = readPresence(instance, txt)
        if (!read) return
        expect(read.name).toBe(cleanName(read.name))
        expect(read.name).not.toBe('')
        expect(read.presence.text).not.toMatch(/[\p{C}\n]/u)
        expect([...read.presence.text].length).toBeLessThanOrEqual(255)
      }),
      { numRuns: 400 },
    )
  })
})
