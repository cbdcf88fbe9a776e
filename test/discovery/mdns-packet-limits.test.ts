import { beforeEach, describe, expect, test } from 'vitest'
import type { DnsRecord } from '../../daemon/discovery/mdns/dns-records.ts'
import { PacketLimits } from '../../daemon/discovery/mdns/packet-limits.ts'
import { VirtualClock } from '../virtual-clock.ts'

const BROWSED = ['_partyline._tcp.local', '_presence._tcp.local']
const [, PRESENCE = ''] = BROWSED

const pointer = (data: string, name = PRESENCE): DnsRecord => ({ name, type: 'PTR', ttl: 120, data })
const text = (name: string): DnsRecord => ({ name, type: 'TXT', ttl: 120, data: [] })
const records = (count: number, make: (n: number) => DnsRecord): DnsRecord[] =>
  Array.from({ length: count }, (_, n) => make(n))

let clock: VirtualClock
let limits: PacketLimits

beforeEach(() => {
  clock = new VirtualClock()
  limits = new PacketLimits(clock)
})

const says = (answers: readonly DnsRecord[], from = '192.168.50.2') =>
  limits.refusal('response', { answers }, from, BROWSED)
/** How many of these packets are looked at. */
const passed = (count: number, packet: () => string | undefined): number =>
  Array.from({ length: count }, packet).filter((refusal) => refusal === undefined).length

describe('packets of mDNS', () => {
  test('are looked at, 200 of an address at once and 50 a second, 2,000 in all', () => {
    const one = [pointer(`a.${PRESENCE}`), text(`a.${PRESENCE}`)]
    expect(passed(300, () => says(one))).toBe(200)
    clock.advance(1000)
    expect(passed(300, () => says(one))).toBe(50)
    let host = 0
    expect(passed(3000, () => says(one, `192.168.51.${host++}`))).toBe(2000 - 50)
  })

  test('count once for each instance that they tell of, in whatever records', () => {
    const sixteen = { pointers: records(16, (n) => pointer(`p${n}.${PRESENCE}`)) }
    expect(passed(300, () => says(sixteen.pointers))).toBe(200 / 16 - 0.5)
    const texts = records(16, (n) => text(`p${n}.${PRESENCE.toUpperCase()}`))
    expect(passed(300, () => says(texts, '192.168.50.3'))).toBe(200 / 16 - 0.5)
    const both = [...records(8, (n) => text(`p${n}.${PRESENCE}`)), ...records(8, (n) => pointer(`p${n}.x`, BROWSED[0]))]
    expect(passed(300, () => says(both, '192.168.50.4'))).toBe(200 / 16 - 0.5)
    const withQuestion = { questions: [{ name: 'x', type: 'PTR' }], answers: texts }
    expect(passed(300, () => limits.refusal('response', withQuestion, 'a', BROWSED))).toBe(200 / 16 - 0.5)
    const printers = records(200, (n) => pointer(`p${n}._ipp._tcp.local`, '_ipp._tcp.local'))
    expect(passed(300, () => says(printers, '192.168.50.5'))).toBe(200)
  })

  test('that tell of more than 32, or hold what no honest packet does, are refused', () => {
    expect(says(records(32, (n) => pointer(`p${n}.${PRESENCE}`)))).toBeUndefined()
    expect(says(records(33, () => pointer('the same')))).toBe('peer.oversized')
    expect(says(records(257, () => ({ name: 'h.local', type: 'A', data: '192.168.50.2' })))).toBe('peer.oversized')
    const questions = records(65, () => pointer('')).map(({ name, type }) => ({ name, type }))
    expect(limits.refusal('query', { questions }, 'a', BROWSED)).toBe('peer.oversized')
  })

  test('that ask may tell of as many as their asker knows', () => {
    const answers = records(200, (n) => pointer(`p${n}.${PRESENCE}`))
    const questions = [{ name: PRESENCE, type: 'PTR' }]
    expect(passed(300, () => limits.refusal('query', { questions, answers }, 'a', BROWSED))).toBe(200)
  })
})
