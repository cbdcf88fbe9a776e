import { describe, expect, test } from 'vitest'
import { PeerFilter } from '../../daemon/relay/peer-filter.ts'

const own = new Set(['9.9.9.9', '9.9.9.255', '2a00::1', '10.0.0.5'])
const relays = new Set(['9.9.9.9', '2a00::1'])
const filterWith = (allowPrivate: boolean): PeerFilter =>
  new PeerFilter({ relays: () => relays, own: () => own, allowPrivate: () => allowPrivate })
const strict = filterWith(false)
const lenient = filterWith(true)

const PUBLIC = ['8.8.8.8', '1.1.1.1', '100.128.0.1', '172.32.0.1', '223.255.255.1', '2a01::1', '2606:4700::1111']

/** What nobody may reach, whatever the settings say. */
const NEVER = [
  '0.0.0.0',
  '0.1.2.3',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '224.0.0.251',
  '239.255.255.250',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::8.8.8.8',
  '::808:808',
  '::ffff:8.8.8.8',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '0:0:0:0:0:ffff:808:808',
  'fe80::1',
  'fe80::1%eth0',
  'febf::1',
  'fec0::1',
  'ff02::fb',
  'ff0e::1',
  '100::1',
  '2001::1',
  '2001:0:53aa:64c::1',
  '2001:2::1',
  '2001:10::1',
  '2002:7f00:1::1',
  '2002:808:808::1',
  '64:ff9b::8.8.8.8',
  '64:ff9b::808:808',
  '64:ff9b:1::a00:1',
  '4000::1',
  '2A01::1',
  '2a01:0:0:0:0:0:0:1',
  'example.org',
  '',
]

/** What only an owner who says so lets peers reach. */
const PRIVATE = [
  '10.0.0.1',
  '10.255.255.255',
  '100.64.0.1',
  '100.127.255.255',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '192.0.0.8',
  '192.0.2.1',
  '198.51.100.1',
  '203.0.113.1',
  '198.18.0.1',
  '198.19.255.255',
  '192.88.99.1',
  'fc00::1',
  'fd00:1::11',
  '2001:db8::1',
  '3fff::1',
]

describe('peers of a relay', () => {
  test.each(PUBLIC)('%s may be one', (address) => expect(strict.allows(address)).toBe(true))
  test.each(NEVER)('%s is never one', (address) => {
    expect(strict.allows(address)).toBe(false)
    expect(lenient.allows(address)).toBe(false)
  })
  test.each(PRIVATE)('%s is one where private ones are allowed', (address) => {
    expect(strict.allows(address)).toBe(false)
    expect(lenient.allows(address)).toBe(true)
  })

  test("this host's own addresses are none, but for those of relays, to which nothing leaves", () => {
    for (const address of ['9.9.9.255', '10.0.0.5']) expect(strict.allows(address)).toBe(false)
    for (const address of relays) {
      expect(strict.allows(address)).toBe(true)
      expect(strict.mayLeaveTo(address)).toBe(false)
    }
  })
})
