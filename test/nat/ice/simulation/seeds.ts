import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { problemsOf } from './run.ts'
import type { Scenario } from './scenario.ts'

/** Seeds of one test, so that none takes long. */
const CHUNK = 100
/** What is told of failures: the first ones. */
const TOLD = 5

interface Runs {
  readonly title: string
  /** The test file, to say how to run one seed alone. */
  readonly file: string
  readonly seeds: number
  readonly scenario: (seed: number) => Scenario
}

/**
 * Runs so many seeds. `PARTYLINE_SEEDS=20` runs twenty times as many; `PARTYLINE_SEED=17` only that one, and prints its scenario.
 */
export function runSeeds({ title, file, seeds, scenario }: Runs): void {
  const { PARTYLINE_SEED: only, PARTYLINE_SEEDS: times = '1' } = process.env
  if (only !== undefined) {
    test(`${title}: seed ${only}`, () => {
      const one = scenario(Number(only))
      console.log(JSON.stringify(one, undefined, 1))
      expect(problemsOf(one)).toEqual([])
    })
    return
  }
  const all = Math.ceil(seeds * Number(times))
  for (let first = 1; first <= all; first += CHUNK) {
    const last = Math.min(all, first + CHUNK - 1)
    test(`${title}: seeds ${first} to ${last}`, { timeout: 120_000 }, () => {
      const failed: string[] = []
      for (let seed = first; seed <= last; seed++) {
        const [problem, ...more] = problemsOf(scenario(seed))
        if (problem !== undefined)
          failed.push(`${problem}${more.length > 0 ? ` (and ${more.length} more)` : ''}; ${again(file, title, seed)}`)
      }
      expect(failed.length, `${failed.length} failed:\n${failed.slice(0, TOLD).join('\n')}`).toBe(0)
    })
  }
}

function again(file: string, title: string, seed: number): string {
  const path = fileURLToPath(file)
  return `PARTYLINE_SEED=${seed} npx vitest run ${path.slice(path.indexOf('test/nat'))} -t '${title}'`
}
