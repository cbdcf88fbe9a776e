import type { Publish } from '../../ipc/api.ts'
import { cleanPresenceText } from '../clean-text.ts'
import { AVAILABLE, type Presence, type Show } from '../types.ts'

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
    this.#presence = { show, text: cleanPresenceText(text) }
    this.#options.apply(this.#presence)
    this.#options.publish('presence.changed', this.get())
    return this.get()
  }
}
