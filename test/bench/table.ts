import { METRICS } from './metrics.ts'
import { type Figure, formatNumber, type Report, type Scope } from './report.ts'
import type { Verdict } from './targets.ts'

const HEADS: Readonly<Record<string, string>> = {
  connect: 'connect, ms',
  rtt64: '64 B there and back, µs',
  rtt1k: '1 KiB, µs',
  'rtt64 under bulk': '64 B beside bulk, µs',
  messages64: '64 B messages /s',
  messages1k: '1 KiB messages /s',
  messages64k: '64 KiB messages /s',
  bulk: 'one stream, Mbit/s',
  bulk10: 'ten streams, Mbit/s',
  cpu: 'CPU, s/GiB',
  datagrams: 'packets /s',
  memory: 'a session, KiB',
}
const COLUMNS = METRICS.map((metric) => metric.replaceAll('-', ' '))
const KIB = 1024
const NONE = '–'

type Row = readonly string[]

/** Markdown, its columns aligned so that it reads well in a terminal. Every column but the first is one of numbers. */
function markdown(head: Row, rows: readonly Row[], numbers = true): string {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...rows].map((row) => row[i]?.length ?? 0)))
  const line = (row: Row): string =>
    `| ${widths.map((width, i) => (numbers && i > 0 ? (row[i] ?? '').padStart(width) : (row[i] ?? '').padEnd(width))).join(' | ')} |\n`
  const rule = `| ${widths.map((width, i) => (numbers && i > 0 ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))).join(' | ')} |\n`
  return line(head) + rule + rows.map(line).join('')
}

/** A scope's subjects beside each other, a column a metric. */
export function comparison(report: Report, scope: Scope): string {
  const figures = report.figures().filter((figure) => figure.scope === scope && COLUMNS.includes(figure.metric))
  const failed = report.failures().filter((figure) => figure.scope === scope)
  const columns = COLUMNS.filter((metric) => figures.some((figure) => figure.metric === metric))
  const subjects = [...new Set([...figures, ...failed].map(({ subject }) => subject))]
  if (columns.length === 0) return ''
  const cell = (metric: string, subject: string): string => {
    const value = report.value(metric, scope, subject)
    if (value !== undefined) return formatNumber(metric === 'memory' ? value / KIB : value)
    return failed.some((figure) => figure.subject === subject && figure.metric === metric) ? 'failed' : NONE
  }
  return markdown(
    ['', ...columns.map((metric) => HEADS[metric] ?? metric)],
    subjects.map((subject) => [subject, ...columns.map((metric) => cell(metric, subject))]),
  )
}

/** What the comparison has no column for. */
export function others(report: Report): string {
  const rows = report.figures().filter(({ metric }) => !COLUMNS.includes(metric))
  if (rows.length === 0) return ''
  return markdown(
    ['', 'scope', 'subject', 'median', 'runs'],
    rows.map(({ metric, scope, subject, value, unit, runs }) => [
      metric,
      scope,
      subject,
      `${formatNumber(value ?? Number.NaN)} ${unit}`,
      String(runs),
    ]),
    false,
  )
}

/** The targets, and whether they are reached. */
export function verdicts(all: readonly Verdict[]): string {
  return markdown(
    ['', 'target', 'measured', 'reached'],
    all.map(({ about, target, measured, reached }) => [
      about,
      target,
      measured === undefined ? 'not measured' : formatNumber(measured),
      reached === undefined ? NONE : reached ? 'yes' : '**no**',
    ]),
    false,
  )
}

/** What could not be measured, and why; what one subject failed in for one reason in one line. */
export function failures(all: readonly Figure[]): string {
  const lines = new Map<string, { about: string; metrics: string[] }>()
  for (const { metric, scope, subject, reason } of all) {
    const about = `${subject} (${scope})`
    const line = lines.get(`${about} ${reason}`) ?? { about, metrics: [] }
    line.metrics.push(metric)
    lines.set(`${about} ${reason}`, line)
  }
  return [...lines]
    .map(([key, { about, metrics }]) => `- ${about}, ${metrics.join(', ')}: ${key.slice(about.length + 1)}\n`)
    .join('')
}
