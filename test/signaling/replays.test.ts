import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { PeerId } from '../../daemon/types.ts'
import { seededRandom } from '../discovery/simulated-lan.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { type SimulatedHost, simulatedHost, tell } from './simulated-host.ts'
import { SimulatedCarrier } from './simulated-signaller.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const YEAR = 365 * 24 * HOUR
const LEAPS = [30 * SECOND, 90 * SECOND, 119 * SECOND, 121 * SECOND, 3 * MINUTE, 7 * HOUR, 3 * YEAR]
const PASSES = [0, 1, 100, SECOND, 5 * SECOND, 29 * SECOND, 61 * SECOND, 3 * MINUTE]
const SLEEPS = [10 * SECOND, 45 * SECOND, 2 * HOUR]

/**
 * Hosts that send, sleep and have their clocks set, on a carrier that loses, doubles and reorders; and somebody who brings anything that was
 * ever sent again, lost or not, at any time and to anybody.
 */
function simulate(seed: number): {
  readonly hosts: readonly SimulatedHost[]
  readonly sent: ReadonlyMap<string, string>
} {
  const random = seededRandom(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const time = new VirtualClock()
  const carrier = new SimulatedCarrier(time, random, { loss: 0.2, doubles: 0.3, delay: pick([10, 2000, 20_000]) })
  const remembered = pick([undefined, { perSender: 4, inAll: 6 }, { perSender: 8, inAll: 1000 }])
  const hosts = [0, pick([0, -100 * SECOND, 100 * SECOND]), pick([YEAR, -YEAR, 0])].map((offset) =>
    simulatedHost(time, carrier, { offset, ...(remembered && { remembered }) }),
  )
  const sent = new Map<string, string>()
  const say = (host: SimulatedHost, text: string) => {
    const to = pick(hosts.filter((one) => one !== host))
    if (tell(host, to, text)) sent.set(text, `${host.peer}>${to.peer}`)
  }
  const replay = () => {
    const { recorded } = carrier
    const one = random() < 0.5 ? pick(recorded) : pick(recorded.slice(-6))
    if (one) carrier.inject(random() < 0.95 ? one.to : pick(hosts).peer, one.sealed)
  }
  /** Everything again, in any order, after time passed or a clock was set. */
  const storm = () => {
    if (random() < 0.5) time.advance(pick([SECOND, 2 * MINUTE, 4.5 * MINUTE]))
    else pick(hosts).clock.set(pick(LEAPS))
    for (const { to, sealed } of [...carrier.recorded].sort(() => random() - 0.5)) carrier.inject(to, sealed)
  }
  /** Somebody sets a receiver's clock to what it showed when a signal was made. */
  const rewind = () => {
    const one = pick(carrier.recorded)
    const receiver = hosts.find(({ peer }) => peer === one?.to)
    if (!one || !receiver) return
    const stamp = JSON.parse(Buffer.from(one.sealed.subarray(32)).toString()).time
    receiver.clock.set(stamp - receiver.clock.wall())
    carrier.inject(one.to, one.sealed)
  }
  for (let step = 0; step < 80; step++) {
    const host = pick(hosts)
    const what = random()
    if (what < 0.35) say(host, `${seed}.${step}`)
    else if (what < 0.75) replay()
    else if (what < 0.88) time.advance(pick(PASSES))
    else if (what < 0.93) storm()
    else if (what < 0.95) rewind()
    else if (what < 0.98) host.clock.set(pick(LEAPS) * pick([-1, 1]))
    else {
      sleep(time, carrier, host, pick(SLEEPS))
      // A host that had its clock set back while it slept could not tell that it slept.
      say(host, `${seed}.${step}`)
    }
  }
  time.advance(MINUTE)
  return { hosts, sent }
}

function sleep(time: VirtualClock, carrier: SimulatedCarrier, host: SimulatedHost, ms: number): void {
  carrier.cut(host.peer)
  time.advance(ms)
  carrier.mend(host.peer)
  host.clock.slept(ms)
}

/** Brings a signal again, sealed differently, so that it has to be opened. */
function again(carrier: SimulatedCarrier, { to, sealed }: SimulatedCarrier['recorded'][number]): void {
  carrier.inject(to, Buffer.concat([randomBytes(32), sealed.subarray(32)]))
}

test('nothing is ever delivered twice, or to or from somebody else, in thousands of runs', () => {
  let delivered = 0
  for (let seed = 1; seed <= 3000; seed++) {
    const { hosts, sent } = simulate(seed)
    const seen = new Set<string>()
    for (const { peer, delivered: got } of hosts)
      for (const { from, content } of got) {
        if (seen.has(content)) expect.fail(`seed ${seed}: ${content} was delivered twice`)
        if (sent.get(content) !== `${from}>${peer}`) expect.fail(`seed ${seed}: ${content} went astray`)
        seen.add(content)
      }
    delivered += seen.size
  }
  // Not for want of signals.
  expect(delivered).toBeGreaterThan(3000 * 5)
})

test('a signal replayed after its id was pushed out by very many is refused', () => {
  const time = new VirtualClock()
  const carrier = new SimulatedCarrier(time, () => 0.5)
  const victim = simulatedHost(time, carrier)
  const sender = simulatedHost(time, carrier)
  tell(sender, victim, 'once')
  time.advance(SECOND)
  const [recorded] = carrier.recorded
  // Strangers, each below its own limit, below the limit in all.
  for (let n = 0; n < 90; n++) {
    const stranger = simulatedHost(time, carrier)
    for (let m = 0; m < 200; m++) tell(stranger, victim, `${n} ${m}`)
    time.advance(500)
    carrier.leave(stranger.peer as PeerId)
  }
  if (recorded) again(carrier, recorded)
  expect(victim.delivered.filter(({ content }) => content === 'once')).toHaveLength(1)
  expect(victim.refusals.snapshot()['peer.old-signal']).toBe(1)
  tell(sender, victim, 'goes on')
  time.advance(0)
  expect(victim.delivered.at(-1)?.content).toBe('goes on')
})

test('a sender is not asked again for what its receiver may have forgotten too early', () => {
  const time = new VirtualClock()
  const carrier = new SimulatedCarrier(time, () => 0.5)
  const [a, b] = [{}, { remembered: { perSender: 4, inAll: 100 } }].map((options) =>
    simulatedHost(time, carrier, options),
  ) as [SimulatedHost, SimulatedHost]
  const texts = ['1', '2', '3', '4', '5', '6']
  for (const text of texts) {
    time.advance(1)
    tell(a, b, text)
  }
  time.advance(0)
  b.clock.set(3 * MINUTE)
  for (const one of [...carrier.recorded]) again(carrier, one)
  time.advance(0)
  expect(b.delivered.map(({ content }) => content)).toEqual(texts)
})

test.each([true, false])('a sender does not send again what it sent long ago (asleep since: %s)', (asleep) => {
  const time = new VirtualClock()
  const carrier = new SimulatedCarrier(time, () => 0.5)
  const a = simulatedHost(time, carrier)
  const b = simulatedHost(time, carrier)
  tell(a, b, 'once')
  time.advance(0)
  if (asleep) sleep(time, carrier, a, 2 * HOUR)
  else time.advance(2 * HOUR)
  for (const one of [...carrier.recorded]) again(carrier, one)
  time.advance(0)
  expect(b.refusals.snapshot()).toEqual({ 'peer.old-signal': 1 })
  expect(carrier.recorded.map(({ to }) => to)).toEqual([b.peer, a.peer])
  expect(b.delivered).toHaveLength(1)
})
