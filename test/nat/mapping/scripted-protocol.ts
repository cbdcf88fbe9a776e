import { PartylineError } from '../../../daemon/errors.ts'
import type { Mapped, MappingProtocol, MappingProtocolName, MappingWish } from '../../../daemon/nat/mapping/protocol.ts'
import type { VirtualClock } from '../../virtual-clock.ts'

/** A protocol whose router answers as a test says. */
export class ScriptedProtocol implements MappingProtocol {
  readonly name: MappingProtocolName
  readonly #clock: VirtualClock
  /** When it was asked, and for what. */
  readonly asked: { readonly at: number; readonly wish: MappingWish }[] = []
  readonly given: MappingWish[] = []
  readonly #listeners = new Set<() => void>()
  /** What it grants; a text is why not; undefined: it does not answer. */
  grant: (wish: MappingWish) => Mapped | string | undefined = ({ externalPort, lifetime }) => ({
    external: { address: '11.99.0.1', port: externalPort },
    lifetime,
  })
  /** How long it takes, and whether it heeds those who wait no more. */
  delay = 0
  isDeaf = false

  constructor(name: MappingProtocolName, clock: VirtualClock) {
    this.name = name
    this.#clock = clock
  }

  map(wish: MappingWish, signal: AbortSignal): Promise<Mapped> {
    this.asked.push({ at: this.#clock.now(), wish })
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new PartylineError('network.no-mapping', why))
      if (!this.isDeaf) signal.addEventListener('abort', () => fail('given up'))
      const answer = (): void => {
        const granted = this.grant(wish)
        if (typeof granted === 'string') fail(granted)
        else if (granted) resolve(granted)
      }
      if (this.delay === 0) answer()
      else this.#clock.after(this.delay, answer)
    })
  }

  unmap(wish: MappingWish, _signal?: AbortSignal): Promise<void> {
    this.given.push(wish)
    return Promise.resolve()
  }

  onReset(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The router has begun anew. */
  reset(): void {
    for (const listener of this.#listeners) listener()
  }

  get listeners(): number {
    return this.#listeners.size
  }
}
