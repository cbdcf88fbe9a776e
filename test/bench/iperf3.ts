/** `iperf3` between the two hosts: what the network and the kernel give without encryption, a limit for everything else. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { type BenchHost, type HostPair, within } from './hosts.ts'
import type { Metric } from './metrics.ts'
import { PACKET } from './packet-flow.ts'
import type { Report } from './report.ts'

const SECONDS = 2
const LIMIT = 20_000
const GIB = 2 ** 30

/** Why it cannot be used; undefined when it can. */
export function iperf3Missing(): string | undefined {
  try {
    execFileSync('iperf3', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'the package iperf3 is not installed'
  }
}

export const IPERF3_METRICS = ['bulk', 'bulk10', 'cpu', 'datagrams'] as const satisfies readonly Metric[]

interface Result {
  readonly error?: string
  readonly end: {
    readonly sum_received?: { readonly bits_per_second: number; readonly bytes: number }
    readonly sum?: { readonly packets: number; readonly lost_packets: number; readonly seconds: number }
    readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number }
  }
}

export async function measureIperf3(
  hosts: HostPair,
  wanted: (metric: Metric) => boolean,
  report: Report,
): Promise<void> {
  const note = (metric: string, unit: string, value: number): void =>
    report.add(metric, 'daemon', 'iperf3', unit, value)
  if (wanted('bulk') || wanted('cpu')) {
    const { end } = await run(hosts, [])
    const { bits_per_second: rate = 0, bytes = 0 } = end.sum_received ?? {}
    const { host_total: near, remote_total: far } = end.cpu_utilization_percent
    if (wanted('bulk')) note('bulk', 'Mbit/s', rate / 1e6)
    if (wanted('cpu')) note('cpu', 's/GiB', (((near + far) / 100) * SECONDS * GIB) / bytes)
  }
  if (wanted('bulk10'))
    note('bulk10', 'Mbit/s', ((await run(hosts, ['-P', '10'])).end.sum_received?.bits_per_second ?? 0) / 1e6)
  if (wanted('datagrams')) {
    const { sum } = (await run(hosts, ['-u', '-b', '0', '-l', String(PACKET)])).end
    if (sum) note('datagrams', '/s', (sum.packets - sum.lost_packets) / sum.seconds)
  }
}

/** One test, with a server of its own. */
async function run({ a, b }: HostPair, options: readonly string[]): Promise<Result> {
  const server = b.spawn(['iperf3', '--server', '--one-off', '--forceflush'])
  try {
    await within(LIMIT, 'iperf3', listening(server.stdout))
    const output = await within(
      LIMIT,
      'iperf3',
      outputOf(a, ['--client', b.address, '-t', String(SECONDS), '--json', ...options]),
    )
    const result = JSON.parse(output) as Result
    if (result.error) throw new Error(`iperf3: ${result.error}`)
    return result
  } finally {
    server.kill('SIGKILL')
  }
}

async function listening(stdout: NodeJS.ReadableStream | null): Promise<void> {
  if (!stdout) throw new Error('iperf3 has no output')
  for await (const text of stdout) if (String(text).includes('listening')) return
  throw new Error('iperf3 ended')
}

async function outputOf(host: BenchHost, options: readonly string[]): Promise<string> {
  const child = host.spawn(['iperf3', ...options])
  let output = ''
  child.stdout?.on('data', (chunk) => (output += String(chunk)))
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT)
  await once(child, 'close')
  clearTimeout(timer)
  return output
}
