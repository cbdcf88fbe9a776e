import { parseArgs } from 'node:util'
import { EXTRAS, METRICS } from './metrics.ts'
import { SUBJECTS } from './subjects.ts'

export interface BenchOptions {
  readonly json: boolean
  readonly write: boolean
  readonly loopback: boolean
  readonly runs: number
  /** File with figures that `--json` printed: they are shown, nothing is measured. */
  readonly from: string | undefined
  wanted(metric: string): boolean
  /** Subjects by name. */
  includes(subject: string): boolean
}

export const HELP = `npm run bench -- [options]

  --json            an object a line: {metric, scope, subject, value, unit, runs}
  --write           writes docs/benchmarks.md, docs/benchmarks.svg and the README's table
  --from FILE       shows (or writes) figures that --json printed; measures nothing
  --runs N          how often each figure is taken; its median counts (default 5)
  --only A,B        ${METRICS.join(', ')};
                    and of Partyline alone: ${EXTRAS.join(', ')} (crowd and hub only when named)
  --subjects A,B    ${[...new Set(SUBJECTS.map(({ name }) => name))].join(', ')}, iperf3
  --loopback        not in the lab, although it is there
`

/** Throws a sentence for what makes no sense. */
export function readOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      loopback: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      runs: { type: 'string', default: '5' },
      from: { type: 'string' },
      only: { type: 'string' },
      subjects: { type: 'string' },
    },
  })
  if (values.help) return 'help'
  const runs = Number(values.runs)
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs takes a number from 1, not ${values.runs}`)
  const only = list(values.only, [...METRICS, ...EXTRAS], '--only')
  const subjects = list(values.subjects, [...SUBJECTS.map(({ name }) => name), 'iperf3'], '--subjects')
  return {
    json: values.json,
    write: values.write,
    loopback: values.loopback,
    runs,
    from: values.from,
    wanted: (metric: string) => (only ? only.includes(metric) : metric !== 'crowd' && metric !== 'hub'),
    includes: (subject: string) => subjects?.includes(subject) ?? true,
  }
}

function list(text: string | undefined, known: readonly string[], option: string): string[] | undefined {
  const names = text?.split(',').map((name) => name.trim())
  const stranger = names?.find((name) => !known.includes(name))
  if (stranger !== undefined) throw new Error(`${option} does not know ${stranger}; try --help`)
  return names
}
