import type { Element } from 'ltx'
import { PartylineError } from '../errors.ts'
import { NS } from './namespaces.ts'
import { xml } from './stanzas.ts'

/** Stanzas that are kept until the server has them; beyond that the stream cannot be resumed any more. */
export const MAX_UNCONFIRMED = 256
/** Counters wrap (XEP-0198 section 4). */
const WRAP = 2 ** 32

/** What a new connection goes on with. */
export interface Resumption {
  readonly id: string
  /** Stanzas that came from the server. */
  readonly received: number
  readonly jid: string
}

/**
 * A client's side of XEP-0198: counts stanzas both ways, so that what was on its way when a connection broke is neither lost nor doubled on
 * the next one, and others never see that it did. Free of I/O; lives as long as the stream, over several connections.
 */
export class StreamManagement {
  #id = ''
  #jid = ''
  #isOn = false
  #received = 0
  /** Stanzas sent, and those of them that the server has. */
  #sent = 0
  #confirmed = 0
  #unconfirmed: string[] = []

  /** Set while the stream can be resumed on another connection. */
  get resumption(): Resumption | undefined {
    const isWhole = this.#unconfirmed.length === this.#sent - this.#confirmed
    return this.#id !== '' && isWhole ? { id: this.#id, received: this.#received, jid: this.#jid } : undefined
  }

  /** A stream with this address begins anew; what asks the server to count. */
  begin(jid: string): Element {
    this.end()
    this.#jid = jid
    // What is sent after this counts (section 3).
    this.#isOn = true
    return xml('enable', { xmlns: NS.management, resume: 'true' })
  }

  /** Goes on; what is to be sent again. Throws `peer.malformed`. */
  resumed(answer: Element): readonly string[] {
    this.#isOn = true
    this.#confirm(answer)
    return [...this.#unconfirmed]
  }

  /** The stream is over. */
  end(): void {
    this.#id = ''
    this.#isOn = false
    this.#received = 0
    this.#sent = 0
    this.#confirmed = 0
    this.#unconfirmed = []
  }

  /** The connection broke: what is not sent does not count. */
  pause(): void {
    this.#isOn = false
  }

  /** Counts a stanza that is sent. */
  sent(stanza: string): void {
    if (!this.#isOn) return
    this.#sent++
    this.#unconfirmed.push(stanza)
    if (this.#unconfirmed.length > MAX_UNCONFIRMED) this.#unconfirmed.shift()
  }

  /** Counts a stanza that came. */
  came(): void {
    if (this.#isOn) this.#received = (this.#received + 1) % WRAP
  }

  /** Takes what is no stanza; what answers it. Throws `peer.malformed`. */
  take(element: Element): Element | undefined {
    switch (element.getName()) {
      case 'enabled':
        this.#received = 0
        if (/^(true|1)$/.test(element.attrs.resume ?? '')) this.#id = element.attrs.id ?? ''
        return undefined
      case 'r':
        return xml('a', { xmlns: NS.management, h: String(this.#received) })
      case 'a':
        this.#confirm(element)
        return undefined
      case 'failed':
        this.end()
        return undefined
      default:
        return undefined
    }
  }

  #confirm({ attrs: { h = '' } }: Element): void {
    if (!/^\d{1,10}$/.test(h)) throw new PartylineError('peer.malformed', 'the server confirms what is no number')
    const more = (Number(h) - (this.#confirmed % WRAP) + WRAP) % WRAP
    if (more > this.#sent - this.#confirmed)
      throw new PartylineError('peer.malformed', 'the server confirms more than was sent')
    this.#confirmed += more
    const left = this.#sent - this.#confirmed
    this.#unconfirmed = left === 0 ? [] : this.#unconfirmed.slice(-left)
  }
}
