import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeChannelData, encodeChannelData } from '../../../daemon/nat/turn/channel-data.ts'

const channel = fc.integer({ min: 0x4000, max: 0x4fff })

test('a packet has its 4 bytes of header, and over streams ends at a multiple of 4', () => {
  expect(encodeChannelData(0x4001, Buffer.from('abcde'), false).toString('hex')).toBe('400100056162636465')
  expect(encodeChannelData(0x4001, Buffer.from('abcde'), true).toString('hex')).toBe('400100056162636465000000')
  expect(encodeChannelData(0x4fff, Buffer.alloc(0), true).toString('hex')).toBe('4fff0000')
})

test('what was written is read, with padding and without', () => {
  fc.assert(
    fc.property(channel, fc.uint8Array({ maxLength: 2000 }), fc.boolean(), (number, data, padded) => {
      const packet = encodeChannelData(number, data, padded)
      expect(decodeChannelData(packet)).toEqual({ channel: number, data: Buffer.from(data) })
      if (padded) expect(packet.length % 4).toBe(0)
    }),
  )
})

test('nothing else is read', () => {
  for (const hex of ['', '40', '400000', '40000001', '3fff0000', '50000000', '4000000561626364'])
    expect(decodeChannelData(Buffer.from(hex, 'hex')), hex).toBeUndefined()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const read = decodeChannelData(Buffer.from(bytes))
      if (read) expect(read.data.length + 4).toBeLessThanOrEqual(bytes.length)
    }),
  )
})
