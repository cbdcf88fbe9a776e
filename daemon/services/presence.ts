import type { Publish } from '../../ipc/api.ts'
import { AVAILABLE, type Presence, type Show } from '../types.ts'

/** Longest text beside a presence, in characters. */
const MAX_TEXT = 255

interface PresenceServiceOptions {
  readonly publish: Publish
  /** Tells everyone on the LAN and at the hubs. */
  readonly apply: (presence: Presence) => void
}

/** Whether the user wants to be talked to; until told otherwise, and again after a restart, they do. */
export class PresenceService {
  readonly #options: PresenceServiceOptions
  #presence: Presence = AVAILABLE

  constructor(options: PresenceServiceOptions) {
    this.#options = options
  }

  get(): Presence {
    return { ...this.#presence }
  }

  set(show: Show, text: string): Presence {
    this.#presence = { show, text: cleanText(text) }
    this.#options.apply(this.#presence)
    this.#options.publish('presence.changed', this.get())
    return this.get()
  }
}

/** One line as a terminal may show it: without control characters and direction overrides. */
function cleanText(text: string): string {
  const clean = text.toWellFormed().replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, ' ')
  return [...clean].slice(0, MAX_TEXT).join('').trim()
}
