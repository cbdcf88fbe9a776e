import { beforeEach, describe, expect, test } from 'vitest'
import { Answers } from '../../daemon/discovery/mdns/answers.ts'
import type { DnsRecord } from '../../daemon/discovery/mdns/dns-records.ts'
import type { InterfaceAddress } from '../../daemon/network/network.ts'
import { VirtualClock } from '../virtual-clock.ts'

const NAME = '_presence._tcp.local'
const ANNA = `anna@h1.${NAME}`
const ADDRESSES: readonly InterfaceAddress[] = [
  { address: '192.168.50.1', family: 4, prefix: 24, scope: 'private' },
  { address: 'fd00:50::1', family: 6, prefix: 64, scope: 'private' },
  { address: 'fe80::1', family: 6, prefix: 64, scope: 'link-local' },
]

const pointer = (data = ANNA): DnsRecord => ({ name: NAME, type: 'PTR', ttl: 28_800, data })
const text = (status: string): DnsRecord => ({
  name: ANNA,
  type: 'TXT',
  ttl: 4500,
  data: [Buffer.from(`status=${status}`)],
})
const service: DnsRecord = { name: ANNA, type: 'SRV', ttl: 120, data: { port: 1, target: 'h.local' } }
const address = (data: string, name = 'h.local'): DnsRecord => ({
  name,
  type: data.includes(':') ? 'AAAA' : 'A',
  ttl: 120,
  data,
})
const goodbye = (record: DnsRecord): DnsRecord => ({ ...record, ttl: 0 })

let clock: VirtualClock
let sent: { at: number; answers: readonly DnsRecord[]; additionals: readonly DnsRecord[] }[]
let shared: Set<string>
let done: number

function create(addresses = ADDRESSES): Answers {
  return new Answers({
    clock,
    addresses,
    send: (answer, sentIt) => {
      sent.push({ at: clock.now(), ...answer })
      sentIt()
    },
    isShared: ({ name }) => shared.has(name),
  })
}

function give(
  answers: Answers,
  records: readonly DnsRecord[],
  { defends = false, additionals = [] as DnsRecord[] } = {},
) {
  answers.give(records, additionals, defends, () => done++)
}

beforeEach(() => {
  clock = new VirtualClock()
  sent = []
  shared = new Set()
  done = 0
})

describe('answers', () => {
  test('tell this interface its own addresses, with modest lifetimes, and replace what others have cached', () => {
    const additionals = [
      service,
      address('192.168.50.1'),
      address('10.0.0.7'),
      address('fd00:50::1'),
      address('fe80::1'),
    ]
    give(create(), [pointer()], { additionals })
    expect(sent[0]?.answers).toEqual([{ ...pointer(), ttl: 120, flush: false }])
    expect(sent[0]?.additionals).toEqual([
      { ...service, ttl: 120, flush: true },
      { ...address('192.168.50.1'), flush: true },
      { ...address('fd00:50::1'), flush: true },
    ])
  })

  test('tell the link-local address where there is no better one of IPv6', () => {
    const addresses = ADDRESSES.filter((one) => one.family === 4 || one.scope === 'link-local')
    give(create(addresses), [address('fe80::1')])
    expect(sent[0]?.answers.map(({ data }) => data)).toEqual(['fe80::1'])
  })

  test('without a record left are not sent', () => {
    give(create(), [address('10.0.0.7')])
    expect(sent).toEqual([])
    expect(done).toBe(1)
  })

  test('have a TXT record with one empty string rather than none', () => {
    give(create(), [{ ...service, type: 'TXT', data: [] }])
    expect(sent[0]?.answers[0]?.data).toEqual([Buffer.alloc(0)])
  })

  test('are not repeated within a second, and then go to all who asked meanwhile', () => {
    const answers = create()
    give(answers, [pointer()])
    for (let asker = 0; asker < 5; asker++) give(answers, [pointer()])
    clock.advance(999)
    expect(sent).toHaveLength(1)
    clock.advance(101)
    expect(sent).toHaveLength(2)
    clock.advance(10_000)
    expect(sent).toHaveLength(2)
    expect(done).toBe(6)
  })

  test('that wait do not hold back others', () => {
    const answers = create()
    give(answers, [pointer()])
    give(answers, [pointer()])
    give(answers, [text('avail')])
    expect(sent.map(({ answers: records }) => records[0]?.type)).toEqual(['PTR', 'TXT'])
  })

  test('defend a name within a quarter of a second', () => {
    const answers = create()
    const records = [service, text('avail')]
    give(answers, records, { defends: true })
    give(answers, records, { defends: true })
    clock.advance(250)
    expect(sent.map(({ at }) => at)).toEqual([0, 250])
  })

  test('that wait do not tell what is no longer so', () => {
    const answers = create()
    give(answers, [pointer()], { additionals: [text('avail')] })
    give(answers, [pointer()], { additionals: [text('avail')] })
    give(answers, [pointer('bob@h2')], {})
    clock.advance(500)
    answers.forget(ANNA)
    give(answers, [pointer()], { additionals: [text('dnd')] })
    clock.advance(10_000)
    expect(sent.map(({ at, additionals }) => [at, additionals[0]?.data])).toEqual([
      [0, text('avail').data],
      [500, text('dnd').data],
    ])
  })

  test('stop when they are closed', () => {
    const answers = create()
    give(answers, [pointer()])
    give(answers, [pointer()])
    answers.close()
    clock.advance(10_000)
    expect(sent).toHaveLength(1)
  })
})

describe('goodbyes', () => {
  test('go at once, and take back only what no other service of the host has', () => {
    const answers = create()
    shared.add('shared.local')
    const types = { ...pointer(NAME), name: '_services._dns-sd._udp.local' }
    give(answers, [pointer()])
    give(
      answers,
      [pointer(), service, types, address('192.168.50.1', 'shared.local'), address('192.168.50.1')].map(goodbye),
    )
    expect(sent[1]).toMatchObject({ at: 0 })
    expect(sent[1]?.answers.map(({ type, name, ttl }) => [type, name, ttl])).toEqual([
      ['PTR', NAME, 0],
      ['SRV', ANNA, 0],
      ['A', 'h.local', 0],
    ])
  })

  test('of nothing but what others have are not sent', () => {
    shared.add('shared.local')
    give(create(), [goodbye(address('192.168.50.1', 'shared.local'))])
    expect(sent).toEqual([])
    expect(done).toBe(1)
  })
})
