import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../../daemon/clock.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { type Identity, identityOf } from '../../daemon/identity/key.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { Sealing } from '../../daemon/signaling/envelope.ts'
import type { REMEMBERED } from '../../daemon/signaling/replay-guard.ts'
import { Signals } from '../../daemon/signaling/signals.ts'
import type { Milliseconds, PeerId } from '../../daemon/types.ts'
import type { VirtualClock } from '../virtual-clock.ts'
import type { SimulatedCarrier } from './simulated-signaller.ts'

/** One machine's clocks: time passes for all alike, but each has its own wall clock and its own sleep. */
class HostClock implements Clock {
  readonly #time: VirtualClock
  #slept: Milliseconds = 0
  #offset: Milliseconds

  constructor(time: VirtualClock, offset: Milliseconds = 0) {
    this.#time = time
    this.#offset = offset
  }

  now(): Milliseconds {
    return this.#time.now() - this.#slept
  }

  wall(): number {
    return this.#time.wall() + this.#offset
  }

  after(delay: Milliseconds, task: () => void): Timer {
    return this.#time.after(delay, task)
  }

  /** Sets the wall clock forward, or back. */
  set(by: Milliseconds): void {
    this.#offset += by
  }

  /** What passed last was slept through. */
  slept(ms: Milliseconds): void {
    this.#slept += ms
  }
}

/** The times, ids and contents of signals without the cryptography, for tests with very many. */
export function simulatedSealing(own: PeerId): Sealing {
  let sealedSoFar = 0
  return {
    seal(receiver, { content, ...signal }) {
      const unique = `${own.slice(0, 20)}${sealedSoFar++}`.padEnd(32)
      const body = { ...signal, time: Math.floor(signal.time), content: Buffer.from(content).toString('hex') }
      return Buffer.from(unique + JSON.stringify({ sender: own, receiver, ...body }))
    },
    open(sealed) {
      const { receiver, content, ...signal } = JSON.parse(Buffer.from(sealed.subarray(32)).toString())
      if (receiver !== own) throw new PartylineError('peer.bad-signal')
      return { ...signal, content: Buffer.from(content, 'hex') }
    },
  }
}

export interface SimulatedHost {
  readonly peer: PeerId
  readonly clock: HostClock
  readonly signals: Signals
  readonly refusals: Refusals
  readonly blocked: Set<PeerId>
  /** What came on the topic `test`: sender and content, as text. */
  readonly delivered: { readonly from: PeerId; readonly content: string }[]
}

interface HostOptions {
  /** How far its wall clock is from the others'. */
  readonly offset?: Milliseconds
  readonly remembered?: typeof REMEMBERED
  /** With real cryptography, as that identity. */
  readonly identity?: Identity
}

const anyIdentity = identityOf(generateKeyPairSync('ed25519').privateKey)

/** A host with real `Signals` on a simulated carrier. */
export function simulatedHost(time: VirtualClock, carrier: SimulatedCarrier, options: HostOptions = {}): SimulatedHost {
  const peer = options.identity?.peer ?? peerIdFromKey(randomBytes(32))
  const clock = new HostClock(time, options.offset)
  const refusals = new Refusals()
  const blocked = new Set<PeerId>()
  const delivered: SimulatedHost['delivered'] = []
  const signals = new Signals({
    identity: { ...anyIdentity, ...options.identity, peer },
    clock,
    logger: silentLogger,
    refusals,
    isBlocked: (one) => blocked.has(one),
    randomBytes,
    ...(options.identity ? {} : { sealing: simulatedSealing(peer) }),
    ...(options.remembered && { remembered: options.remembered }),
  })
  signals.add(carrier.join(peer))
  signals.handle('test', (from, content) => delivered.push({ from, content: Buffer.from(content).toString() }))
  return { peer, clock, signals, refusals, blocked, delivered }
}

/** Sends a text on the topic `test`. */
export function tell(from: SimulatedHost, to: SimulatedHost, text: string): boolean {
  return from.signals.send(to.peer, 'test', Buffer.from(text))
}
