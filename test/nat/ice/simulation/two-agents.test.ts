import { describe } from 'vitest'
import { scenarioOf } from './scenario.ts'
import { runSeeds } from './seeds.ts'

const file = import.meta.url

describe('two agents in random networks end on the best path there is, or say that there is none', () => {
  runSeeds({ title: 'undisturbed', file, seeds: 1200, scenario: (seed) => scenarioOf(seed) })
  runSeeds({ title: 'after a fault', file, seeds: 600, scenario: (seed) => scenarioOf(seed, { faults: 1 }) })
  runSeeds({ title: 'after three faults', file, seeds: 100, scenario: (seed) => scenarioOf(seed, { faults: 3 }) })
})
