import type { Milliseconds } from '../../../../daemon/types.ts'
import { seeded } from '../../../datagram/random.ts'
import { type LinkQuality, PERFECT } from './link.ts'
import { NAT_KINDS } from './nat.ts'
import type { SignalFaults } from './signals.ts'
import { type HomeSpec, type HostSpec, PLAIN_HOME, type Place, type WorldSpec } from './world-spec.ts'

/** What may happen to two hosts; each ends by itself, and what follows is to work as before. */
export type Fault =
  /** A router forgets all mappings, and may get another address. */
  | { readonly kind: 'reboot'; readonly home: number; readonly renumber: boolean }
  /** Hosts are put elsewhere, all at the same moment. */
  | { readonly kind: 'move'; readonly moves: readonly (readonly [host: number, places: readonly Place[]])[] }
  | { readonly kind: 'sleep'; readonly host: number; readonly duration: Milliseconds }
  /** The cable is out for a while. */
  | { readonly kind: 'unplug'; readonly host: number; readonly duration: Milliseconds }
  | { readonly kind: 'relay-gone'; readonly duration: Milliseconds }
  /** Everything gets lost for a while, and nobody is told. */
  | { readonly kind: 'blackout'; readonly host: number; readonly duration: Milliseconds }

export interface Scenario {
  readonly seed: number
  readonly spec: WorldSpec
  readonly weather: Weather
  readonly signals: SignalFaults
  /** Which hosts believe that they control; both or neither has to come right as well. */
  readonly controls: readonly [boolean, boolean]
  readonly restarts: boolean
  /** When the second host begins to look, after the first. */
  readonly lateness: Milliseconds
  readonly faults: readonly Fault[]
}

export type Weather = 'clear' | 'mild' | 'bad'

/** Quality of a link, of which there are two to four between two hosts. */
export function qualityIn(weather: Weather): (of: 'host' | 'line', random: () => number) => LinkQuality {
  return (of, random) => {
    const latency = of === 'host' ? 1 + random() * 3 : 5 + random() * (weather === 'bad' ? 100 : 30)
    const mtu = of === 'line' && random() < 0.3 ? 1280 + Math.floor(random() * 220) : 1500
    if (weather === 'clear') return { ...PERFECT, latency, mtu }
    const worse = weather === 'bad' ? 4 : 1
    return { latency, jitter: 5 * worse, loss: 0.008 * worse, duplicate: 0.01, reorder: 0.01 * worse, mtu }
  }
}

class Dice {
  readonly roll: () => number

  constructor(seed: number) {
    this.roll = seeded(seed)
  }

  happens(chance: number): boolean {
    return this.roll() < chance
  }

  below(count: number): number {
    return Math.floor(this.roll() * count)
  }

  between(least: number, most: number): number {
    return Math.floor(least + this.roll() * (most - least))
  }

  /** One of them, each with its weight. */
  pick<T>(...choices: readonly (readonly [weight: number, what: T])[]): T {
    let left = this.roll() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, what] of choices) {
      left -= weight
      if (left < 0) return what
    }
    throw new RangeError('nothing to choose from')
  }
}

/** The scenario of a seed: so many hosts in random networks, and so many faults one after the other. */
export function scenarioOf(
  seed: number,
  { hosts = 2, faults = 0 }: { hosts?: number; faults?: number } = {},
): Scenario {
  const dice = new Dice(seed * 7919 + hosts * 31 + faults)
  const spec = randomSpec(dice, hosts)
  const weather = dice.pick<Weather>([4, 'clear'], [4, 'mild'], [2, 'bad'])
  return {
    seed,
    spec,
    weather,
    signals: {
      delay: dice.pick<readonly [number, number]>([3, [5, 10]], [3, [20, 300]], [2, [200, 2000]]),
      loss: dice.pick([3, 0], [2, 0.1], [1, 0.4]),
      duplicate: dice.pick([2, 0], [1, 0.3]),
    },
    controls: dice.pick<readonly [boolean, boolean]>(
      [6, [true, false]],
      [6, [false, true]],
      [1, [true, true]],
      [1, [false, false]],
    ),
    restarts: dice.happens(0.3),
    lateness: dice.pick([3, 0], [3, dice.between(0, 1000)]),
    faults: Array.from({ length: faults }, () => randomFault(dice, spec)),
  }
}

function randomSpec(dice: Dice, count: number): WorldSpec {
  const kinds = Object.values(NAT_KINDS)
  const kind = () => kinds[dice.below(kinds.length)] ?? NAT_KINDS.eim
  const carriers = dice.happens(0.3) ? [kind()] : []
  const home = (): HomeSpec => ({
    ...PLAIN_HOME,
    nat: kind(),
    timeout: dice.pick([1, 30_000], [2, 120_000]),
    ...(carriers.length > 0 && dice.happens(0.6) && { carrier: 0 }),
    ip6: dice.pick([3, 'none'], [2, 'firewall'], [1, 'open']),
    udp: !dice.happens(0.1),
    forwards: dice.happens(0.15),
    isolated: dice.happens(0.08),
    octet: dice.between(1, 3),
  })
  const homes = Array.from({ length: Math.max(3, Math.ceil(count * 0.6)) }, home)
  const relay = dice.pick<readonly [number, number]>([4, [1, 1]], [2, [1, 0]], [3, [0, 0]])
  const host = (index: number): HostSpec => ({
    places: randomPlaces(dice, homes.length),
    families: dice.pick<readonly (4 | 6)[]>([10, [4]], [8, [4, 6]], [1, [6]]),
    relay: relay[index % 2] === 1,
  })
  return { carriers, homes, hosts: Array.from({ length: count }, (_, index) => host(index)), relay: true }
}

function randomPlaces(dice: Dice, homes: number): Place[] {
  if (dice.happens(0.1)) return ['internet']
  const first = dice.below(homes)
  const second = dice.below(homes)
  return dice.happens(0.12) && second !== first ? [first, second] : [first]
}

function randomFault(dice: Dice, { homes, hosts }: WorldSpec): Fault {
  const host = dice.below(hosts.length)
  const move = (index: number) => [index, randomPlaces(dice, homes.length)] as const
  return dice.pick<() => Fault>(
    [3, () => ({ kind: 'reboot', home: dice.below(homes.length), renumber: dice.happens(0.5) })],
    [3, () => ({ kind: 'move', moves: [move(host)] })],
    [2, () => ({ kind: 'move', moves: hosts.map((_, index) => move(index)) })],
    [2, () => ({ kind: 'sleep', host, duration: dice.pick([1, 5000], [2, 60_000], [1, 3_600_000]) })],
    [2, () => ({ kind: 'unplug', host, duration: dice.between(100, 60_000) })],
    [2, () => ({ kind: 'relay-gone', duration: dice.between(100, 60_000) })],
    [2, () => ({ kind: 'blackout', host, duration: dice.between(1000, 60_000) })],
  )()
}
