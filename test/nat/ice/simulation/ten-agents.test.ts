import { describe } from 'vitest'
import { scenarioOf } from './scenario.ts'
import { runSeeds } from './seeds.ts'

const file = import.meta.url

describe('ten hosts with an agent for each other end on the best path there is to each', () => {
  runSeeds({ title: 'ten at rest', file, seeds: 20, scenario: (seed) => scenarioOf(seed, { hosts: 10 }) })
  runSeeds({
    title: 'ten with a fault',
    file,
    seeds: 10,
    scenario: (seed) => scenarioOf(seed, { hosts: 10, faults: 1 }),
  })
})
