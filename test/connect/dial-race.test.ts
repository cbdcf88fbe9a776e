import { array, assert, asyncProperty, boolean, integer, record } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { raceDials, STAGGER } from '../../daemon/connect/dial-race.ts'
import { PartylineError } from '../../daemon/errors.ts'
import type { HostPort, Milliseconds } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

/** What a dial to an address does: takes so long, then works or not. */
interface Behaviour {
  readonly takes: Milliseconds
  readonly works: boolean
}

/** A race among addresses that behave as told, in virtual time. */
class Track {
  readonly clock = new VirtualClock()
  readonly abort = new AbortController()
  /** When each address was dialled, in order. */
  readonly began: Milliseconds[] = []
  /** Ports whose dial was told to stop, and those whose success came too late. */
  readonly aborted: number[] = []
  readonly discarded: number[] = []
  readonly outcome: Promise<number | PartylineError>

  constructor(behaviours: readonly Behaviour[]) {
    const addresses = behaviours.map((_, i): HostPort => ({ address: '192.0.2.1', port: i }))
    const race = raceDials(
      addresses,
      ({ port }, signal) => this.#dial(port, behaviours[port] ?? { takes: 0, works: false }, signal),
      (late) => this.discarded.push(late),
      { clock: this.clock, signal: this.abort.signal },
    )
    this.outcome = race.catch((error: PartylineError) => error)
  }

  /** Runs until the race is over or time is up. */
  async run(until: Milliseconds = 60_000): Promise<number | PartylineError> {
    let over = false
    void this.outcome.finally(() => {
      over = true
    })
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve))
      const { next } = this.clock
      if (over || next === undefined || next > until) break
      this.clock.advance(next - this.clock.now())
    }
    return this.outcome
  }

  #dial(port: number, { takes, works }: Behaviour, signal: AbortSignal): Promise<number> {
    this.began.push(this.clock.now())
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => this.aborted.push(port))
      this.clock.after(takes, () =>
        works ? resolve(port) : reject(new PartylineError('peer.wrong-key', `no ${port}`)),
      )
    })
  }
}

const slow = { takes: 5000, works: true }
const mute = { takes: 1e6, works: false }

describe('the dial race', () => {
  test('begins one attempt after another, a stagger apart', async () => {
    const track = new Track([mute, mute, slow])
    expect(await track.run()).toBe(2)
    expect(track.began).toEqual([0, STAGGER, 2 * STAGGER])
  })

  test('begins the next attempt at once when one fails', async () => {
    const track = new Track([{ takes: 10, works: false }, { takes: 20, works: false }, slow])
    await track.run()
    expect(track.began).toEqual([0, 10, 30])
  })

  test('is won by the first success; the others are aborted and none is begun any more', async () => {
    const track = new Track([slow, { takes: 40, works: true }, slow, slow])
    expect(await track.run()).toBe(1)
    expect(track.began).toEqual([0, STAGGER])
    expect(track.aborted).toContain(0)
  })

  test('throws a late success away', async () => {
    const track = new Track([
      { takes: STAGGER + 40, works: true },
      { takes: 40, works: true },
    ])
    const winner = await track.run()
    track.clock.advance(1000)
    await new Promise((resolve) => setImmediate(resolve))
    expect([winner, ...track.discarded].sort()).toEqual([0, 1])
  })

  test('tells what became of each address, and the error that all had', async () => {
    const error = await new Track([
      { takes: 1, works: false },
      { takes: 2, works: false },
    ]).run()
    expect(error).toMatchObject({ code: 'peer.wrong-key', message: '192.0.2.1:0: no 0; 192.0.2.1:1: no 1' })
  })

  test('without an address is unreachable', async () => {
    expect(await new Track([]).run()).toMatchObject({ code: 'network.unreachable' })
  })

  test('given up from outside, aborts what is under way', async () => {
    const track = new Track([mute, mute])
    track.clock.advance(STAGGER)
    track.abort.abort()
    expect(await track.outcome).toMatchObject({ code: 'network.unreachable' })
    expect(track.aborted).toEqual([0, 1])
  })

  test('succeeds exactly if one address does, and begins no attempt later than its stagger', async () => {
    const behaviour = record({ takes: integer({ min: 0, max: 1000 }), works: boolean() })
    await assert(
      asyncProperty(array(behaviour, { maxLength: 8 }), async (behaviours) => {
        const track = new Track(behaviours)
        const outcome = await track.run()
        expect(typeof outcome === 'number').toBe(behaviours.some(({ works }) => works))
        if (typeof outcome === 'number') expect(behaviours[outcome]?.works).toBe(true)
        for (const [i, began] of track.began.entries()) expect(began).toBeLessThanOrEqual(i * STAGGER)
      }),
    )
  })
})
