import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../daemon/clock.ts'
import { type Identity, identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { Envelope, MAX_SEALED } from '../../daemon/signaling/envelope.ts'
import { MAX_SIGNAL, type Signaller } from '../../daemon/signaling/signaller.ts'
import { Signals } from '../../daemon/signaling/signals.ts'

/** A host's end of the carrier. */
interface SuiteEnd {
  readonly identity: Identity
  readonly signaller: Signaller
  /** Ends it for good, as its daemon does when it stops. Safe to call twice. */
  close(): Promise<void> | void
}

/** Two hosts whose signallers reach each other. */
export interface SuitePair {
  readonly a: SuiteEnd
  readonly b: SuiteEnd
  /** Others whom the carrier reaches too, and who shall not get what is for somebody else. */
  readonly others?: readonly SuiteEnd[]
  /** Takes `b` out of reach, as a pulled cable does; resolves when `a` knows. */
  cut(): Promise<void> | void
  /** Undoes `cut`; resolves when `a` reaches `b` again. */
  mend(): Promise<void> | void
  /** Lets the carrier work, where its time is virtual. */
  run?(): void
  /** Ends everything. Safe after `close`. */
  stop(): Promise<void> | void
}

/** Lost signals are sent again after this. */
const AGAIN = 200
const GIVE_UP = 20_000

/** What arrived at one end. */
class Arrivals {
  readonly sealed: Buffer[] = []
  readonly stop: () => void
  readonly #pair: SuitePair
  #wake: () => void = () => {}

  constructor(pair: SuitePair, { signaller }: SuiteEnd) {
    this.#pair = pair
    this.stop = signaller.onSignal((sealed) => {
      this.sealed.push(Buffer.from(sealed))
      this.#wake()
    })
  }

  has(sealed: Uint8Array): boolean {
    return this.sealed.some((one) => one.equals(sealed))
  }

  /** Does `send`, again where it was lost, until `sealed` is there. */
  async until(sealed: Uint8Array, send: () => void): Promise<void> {
    for (const start = performance.now(); performance.now() - start < GIVE_UP; ) {
      send()
      this.#pair.run?.()
      if (this.has(sealed)) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, AGAIN)
        this.#wake = () => {
          if (!this.has(sealed)) return
          clearTimeout(timer)
          resolve()
        }
      })
      if (this.has(sealed)) return
    }
    throw new Error('the signal did not arrive')
  }
}

const stranger = identityOf(generateKeyPairSync('ed25519').privateKey)

function sealedFor(from: SuiteEnd, to: SuiteEnd, content: Uint8Array): Uint8Array {
  const signal = { time: Date.now(), round: 0, id: randomBytes(16).toString('hex'), topic: 'suite', content }
  return new Envelope(from.identity).seal(to.identity.peer, signal)
}

function signalsOf(identity: Identity, signaller: Signaller): { signals: Signals; refusals: Refusals } {
  const refusals = new Refusals()
  const isBlocked = () => false
  const signals = new Signals({ identity, clock: systemClock, logger: silentLogger, refusals, isBlocked, randomBytes })
  signals.add(signaller)
  return { signals, refusals }
}

/** What every signaller has to do, whichever way it carries. `makePair` makes hosts that reach each other; it may inject faults. */
export function describeSignaller(title: string, makePair: () => Promise<SuitePair> | SuitePair): void {
  describe(`${title}, as every signaller`, () => {
    let pair: SuitePair
    const rejections: unknown[] = []
    const onRejection = (reason: unknown) => void rejections.push(reason)

    beforeEach(async () => {
      rejections.length = 0
      process.on('unhandledRejection', onRejection)
      pair = await makePair()
    })

    afterEach(async () => {
      await pair.stop()
      process.off('unhandledRejection', onRejection)
    })

    test('reaches the other host, and neither itself nor somebody unknown', () => {
      const { a, b } = pair
      expect(a.signaller.reaches(b.identity.peer)).toBe(true)
      expect(b.signaller.reaches(a.identity.peer)).toBe(true)
      expect(a.signaller.reaches(a.identity.peer)).toBe(false)
      expect(a.signaller.reaches(stranger.peer)).toBe(false)
    })

    test('brings a signal whole to the right host, and only there', async () => {
      const { a, b, others = [] } = pair
      const arrivals = new Arrivals(pair, b)
      const elsewhere = [a, ...others].map((end) => new Arrivals(pair, end))
      for (const content of [Buffer.alloc(0), Buffer.from('candidate'), Buffer.from([0, 255, 60, 38, 0])]) {
        const sealed = sealedFor(a, b, content)
        await arrivals.until(sealed, () => a.signaller.send(b.identity.peer, sealed))
      }
      expect(elsewhere.flatMap(({ sealed }) => sealed)).toEqual([])
    })

    test('brings signals both ways', async () => {
      const { a, b } = pair
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        const sealed = sealedFor(from, to, Buffer.from('to and fro'))
        await new Arrivals(pair, to).until(sealed, () => from.signaller.send(to.identity.peer, sealed))
      }
    })

    test('brings the largest signal there is', async () => {
      const { a, b } = pair
      const full = sealedFor(a, b, randomBytes(MAX_SIGNAL))
      const arrivals = new Arrivals(pair, b)
      await arrivals.until(full, () => a.signaller.send(b.identity.peer, full))
      const largest = randomBytes(MAX_SEALED)
      await arrivals.until(largest, () => a.signaller.send(b.identity.peer, largest))
    })

    test('damages and mixes none of many', async () => {
      const { a, b } = pair
      const there = new Arrivals(pair, b)
      const back = new Arrivals(pair, a)
      const sent = (from: SuiteEnd, to: SuiteEnd) =>
        Array.from({ length: 300 }, (_, index) => {
          const sealed = randomBytes(64 + (index % 200))
          from.signaller.send(to.identity.peer, sealed)
          return sealed.toString('hex')
        })
      const forth = new Set(sent(a, b))
      const hither = new Set(sent(b, a))
      for (const [from, to, arrivals, known] of [
        [a, b, there, forth],
        [b, a, back, hither],
      ] as const) {
        const last = randomBytes(100)
        known.add(last.toString('hex'))
        await arrivals.until(last, () => from.signaller.send(to.identity.peer, last))
        for (const one of arrivals.sealed) expect(known).toContain(one.toString('hex'))
      }
    })

    test('drops what is for a host out of reach, and does not bring it later', async () => {
      const { a, b } = pair
      const arrivals = new Arrivals(pair, b)
      await pair.cut()
      expect(a.signaller.reaches(b.identity.peer)).toBe(false)
      const dropped = [b.identity.peer, stranger.peer, a.identity.peer].map((peer) => {
        const sealed = sealedFor(a, b, Buffer.from('dropped'))
        a.signaller.send(peer, sealed)
        return sealed
      })
      pair.run?.()
      await pair.mend()
      expect(a.signaller.reaches(b.identity.peer)).toBe(true)
      const sealed = sealedFor(a, b, Buffer.from('after'))
      await arrivals.until(sealed, () => a.signaller.send(b.identity.peer, sealed))
      for (const one of dropped) expect(arrivals.has(one)).toBe(false)
    })

    test('can be closed while it sends', async () => {
      const { a, b } = pair
      const some = (from: SuiteEnd, to: SuiteEnd) => {
        for (let n = 0; n < 50; n++) from.signaller.send(to.identity.peer, randomBytes(4096))
      }
      some(a, b)
      some(b, a)
      const closed = a.close()
      some(a, b)
      some(b, a)
      await closed
      some(a, b)
      expect(a.signaller.reaches(b.identity.peer)).toBe(false)
      await a.close()
      await b.close()
      pair.run?.()
      await new Promise((resolve) => setImmediate(resolve))
      expect(rejections).toEqual([])
    })

    test('tells a listener that was removed nothing, and the others all', async () => {
      const { a, b } = pair
      const removed = new Arrivals(pair, b)
      const kept = new Arrivals(pair, b)
      removed.stop()
      removed.stop()
      const sealed = sealedFor(a, b, Buffer.from('still there?'))
      await kept.until(sealed, () => a.signaller.send(b.identity.peer, sealed))
      expect(removed.sealed).toEqual([])
    })

    test('brings nothing that counts for a host with another key', async () => {
      const { a, b } = pair
      const wrong = signalsOf(stranger, b.signaller)
      const right = signalsOf(b.identity, b.signaller)
      const taken: string[] = []
      wrong.signals.handle('suite', () => taken.push('wrong'))
      right.signals.handle('suite', (peer) => {
        expect(peer).toBe(a.identity.peer)
        taken.push('right')
      })
      const sealed = sealedFor(a, b, Buffer.from('for b'))
      await new Arrivals(pair, b).until(sealed, () => a.signaller.send(b.identity.peer, sealed))
      expect(taken).toEqual(['right'])
      expect(wrong.refusals.snapshot()['peer.bad-signal']).toBeGreaterThan(0)
      expect(right.refusals.snapshot()).toEqual({})
    })

    test('carries what two hosts tell each other', async () => {
      const { a, b } = pair
      const ofA = signalsOf(a.identity, a.signaller).signals
      const ofB = signalsOf(b.identity, b.signaller).signals
      const content = randomBytes(MAX_SIGNAL)
      const arrived: Buffer[] = []
      ofB.handle('suite', (peer, got) => ofB.send(peer, 'answer', got))
      const answered = new Promise<void>((resolve) => {
        ofA.handle('answer', (_, got) => {
          arrived.push(Buffer.from(got))
          resolve()
        })
      })
      expect(ofA.reaches(b.identity.peer)).toEqual([a.signaller.name])
      const send = () => {
        expect(ofA.send(b.identity.peer, 'suite', content)).toBe(true)
        pair.run?.()
      }
      send()
      const again = setInterval(send, AGAIN)
      await answered
      clearInterval(again)
      expect(arrived[0]?.equals(content)).toBe(true)
    })
  })
}
