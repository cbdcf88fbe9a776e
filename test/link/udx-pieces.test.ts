import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { streamOfPiece, UdxPieces } from '../../daemon/link/udx-pieces.ts'

const STREAM = 0x89abcdef

/** A packet of the stream, of so many bytes. */
function packetOf(length: number, fill: number): Buffer {
  const packet = Buffer.alloc(length, fill)
  packet.set([255, 1, 1, 0])
  packet.writeUInt32LE(STREAM, 4)
  return packet
}

describe('pieces', () => {
  test('make the packet that was split, in whichever order they come', () => {
    fc.assert(
      fc.property(fc.integer({ min: 20, max: 1472 }), fc.boolean(), (length, isReversed) => {
        const packet = packetOf(length, 7)
        const pieces = new UdxPieces(STREAM).split(packet)
        expect(pieces.every((piece) => piece.length <= 8 + 736 && streamOfPiece(piece) === STREAM)).toBe(true)
        const receiver = new UdxPieces(STREAM)
        const [first, second] = isReversed ? pieces.toReversed() : pieces
        expect(receiver.join(first as Buffer)).toBeUndefined()
        expect(receiver.join(second as Buffer)).toEqual(packet)
      }),
    )
  })

  test('of packets of which one got lost are forgotten, and lead to no packet that was none', () => {
    const sender = new UdxPieces(STREAM)
    const receiver = new UdxPieces(STREAM)
    const oldest = sender.split(packetOf(1400, 0))
    receiver.join(oldest[0] as Buffer)
    for (let n = 1; n <= 64; n++) receiver.join(sender.split(packetOf(1400, n))[0] as Buffer)
    expect(receiver.join(oldest[1] as Buffer)).toBeUndefined()
    const last = sender.split(packetOf(1400, 9))
    expect(receiver.join(last[0] as Buffer)).toBeUndefined()
    expect(receiver.join(last[0] as Buffer)).toBeUndefined()
    expect(receiver.join(last[1] as Buffer)).toEqual(packetOf(1400, 9))
  })

  test('of anything else make nothing', () => {
    const receiver = new UdxPieces(STREAM)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(3), fc.nat(3), (bytes, index, number) => {
        const piece = Buffer.concat([Buffer.of(255, 0x70, index, number), Buffer.from(bytes)])
        const stream = streamOfPiece(piece)
        expect(stream === undefined).toBe(index > 1 || bytes.length < 5)
        if (stream !== undefined) receiver.join(piece)
      }),
    )
    expect(streamOfPiece(packetOf(100, 0))).toBeUndefined()
    const other = new UdxPieces(1)
    for (const piece of other.split(packetOf(100, 0))) expect(other.join(piece)).toBeUndefined()
  })
})
