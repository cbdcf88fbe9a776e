import type { Clock, Timer } from '../../clock.ts'
import { plainAddress } from '../../network/addresses.ts'
import type { InterfaceAddress } from '../../network/network.ts'
import type { Milliseconds } from '../../types.ts'
import type { DnsRecord } from './dns-records.ts'

/** Records live this long in others' caches, in seconds: long enough to survive lost packets, short enough to be gone with the host. */
export const RECORD_TTL = 120
/** The same records are not multicast again within this (RFC 6762 section 6), … */
const ANSWER_PAUSE: Milliseconds = 1000
/** … unless they tell somebody who asks for our name that it is taken. */
const DEFENCE_PAUSE: Milliseconds = 250
/** Answers to shared records wait for up to this, so that all hosts do not answer at once (RFC 6762 section 6). */
const ANSWER_SPREAD: Milliseconds = 100
/** The list of service types (RFC 6763 section 9). Its records are every host's, and none may take them back for all. */
const SERVICE_TYPES = '_services._dns-sd._udp.local'

type Done = (error?: Error | null) => void

interface Answer {
  readonly answers: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
}

interface AnswersOptions {
  readonly clock: Clock
  /** The interface's own addresses; others are not told there. */
  readonly addresses: readonly InterfaceAddress[]
  readonly send: (answer: Answer, done: Done) => void
  /** True for a record that stays although a service that had it says goodbye: another service of this host has it too. */
  readonly isShared: (record: DnsRecord) => boolean
}

interface Held {
  readonly timer: Timer
  readonly records: readonly DnsRecord[]
}

/** What goes out on one interface: the package's answers, mended and held back as RFC 6762 wants (sections 6 and 10.2). */
export class Answers {
  readonly #options: AnswersOptions
  /** By what an answer holds: when it was sent last. */
  readonly #sent = new Map<string, Milliseconds>()
  readonly #held = new Map<string, Held>()
  readonly #told: ReadonlySet<string>

  constructor(options: AnswersOptions) {
    this.#options = options
    // Resolvers give one address to programs, and Finch refuses whoever calls from another: not the link-local one where we call from a better.
    const { addresses } = options
    const hasBetter = addresses.some(({ family, scope }) => family === 6 && scope !== 'link-local')
    const told = addresses.filter(({ family, scope }) => family === 4 || scope !== 'link-local' || !hasBetter)
    this.#told = new Set(told.map(({ address }) => address))
  }

  /** Sends the records now or soon. A goodbye goes at once. `defends`: they answer one who asks whether a name is free. */
  give(records: readonly DnsRecord[], additionals: readonly DnsRecord[], defends: boolean, done: Done): void {
    const { clock, send } = this.#options
    const answer = { answers: this.#mend(records), additionals: this.#mend(additionals) }
    if (answer.answers.length === 0) return done()
    if (records.some(({ ttl }) => ttl === 0)) return send(answer, done)
    const key = answer.answers.map(({ name, type }) => `${name} ${type}`).join(' ')
    // One is waiting already: it will do for this asker too.
    if (this.#held.has(key)) return done()
    const last = this.#sent.get(key)
    const pause = defends ? DEFENCE_PAUSE : ANSWER_PAUSE
    const spread = defends ? 0 : Math.random() * ANSWER_SPREAD
    const wait = last === undefined ? 0 : Math.max(0, last + pause - clock.now()) + spread
    const now = (): void => {
      this.#held.delete(key)
      this.#sent.set(key, clock.now())
      send(answer, done)
    }
    if (wait === 0) return now()
    this.#held.set(key, { timer: clock.after(wait, now), records: [...answer.answers, ...answer.additionals] })
  }

  /** What was told of an instance is no longer so: no answer that waits may tell it, and the next need not wait. */
  forget(fqdn: string): void {
    for (const [key, { timer, records }] of [...this.#held]) {
      if (!records.some(({ name, data }) => name === fqdn || data === fqdn)) continue
      timer.cancel()
      this.#held.delete(key)
    }
    this.#sent.clear()
  }

  close(): void {
    for (const { timer } of this.#held.values()) timer.cancel()
    this.#held.clear()
  }

  /** This interface's addresses only, modest lifetimes; records of which there is one replace what others have cached (RFC 6762 section 10.2). */
  #mend(records: readonly DnsRecord[]): DnsRecord[] {
    return records
      .filter(({ type, data }) => (type !== 'A' && type !== 'AAAA') || this.#told.has(plainAddress(String(data))))
      .filter((record) => record.ttl !== 0 || !(record.name === SERVICE_TYPES || this.#options.isShared(record)))
      .map((record) => ({
        ...record,
        flush: record.type !== 'PTR',
        ttl: record.ttl === 0 ? 0 : RECORD_TTL,
        // A record without strings is not allowed (RFC 6763 section 6.1).
        data: record.type === 'TXT' && isEmpty(record.data) ? [Buffer.alloc(0)] : record.data,
      }))
  }
}

const isEmpty = (data: unknown): boolean => Array.isArray(data) && data.length === 0
