/** Runs the subjects beside each other, in turn, several times, and notes what fails. */

import { IPERF3_METRICS, iperf3Missing, measureIperf3 } from './iperf3.ts'
import { GROUPS, type Group, type Metric, memory } from './metrics.ts'
import type { BenchOptions } from './options.ts'
import type { Report } from './report.ts'
import { type Setting, type Started, SUBJECTS, type Subject } from './subjects.ts'

/** A group of a subject that failed so often is left. */
const MAX_FAILURES = 2

interface ContestOptions {
  readonly setting: Setting
  readonly options: BenchOptions
  readonly report: Report
  /** Why the other libraries are not there. */
  readonly peersMissing: string | undefined
  readonly progress: (text: string) => void
}

export class Contest {
  readonly #options: ContestOptions
  readonly #failures = new Map<string, number>()

  constructor(options: ContestOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    const { options, progress } = this.#options
    for (let run = 0; run < options.runs; run++) {
      for (const group of GROUPS) {
        // Another one first in each run: what comes first may find the machine colder.
        const subjects = this.#subjects(group)
        const turn = subjects.length === 0 ? 0 : run % subjects.length
        for (const subject of [...subjects.slice(turn), ...subjects.slice(0, turn)]) {
          progress(`run ${run + 1} of ${options.runs}: ${group.name}, ${subject.name} (${subject.scope})`)
          await this.#measure(group, subject)
        }
      }
      progress(`run ${run + 1} of ${options.runs}: iperf3`)
      await this.#iperf3()
    }
    // Once: what is looked for is large beside its noise, and a thousand sessions take their time.
    for (const subject of this.#subjects(memory)) {
      progress(`memory, ${subject.name}`)
      await this.#measure(memory, subject)
    }
  }

  #subjects(group: Group): Subject[] {
    const { options } = this.#options
    return SUBJECTS.filter(({ name, metrics }) => {
      return (
        options.includes(name) && group.metrics.some((metric) => metrics.includes(metric) && options.wanted(metric))
      )
    })
  }

  async #measure(group: Group, subject: Subject): Promise<void> {
    const { setting, options, report, peersMissing } = this.#options
    const { name, scope, metrics } = subject
    const wanted = (metric: Metric): boolean => metrics.includes(metric) && options.wanted(metric)
    const key = `${group.name} ${scope} ${name}`
    if ((this.#failures.get(key) ?? 0) >= MAX_FAILURES) return
    let started: Started | undefined
    try {
      if (subject.isPeer && peersMissing) throw new Error(peersMissing)
      started = await subject.start(setting)
      const note = (metric: string, unit: string, value: number): void => report.add(metric, scope, name, unit, value)
      await group.measure({ started, wanted, note })
    } catch (error) {
      this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1)
      this.#fail(group.metrics.filter(wanted), subject, error)
    } finally {
      await started?.stop()
    }
  }

  async #iperf3(): Promise<void> {
    const { setting, options, report } = this.#options
    if (!options.includes('iperf3') || !IPERF3_METRICS.some((metric) => options.wanted(metric))) return
    try {
      const missing = iperf3Missing()
      if (missing) throw new Error(missing)
      await measureIperf3(setting.hosts, (metric) => options.wanted(metric), report)
    } catch (error) {
      const metrics = IPERF3_METRICS.filter((metric) => options.wanted(metric))
      this.#fail(metrics, { name: 'iperf3', scope: 'daemon' }, error)
    }
  }

  #fail(metrics: readonly Metric[], { name, scope }: Pick<Subject, 'name' | 'scope'>, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.#options.progress(`failed: ${name}, ${metrics.join(', ')}: ${reason}`)
    for (const metric of metrics) this.#options.report.fail(metric.replaceAll('-', ' '), scope, name, reason)
  }
}
