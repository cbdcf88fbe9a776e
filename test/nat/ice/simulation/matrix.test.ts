import { describe, expect, test } from 'vitest'
import { NAT_KINDS } from './nat.ts'
import { bestPath } from './oracle.ts'
import { problemsOf, worldOf } from './run.ts'
import type { Scenario } from './scenario.ts'
import { homesOf, PLAIN_HOME, PLAIN_HOST, type WorldSpec } from './world-spec.ts'

const scenario = (spec: WorldSpec): Scenario => ({
  seed: 1,
  spec,
  weather: 'clear',
  signals: { delay: [20, 20], loss: 0, duplicate: 0 },
  controls: [true, false],
  restarts: false,
  lateness: 0,
  faults: [],
})

const kinds = Object.keys(NAT_KINDS) as (keyof typeof NAT_KINDS)[]

describe('two agents behind each kind of NAT', () => {
  for (const a of kinds)
    test(`${a} with each other kind, with a relay and without`, () => {
      for (const b of kinds) {
        const nats = [{ nat: NAT_KINDS[a] }, { nat: NAT_KINDS[b] }] as const
        const alone = homesOf(...nats)
        const relayed = homesOf(...nats, { relay: true }, { relay: true })
        expect([b, problemsOf(scenario(alone)), problemsOf(scenario(relayed))]).toEqual([b, [], []])
      }
    })
})

/** Time from the moment both know of each other until each has a path. */
function timeToPath(spec: WorldSpec): number {
  const world = worldOf(scenario(spec))
  world.advance(10_000)
  const times = [world.peer(0, 1), world.peer(1, 0)].map(({ selections, describedAt }) => {
    return (selections.find(({ path }) => path)?.at ?? Number.POSITIVE_INFINITY) - (describedAt ?? 0)
  })
  world.close()
  return Math.max(...times)
}

test('on one LAN there is a path within two round trips', () => {
  const hosts = [0, 1].map(() => ({ ...PLAIN_HOST, places: [0] }))
  const spec = { carriers: [], homes: [PLAIN_HOME], hosts, relay: false }
  // Two links of at most 4 ms each way.
  expect(timeToPath(spec)).toBeLessThanOrEqual(2 * 2 * 8)
})

test('wherever there is a way through NATs, it is found within a second', () => {
  for (const a of kinds)
    for (const b of kinds) {
      const spec = homesOf({ nat: NAT_KINDS[a] }, { nat: NAT_KINDS[b] })
      if (bestPath(spec, 0, 1)) expect([a, b, timeToPath(spec) < 1000]).toEqual([a, b, true])
    }
})
