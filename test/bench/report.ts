import { median } from './statistics.ts'

/** One measured figure, as `--json` prints it, an object a line. */
interface Figure {
  readonly metric: string
  readonly scope: 'daemon' | 'app'
  readonly subject: string
  readonly value: number
  readonly unit: string
  readonly runs: number
}

/** Collects the runs of every figure and prints their medians with ratios. */
export class Report {
  readonly #runs = new Map<string, { figure: Omit<Figure, 'value' | 'runs'>; values: number[] }>()

  add(metric: string, scope: Figure['scope'], subject: string, unit: string, value: number): void {
    const key = `${metric} ${scope} ${subject}`
    const entry = this.#runs.get(key) ?? { figure: { metric, scope, subject, unit }, values: [] }
    entry.values.push(value)
    this.#runs.set(key, entry)
  }

  figures(): Figure[] {
    return [...this.#runs.values()].map(({ figure, values }) => ({
      ...figure,
      value: median(values),
      runs: values.length,
    }))
  }

  json(): string {
    return this.figures()
      .map((figure) => `${JSON.stringify(figure)}\n`)
      .join('')
  }

  /** A Markdown table; within a metric, each value beside its ratio to the first subject's. */
  markdown(): string {
    const figures = this.figures()
    const rows = figures.map((figure) => {
      const base = figures.find((other) => other.metric === figure.metric)
      const ratio = base && base !== figure ? (figure.value / base.value).toFixed(2) : ''
      return `| ${figure.metric} | ${figure.subject} | ${format(figure.value)} ${figure.unit} | ${ratio} | ${figure.runs} |\n`
    })
    return `| metric | subject | median | ratio to the first | runs |\n| --- | --- | ---: | ---: | ---: |\n${rows.join('')}`
  }
}

function format(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: value < 1000 ? 3 : 4 })
}
