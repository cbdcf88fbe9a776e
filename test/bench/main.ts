/**
 * `npm run bench`: Partyline and the alternatives side by side, interleaved, several runs, on two lab hosts (veth) where that is possible and on
 * loopback otherwise. `npm run bench -- --help` tells the options.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Contest } from './contest.ts'
import { measureCrowd } from './crowd.ts'
import { BenchDaemon } from './daemon.ts'
import { writeDocuments } from './documents.ts'
import { type HostPair, hostPair, Worker } from './hosts.ts'
import { measureHub } from './hub.ts'
import { installPeers } from './install.ts'
import { measureIdle } from './memory.ts'
import { type BenchOptions, HELP, readOptions } from './options.ts'
import { Report } from './report.ts'
import { PEERS } from './subjects.ts'
import { comparison, failures, others, verdicts } from './table.ts'
import { judge } from './targets.ts'

const CALLS = 40_000
const CALLS_LIMIT = 60_000

function progress(text: string): void {
  process.stderr.write(`${new Date().toTimeString().slice(0, 8)} ${text}\n`)
}

/** Something of Partyline alone, which may fail without taking the rest along. */
async function attempt(report: Report, metric: string, work: () => Promise<void>): Promise<void> {
  progress(metric)
  try {
    await work()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    progress(`failed: ${metric}: ${reason}`)
    report.fail(metric, 'daemon', 'partyline', reason)
  }
}

/** `calls`: small calls a second on the socket, 64 in flight, both encodings. */
async function measureCalls(report: Report, { a }: HostPair, scratch: string, runs: number): Promise<void> {
  const daemon = await BenchDaemon.start(a, join(scratch, 'calls'))
  try {
    for (let run = 0; run < runs; run++) {
      for (const encoding of ['messagepack', 'json']) {
        const worker = new Worker(a, 'calls', '', { home: daemon.home, encoding, count: CALLS })
        try {
          const { perSecond } = await worker.ready(CALLS_LIMIT)
          report.add('calls', 'app', `partyline ${encoding}`, '/s', Number(perSecond))
        } finally {
          await worker.stop()
        }
      }
    }
  } finally {
    await daemon.stop()
  }
}

async function measure(options: BenchOptions): Promise<Report> {
  const report = new Report()
  const scratch = mkdtempSync(join(tmpdir(), 'partyline-bench-'))
  try {
    const peersMissing = PEERS.some(options.includes) ? await installPeers() : undefined
    if (peersMissing) progress(peersMissing)
    {
      await using hosts = await hostPair(options.loopback)
      progress(`on ${hosts.kind}, ${options.runs} runs`)
      const setting = { hosts, scratch }
      await new Contest({ setting, options, report, peersMissing, progress }).run()
      if (options.includes('partyline')) {
        if (options.wanted('memory')) await attempt(report, 'memory idle', () => measureIdle(report, hosts, scratch))
        if (options.wanted('calls'))
          await attempt(report, 'calls', () => measureCalls(report, hosts, scratch, options.runs))
      }
    }
    if (options.wanted('crowd')) await attempt(report, 'crowd', () => measureCrowd(report, scratch))
    if (options.wanted('hub')) await attempt(report, 'hub', () => measureHub(report, scratch))
    return report
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function human(report: Report): string {
  const failed = report.failures()
  return [
    ['Daemon to daemon', comparison(report, 'daemon')],
    ['App to app', comparison(report, 'app')],
    ['Besides', others(report)],
    ['Targets', verdicts(judge(report, PEERS))],
    ['Failed', failures(failed)],
  ]
    .filter(([, table]) => table !== '')
    .map(([title, table]) => `${title}\n\n${table}\n`)
    .join('')
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(HELP)
    return
  }
  const report = options.from === undefined ? await measure(options) : Report.parse(readFileSync(options.from, 'utf8'))
  process.stdout.write(options.json ? report.json() : human(report))
  if (options.write) writeDocuments(report, PEERS)
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
