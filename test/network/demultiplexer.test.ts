import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DATAGRAM_KINDS, type DatagramKind, Demultiplexer } from '../../daemon/network/demultiplexer.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort } from '../../daemon/types.ts'

const KINDS = Object.keys(DATAGRAM_KINDS) as DatagramKind[]
const FROM: HostPort = { address: '192.0.2.1', port: 47800 }

const ownerOf = (packet: Uint8Array, owned: readonly DatagramKind[]): DatagramKind | undefined => {
  const first = packet[0]
  if (first === undefined) return undefined
  return owned.find((kind) => first >= DATAGRAM_KINDS[kind][0] && first <= DATAGRAM_KINDS[kind][1])
}

describe('the demultiplexer', () => {
  test('hands every datagram to the one owner of its kind, as it came, or counts it', () => {
    fc.assert(
      fc.property(
        fc.subarray(KINDS),
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 50 }),
        (owned, packets) => {
          const refusals = new Refusals()
          const demultiplexer = new Demultiplexer(refusals)
          const taken: { kind: DatagramKind; packet: Buffer; from: HostPort }[] = []
          for (const kind of owned)
            demultiplexer.handle(kind, (packet, from) => void taken.push({ kind, packet, from }))
          const given = packets.map((bytes) => Buffer.from(bytes))
          for (const packet of given) demultiplexer.deliver(packet, FROM)
          const expected = given.flatMap((packet) => {
            const kind = ownerOf(packet, owned)
            return kind ? [{ kind, packet, from: FROM }] : []
          })
          expect(taken).toEqual(expected)
          expect(refusals.snapshot()['peer.malformed'] ?? 0).toBe(given.length - expected.length)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('has kinds that nowhere overlap', () => {
    for (let first = 0; first < 256; first++)
      expect(KINDS.filter((kind) => ownerOf(Buffer.of(first), [kind]) !== undefined).length).toBeLessThan(2)
  })

  test('hands over to a new owner, whom the old one cannot unseat', () => {
    const demultiplexer = new Demultiplexer(new Refusals())
    const taken: string[] = []
    const release = demultiplexer.handle('stun', () => void taken.push('old'))
    const releaseNew = demultiplexer.handle('stun', () => void taken.push('new'))
    release()
    demultiplexer.deliver(Buffer.of(0), FROM)
    releaseNew()
    demultiplexer.deliver(Buffer.of(0), FROM)
    expect(taken).toEqual(['new'])
  })
})
