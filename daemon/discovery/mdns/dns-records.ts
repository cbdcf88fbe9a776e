import { instanceLabel } from './service-name.ts'

/** A resource record, as `multicast-dns` gives and takes it. */
export interface DnsRecord {
  readonly name: string
  readonly type: string
  ttl?: number
  readonly data: unknown
}

export interface DnsPacket {
  readonly questions?: readonly { readonly name: string; readonly type: string }[]
  readonly answers?: readonly DnsRecord[]
  readonly additionals?: readonly DnsRecord[]
}

/** The records of a packet that are no goodbyes. */
export function liveRecords({ answers = [], additionals = [] }: DnsPacket): DnsRecord[] {
  return [...answers, ...additionals].filter(({ ttl = 0 }) => ttl > 0)
}

/** The instances of a service, `_presence._tcp.local` say, that records tell of, as full names. */
export function instancesIn(records: readonly DnsRecord[], name: string): Set<string> {
  const told = records.flatMap((record) => {
    if (record.type === 'PTR') return record.name.toLowerCase() === name ? [String(record.data)] : []
    return record.type === 'SRV' || record.type === 'TXT' ? [record.name] : []
  })
  return new Set(told.filter((fqdn) => instanceLabel(fqdn, name) !== undefined))
}

/** How many instances of a service records tell of, whether they are some or merely take as long to look at. */
export function instancesTold(records: readonly DnsRecord[], name: string): number {
  const counts = { PTR: 0, SRV: 0, TXT: 0 }
  for (const record of records) {
    const type = record.type as keyof typeof counts
    const told = record.name.toLowerCase()
    if (type in counts && (type === 'PTR' ? told === name : told.endsWith(`.${name}`))) counts[type]++
  }
  return Math.max(...Object.values(counts))
}

/** The host that an SRV record of that full name tells, other than our own: somebody else has the name (RFC 6762 section 9). */
export function otherHostOf(fqdn: string, own: string, records: readonly DnsRecord[]): string | undefined {
  for (const { type, name, data } of records) {
    if (type !== 'SRV' || name.toLowerCase() !== fqdn.toLowerCase()) continue
    const target = (data as { target?: unknown } | undefined)?.target
    if (typeof target === 'string' && target.toLowerCase() !== own.toLowerCase()) return target
  }
  return undefined
}
