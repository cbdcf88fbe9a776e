/**
 * `node test/bench/lossy.ts [--json] [--runs N] [--seconds N] [--subjects A,B]`: goodput of one stream between two lab hosts on a long and lossy
 * way, 100 Mbit/s, 50 ms there and back, 1 % of the packets lost each way: links over UDX beside TLS over the kernel's TCP and WebRTC.
 * Needs root and the lab.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Lab, labMissing } from '../lab/lab.ts'
import { type BenchHost, cpuOf, Worker } from './hosts.ts'
import { installPeers } from './install.ts'
import { formatNumber, Report } from './report.ts'

const WIRE = { delay: 25, loss: 1, rate: 100_000 } as const
const [NEAR, FAR] = ['192.168.50.1', '192.168.50.2']
/** Left out of what is counted: a stream takes a while to find its rate. */
const WARM_UP_SECONDS = 1.5

/** Subjects in the order of the table; `tcp` is what the kernel is told to use. */
const SUBJECTS = [
  { name: 'partyline udx', transport: 'udx-link', roomy: true },
  { name: 'tls tcp bbr', transport: 'node-tls', tcp: 'bbr', roomy: true },
  { name: 'tls tcp cubic', transport: 'node-tls', tcp: 'cubic', roomy: true },
  { name: 'node-datachannel', transport: 'node-datachannel', roomy: false },
] as const
type LossySubject = (typeof SUBJECTS)[number]

function progress(text: string): void {
  process.stderr.write(`${new Date().toTimeString().slice(0, 8)} ${text}\n`)
}

/** By route: a namespace may not be told to use every algorithm there is by default. */
async function setTcp(lab: Lab, control: string): Promise<void> {
  const route = ['ip', 'route', 'replace', '192.168.50.0/24', 'dev', 'eth0', 'src', NEAR, 'congctl', control]
  const { code, stderr } = await lab.exec('h1', route)
  if (code !== 0) throw new Error(`no ${control} here: ${stderr.trim()}`)
}

async function measure(lab: Lab, subject: LossySubject, seconds: number, report: Report): Promise<void> {
  const host = (name: string, address: string): BenchHost => ({
    address,
    spawn: (command) => lab.spawn(name, [...command]),
  })
  if ('tcp' in subject) await setTcp(lab, subject.tcp)
  const { name, transport, roomy } = subject
  const setup = { host: FAR, home: '', path: '', variant: '' }
  const server = new Worker(host('h2', FAR), 'serve', transport, setup, roomy)
  const started = [server]
  try {
    const reach = await server.ready()
    const client = new Worker(host('h1', NEAR), 'dial', transport, { ...setup, ...reach }, roomy)
    started.push(client)
    await client.ready()
    const { cold } = await client.ask({ do: 'connect', warm: 0 })
    report.add('connect', 'daemon', name, 'ms', Number(cold))
    await client.ask({ do: 'pour', streams: 1 })
    await sleep(WARM_UP_SECONDS * 1000)
    const used = (): number => cpuOf(server.pid) + cpuOf(client.pid)
    const cpu = used()
    const from = await server.ask({ do: 'mark' })
    await sleep(seconds * 1000)
    const to = await server.ask({ do: 'mark' })
    const elapsed = Number(to.at) - Number(from.at)
    const goodput = ((Number(to.bytes) - Number(from.bytes)) * 8) / elapsed / 1000
    progress(`${name}: ${formatNumber(goodput)} Mbit/s`)
    report.add('goodput', 'daemon', name, 'Mbit/s', goodput)
    report.add('cpu', 'daemon', name, '%', ((used() - cpu) / elapsed) * 100_000)
  } finally {
    await Promise.all(started.map((worker) => worker.stop()))
  }
}

function table(report: Report): string {
  const columns = [
    ['goodput', 'Mbit/s'],
    ['connect', 'ms'],
    ['cpu', '% of a core'],
  ] as const
  const cell = (metric: string, name: string): string => {
    const value = report.value(metric, 'daemon', name)
    return value === undefined ? '–' : formatNumber(value)
  }
  const rows = [
    ['', ...columns.map(([metric, unit]) => `${metric}, ${unit}`)],
    ...SUBJECTS.map(({ name }) => [name, ...columns.map(([metric]) => cell(metric, name))]),
  ]
  return rows
    .map(([name = '', ...cells]) => name.padEnd(20) + cells.map((text) => text.padStart(18)).join(''))
    .join('\n')
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '9' },
    subjects: { type: 'string' },
  },
})
const missing = labMissing(['sysctl'])
if (missing) {
  progress(missing)
  process.exit(1)
}
const wanted = values.subjects?.split(',')
const subjects = SUBJECTS.filter(({ name }) => !wanted || wanted.includes(name))
const report = new Report()
const peersMissing = subjects.some(({ transport }) => transport === 'node-datachannel')
  ? await installPeers()
  : undefined
{
  const wire = Object.entries(WIRE).map(([key, value]) => `${key}=${value}`)
  await using lab = await Lab.up('lan', { n: 2, wire: [`h1:${wire.join(',')}`] })
  for (let run = 0; run < Number(values.runs); run++) {
    for (const subject of subjects) {
      progress(`run ${run + 1} of ${values.runs}: ${subject.name}`)
      try {
        if (subject.transport === 'node-datachannel' && peersMissing) throw new Error(peersMissing)
        await measure(lab, subject, Number(values.seconds), report)
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        progress(`failed: ${subject.name}: ${reason}`)
        report.fail('goodput', 'daemon', subject.name, reason)
      }
    }
  }
}
if (values.json) process.stdout.write(report.json())
process.stderr.write(`${table(report)}\n`)
process.exit(0)
