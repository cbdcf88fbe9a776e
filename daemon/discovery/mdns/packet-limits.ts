import type { Clock } from '../../clock.ts'
import type { ErrorCode } from '../../errors.ts'
import { TokenBucket, TokenBuckets } from '../../token-bucket.ts'
import { type DnsPacket, instancesTold } from './dns-records.ts'

/** Questions and records of one packet, and instances that it tells of; what holds more is no honest packet. */
const MAX_QUESTIONS = 64
const MAX_RECORDS = 256
const MAX_INSTANCES = 32
/** Packets looked at, from one address and in all, a second and at once. Each instance beyond the first counts as one more. */
const PER_ADDRESS = { rate: 50, burst: 200, keys: 4096 }
const IN_ALL = { rate: 500, burst: 2000 }

/** Which packets of mDNS are looked at: the package searches all it knows for each instance that a packet tells of. */
export class PacketLimits {
  readonly #clock: Clock
  readonly #perAddress = new TokenBuckets(PER_ADDRESS)
  readonly #inAll: TokenBucket

  constructor(clock: Clock) {
    this.#clock = clock
    this.#inAll = new TokenBucket(IN_ALL, clock.now())
  }

  /** Why a packet is not looked at; undefined for one that is. `browsed` are the services looked for, `_presence._tcp.local` say. */
  refusal(
    kind: 'query' | 'response',
    packet: DnsPacket,
    from: string,
    browsed: readonly string[],
  ): ErrorCode | undefined {
    const now = this.#clock.now()
    if (!this.#perAddress.take(from, now) || !this.#inAll.take(now)) return 'peer.rate-limited'
    const { questions = [], answers = [], additionals = [] } = packet
    const records = [...answers, ...additionals]
    if (questions.length > MAX_QUESTIONS || records.length > MAX_RECORDS) return 'peer.oversized'
    // In a question they are what the asker knows already.
    if (kind === 'query') return undefined
    const instances = browsed.reduce((sum, name) => sum + instancesTold(records, name), 0)
    if (instances > MAX_INSTANCES) return 'peer.oversized'
    const more = instances - 1
    if (more > 0 && !(this.#perAddress.take(from, now, more) && this.#inAll.take(now, more))) return 'peer.rate-limited'
    return undefined
  }
}
