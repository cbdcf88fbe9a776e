import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../../daemon/errors.ts'
import { StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'
import { encodeChannelData } from '../../../daemon/nat/turn/channel-data.ts'
import { MAX_STREAM_MESSAGE, StreamFramer } from '../../../daemon/nat/turn/stream-framer.ts'

const stun = fc
  .tuple(fc.uint8Array({ minLength: 12, maxLength: 12 }), fc.uint8Array({ maxLength: 900 }))
  .map(([transaction, data]) =>
    new StunWriter('indication', METHOD.data, transaction).add(ATTRIBUTE.data, data).finish(),
  )
const channelData = fc
  .tuple(fc.integer({ min: 0x4000, max: 0x4fff }), fc.uint8Array({ maxLength: 900 }))
  .map(([number, data]) => encodeChannelData(number, data, true))

/** Cuts bytes at random places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length))
}

describe('a stream of STUN messages and ChannelData', () => {
  test('gives back what was put in, however it was cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(stun, channelData), { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (packets, places) => {
          const read: string[] = []
          const framer = new StreamFramer((packet) => read.push(packet.toString('hex')))
          for (const chunk of cut(Buffer.concat(packets), places)) framer.push(Buffer.from(chunk))
          expect(read).toEqual(packets.map((packet) => packet.toString('hex')))
        },
      ),
    )
  })

  test.each([
    ['what is neither', '28000400', 'peer.malformed'],
    ['a STUN message of odd length', '00010003', 'peer.malformed'],
    ['a STUN message that is too large', '0001fffc', 'peer.oversized'],
    ['ChannelData that is too large', '4000ffff', 'peer.oversized'],
  ])('is refused with %s', (_, hex, code) => {
    const framer = new StreamFramer(() => expect.unreachable())
    expect(() => framer.push(Buffer.from(hex, 'hex'))).toThrow(expect.objectContaining({ code }))
  })

  test('of any bytes gives messages that are whole, or ends, and holds no more than one', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (chunks) => {
        const framer = new StreamFramer((packet) => {
          expect(packet.length).toBeGreaterThanOrEqual(4)
          expect(packet.length).toBeLessThanOrEqual(MAX_STREAM_MESSAGE)
        })
        try {
          for (const chunk of chunks) framer.push(Buffer.from(chunk))
        } catch (error) {
          expect(error).toBeInstanceOf(PartylineError)
        }
      }),
    )
  })
})
