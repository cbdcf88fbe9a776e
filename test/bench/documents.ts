/** Writes the figures into docs/benchmarks.md and the README, between their markers, and the chart beside them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, release, type } from 'node:os'
import { chart } from './chart.ts'
import { formatNumber, type Report } from './report.ts'
import { comparison, failures, others, verdicts } from './table.ts'
import { judge } from './targets.ts'

const ROOT = new URL('../../', import.meta.url)
const END = '<!-- to here -->'
/** What is no library: drawn fainter. */
const BARE = ['node-tls', 'bare-udp', 'bare-chain', 'iperf3']

export function writeDocuments(report: Report, peers: readonly string[]): void {
  rewrite('docs/benchmarks.md', (text) => between(text, details(report, peers)))
  rewrite('README.md', (text) => between(text, summary(report, peers)))
  writeFileSync(new URL('docs/benchmarks.svg', ROOT), chart(report, BARE))
}

function rewrite(path: string, change: (text: string) => string): void {
  const file = new URL(path, ROOT)
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

/** Replaces what stands between the markers that `command` fills. Throws where they are not. */
export function between(text: string, content: string, command = 'npm run bench'): string {
  const opening = `<!-- ${command} writes this -->`
  const begin = text.indexOf(opening)
  const end = text.indexOf(END, begin)
  if (begin < 0 || end < 0) throw new Error(`no place for the figures: ${opening} … ${END} is missing`)
  return `${text.slice(0, begin + opening.length)}\n\n${content.trim()}\n\n${text.slice(end)}`
}

function details(report: Report, peers: readonly string[]): string {
  const failed = report.failures()
  const runs = Math.max(0, ...report.figures().map((figure) => figure.runs))
  const versions = peerVersions(peers)
  return [
    `Medians of ${runs} runs on ${availableParallelism()} cores, ${type()} ${release().split('.').slice(0, 2).join('.')}, Node ${process.versions.node}; ${versions}.`,
    section('Targets', verdicts(judge(report, peers))),
    section('Daemon to daemon', comparison(report, 'daemon')),
    section('App to app', comparison(report, 'app')),
    section('Besides', others(report)),
    section('What could not be measured', failures(failed)),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

const section = (title: string, text: string): string => (text === '' ? '' : `### ${title}\n\n${text.trim()}`)

function peerVersions(peers: readonly string[]): string {
  const lock = JSON.parse(readFileSync(new URL('peers/package-lock.json', import.meta.url), 'utf8')) as {
    packages: Record<string, { version?: string }>
  }
  return peers.map((name) => `${name} ${lock.packages[`node_modules/${name}`]?.version ?? ''}`).join(', ')
}

const SUMMARY = [
  { title: 'one stream, Mbit/s', metric: 'bulk', best: Math.max, bare: 'node-tls' },
  { title: '64 bytes there and back, µs', metric: 'rtt64', best: Math.min, bare: 'node-tls' },
  { title: 'messages of 64 bytes a second', metric: 'messages64', best: Math.max, bare: 'node-tls' },
  { title: 'unreliable packets a second', metric: 'datagrams', best: Math.max, bare: 'bare-udp' },
  { title: 'connect, ms', metric: 'connect', best: Math.min, bare: 'node-tls' },
] as const

/** The README's table: what matters, beside the bare sockets and the best of the other libraries. */
function summary(report: Report, peers: readonly string[]): string {
  const cell = (value: number | undefined): string => (value === undefined ? '–' : formatNumber(value))
  const rows = SUMMARY.map(({ title, metric, best, bare }) => {
    const rivals = peers
      .map((name) => ({ name, value: report.value(metric, 'daemon', name) }))
      .filter((rival): rival is { name: string; value: number } => rival.value !== undefined)
    const top = rivals.find(({ value }) => value === best(...rivals.map((rival) => rival.value)))
    const rival = top ? `${formatNumber(top.value)} (${top.name})` : '–'
    const ours = report.value(metric, 'daemon', 'partyline')
    return `| ${title} | ${cell(ours)} | ${cell(report.value(metric, 'daemon', bare))} | ${rival} |`
  })
  return `| daemon to daemon | Partyline | bare TLS or UDP | the best other library |\n| --- | ---: | ---: | ---: |\n${rows.join('\n')}`
}
