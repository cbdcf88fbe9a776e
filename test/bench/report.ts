import { median } from './statistics.ts'

export type Scope = 'daemon' | 'app'

/** One measured figure, as `--json` prints it, an object a line. What failed has the value null and its reason. */
export interface Figure {
  readonly metric: string
  readonly scope: Scope
  readonly subject: string
  /** Median of the runs. */
  readonly value: number | null
  readonly unit: string
  readonly runs: number
  readonly reason?: string
}

/** Collects the runs of every figure, and what failed. */
export class Report {
  readonly #runs = new Map<string, { figure: Omit<Figure, 'value' | 'runs'>; values: number[] }>()
  readonly #failures = new Map<string, Figure>()

  add(metric: string, scope: Scope, subject: string, unit: string, value: number): void {
    const key = keyOf(metric, scope, subject)
    const entry = this.#runs.get(key) ?? { figure: { metric, scope, subject, unit }, values: [] }
    entry.values.push(value)
    this.#runs.set(key, entry)
  }

  /** It could not be measured; what other runs measured stays. */
  fail(metric: string, scope: Scope, subject: string, reason: string): void {
    const figure = { metric, scope, subject, value: null, unit: '', runs: 0, reason }
    this.#failures.set(keyOf(metric, scope, subject), figure)
  }

  /** Takes what `json` wrote. Throws where a line is none of ours. */
  static parse(lines: string): Report {
    const report = new Report()
    for (const line of lines.split('\n').filter((text) => text.trim() !== '')) {
      const { metric, scope, subject, value, unit, runs, reason } = JSON.parse(line) as Figure
      if (typeof metric !== 'string' || typeof subject !== 'string' || (scope !== 'app' && scope !== 'daemon'))
        throw new Error(`not a figure: ${line}`)
      if (value === null) report.fail(metric, scope, subject, reason ?? '')
      else for (let i = 0; i < runs; i++) report.add(metric, scope, subject, unit, value)
    }
    return report
  }

  figures(): Figure[] {
    return [...this.#runs.values()].map(({ figure: { metric, scope, subject, unit }, values }) => ({
      metric,
      scope,
      subject,
      value: median(values),
      unit,
      runs: values.length,
    }))
  }

  /** What no run could measure. */
  failures(): Figure[] {
    return [...this.#failures].filter(([key]) => !this.#runs.has(key)).map(([, figure]) => figure)
  }

  value(metric: string, scope: Scope, subject: string): number | undefined {
    const values = this.#runs.get(keyOf(metric, scope, subject))?.values
    return values && median(values)
  }

  json(): string {
    return [...this.figures(), ...this.failures()].map((figure) => `${JSON.stringify(figure)}\n`).join('')
  }
}

const keyOf = (metric: string, scope: Scope, subject: string): string => JSON.stringify([metric, scope, subject])

/** Four significant digits at most, thousands apart. */
export function formatNumber(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: value < 1000 ? 3 : 4 })
}
