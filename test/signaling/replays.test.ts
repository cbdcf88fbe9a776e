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
  const replay = () => {
    const { recorded } = carrier
    const one = random() < 0.5 ? pick(recorded) : pick(recorded.slice(-6))
    if (one) carrier.inject(random() < 0.95 ? one.to : pick(hosts).peer, one.sealed)
  }
  for (let step = 0; step < 80; step++) {
    const host = pick(hosts)
    const what = random()
    if (what < 0.35) {
      const to = pick(hosts)
      const text = `${seed}.${step}`
      if (tell(host, to, text)) sent.set(text, `${host.peer}>${to.peer}`)
    } else if (what < 0.75) replay()
    else if (what < 0.9) time.advance(pick(PASSES))
    else if (what < 0.97) host.clock.set(pick(LEAPS) * pick([-1, 1]))
    else sleep(time, carrier, host, pick(SLEEPS))
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

test('nothing is ever delivered twice, or to or from somebody else, in thousands of runs', () => {
  let delivered = 0
  for (let seed = 1; seed <= 4000; seed++) {
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
  expect(delivered).toBeGreaterThan(4000 * 5)
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
  if (recorded) carrier.inject(recorded.to, Buffer.concat([Buffer.alloc(32, 1), recorded.sealed.subarray(32)]))
  expect(victim.delivered.filter(({ content }) => content === 'once')).toHaveLength(1)
  expect(victim.refusals.snapshot()['peer.old-signal']).toBe(1)
  tell(sender, victim, 'goes on')
  time.advance(0)
  expect(victim.delivered.at(-1)?.content).toBe('goes on')
})
