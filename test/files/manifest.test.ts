import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { decodeRequest, encodeRequest } from '../../ipc/files/fetch-protocol.ts'
import {
  decodeManifest,
  encodeManifest,
  MAX_ENTRIES,
  MAX_MANIFEST,
  type ManifestEntry,
} from '../../ipc/files/manifest.ts'

const component = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((name) => !name.includes('/') && name !== '.' && name !== '..' && name.isWellFormed())
const entry: fc.Arbitrary<ManifestEntry> = fc.oneof(
  fc.record({ kind: fc.constant('folder' as const), path: component }),
  fc.record({
    kind: fc.constant('file' as const),
    path: component,
    size: fc.maxSafeNat(),
    mtime: fc.maxSafeInteger(),
    executable: fc.boolean(),
  }),
)

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof PartylineError) return error.code
    throw error
  }
  return 'accepted'
}

const decode = (text: string): string => codeOf(() => decodeManifest(Buffer.from(text)))

describe('the manifest', () => {
  test('arrives as it was sent', () => {
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: ({ path }) => path, maxLength: 50 }), (entries) => {
        expect(decodeManifest(encodeManifest(entries))).toEqual(entries)
      }),
    )
  })

  test('of a hostile peer is refused and nothing worse', () => {
    const refusals = ['accepted', 'peer.malformed', 'peer.oversized']
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(refusals).toContain(codeOf(() => decodeManifest(bytes)))
      }),
    )
    fc.assert(
      fc.property(fc.array(fc.json({ maxDepth: 2 })), (lines) => {
        expect(refusals).toContain(decode(lines.map((line) => `${line}\n`).join('')))
      }),
    )
  })

  test.for([
    ['a path that climbs', '["../x",1,1,0]\n'],
    ['an absolute path', '["/etc/passwd",1,1,0]\n'],
    ['an empty path', '[""]\n'],
    ['an empty component', '["a//b"]\n'],
    ['half a character', '["\\ud800"]\n'],
    ['a negative size', '["a",-1,1,0]\n'],
    ['a size that is no whole number', '["a",1.5,1,0]\n'],
    ['a size beyond what counts exactly', '["a",9007199254740993,1,0]\n'],
    ['a line of another shape', '["a",1]\n'],
    ['a path listed twice', '["a"]\n["a",1,1,0]\n'],
    ['a file that is a folder too', '["a",1,1,0]\n["a/b",1,1,0]\n'],
    ['a line that is cut off', '["a",1,1,0]'],
  ] as const)('is refused with %s', ([, text]) => {
    expect(decode(text)).toBe('peer.malformed')
  })

  test('is refused with a path or depth beyond the limit', () => {
    expect(decode(`["${'a'.repeat(4097)}"]\n`)).toBe('peer.malformed')
    expect(decode(`["${'a/'.repeat(256)}a"]\n`)).toBe('peer.malformed')
    expect(decode(`["${'a'.repeat(30_000)}"]\n`)).toBe('peer.oversized')
  })

  test('is refused beyond its size', () => {
    expect(codeOf(() => decodeManifest(new Uint8Array(MAX_MANIFEST + 1)))).toBe('peer.oversized')
  })

  test('of too many files cannot be made', () => {
    const folder = { kind: 'folder', path: 'a' } as const
    expect(codeOf(() => encodeManifest(Array.from({ length: MAX_ENTRIES + 1 }, () => folder)))).toBe('usage.too-large')
  })
})

describe('the request for files', () => {
  test.for([
    { manifest: true },
    { from: 0, count: 256, offset: 'end' },
    { from: 7, count: 1, offset: 2 ** 40 },
  ] as const)('arrives as it was sent: %j', (request) => {
    expect(decodeRequest(encodeRequest(request))).toEqual(request)
  })

  test('of a hostile peer is refused and nothing worse', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (meta) => {
        expect(codeOf(() => decodeRequest(meta))).toBe('peer.malformed')
      }),
    )
    for (const offset of [-1, 0.5, 'start', null])
      expect(codeOf(() => decodeRequest(JSON.stringify({ from: 0, count: 1, offset })))).toBe('peer.malformed')
    expect(codeOf(() => decodeRequest('{"from":0,"count":0,"offset":0}'))).toBe('peer.malformed')
  })
})
