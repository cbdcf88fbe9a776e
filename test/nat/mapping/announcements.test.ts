import { assert, property, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readAnnouncement } from '../../../daemon/nat/mapping/announcements.ts'
import { natPmpAddress, natPmpMapping, pcpAnnouncement, pcpAnswer } from './packets.ts'

describe('what a router says to everybody', () => {
  test('is its epoch (RFC 6887 section 14.1), and its address (RFC 6886 section 3.2.1)', () => {
    expect(readAnnouncement(pcpAnnouncement(7))).toEqual({ epoch: 7 })
    expect(readAnnouncement(natPmpAddress('11.99.0.1', 8))).toEqual({ epoch: 8, address: '11.99.0.1' })
  })

  test('is nothing else that could come to the group', () => {
    const mapping = { internalPort: 1, lifetime: 1, epoch: 1 }
    const refused = pcpAnnouncement(7)
    refused[3] = 1
    for (const packet of [
      Buffer.alloc(0),
      Buffer.from('M-SEARCH * HTTP/1.1'),
      natPmpAddress('0.0.0.0', 8, 3),
      natPmpMapping({ transport: 'udp', externalPort: 1, ...mapping }),
      pcpAnswer({ nonce: Buffer.alloc(12), external: { address: '::', port: 1 }, ...mapping }),
      refused,
    ])
      expect(readAnnouncement(packet)).toBeUndefined()
  })

  test('may be any bytes', () => {
    assert(
      property(uint8Array({ maxLength: 64 }), (bytes) => {
        expect(() => readAnnouncement(Buffer.from(bytes))).not.toThrow()
      }),
    )
  })
})
