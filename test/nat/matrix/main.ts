/** `node test/nat/matrix/main.ts`: NAT against NAT in the lab. `--help` tells the options. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { installPeers } from '../../bench/install.ts'
import { labMissing } from '../../lab/lab.ts'
import { MIGRATIONS, migrate } from '../../scenarios/migrations.ts'
import { cellsNamed } from './cells.ts'
import { nodeDatachannel } from './datachannel/subject.ts'
import { measure, roundTrip } from './measure.ts'
import { asText, writePage } from './page.ts'
import { partyline } from './partyline.ts'
import { type Gap, type Goodput, type Measured, merged, type Results } from './results.ts'

const SUBJECTS = [partyline, nodeDatachannel]

const HELP = `Usage: node test/nat/matrix/main.ts [options]

Connects hosts behind every pair of NATs, and writes down how, and how long it took. Needs root, nftables, conntrack and coturn.

  --only a,b       cells (eim-sym, ipv6, …) or kinds of NAT with all of their cells
  --subject NAME   ${SUBJECTS.map(({ name }) => name).join(' or ')}; both unless told
  --runs N         attempts in each cell, 3 unless told; without a relay there is one
  --gaps           also take sessions from path to path, with traffic, and tell for how long nothing arrived
  --goodput FILE   add what \`node test/bench/lossy.ts --json\` printed
  --crowd FILE     add what \`node test/bench/nat-crowd.ts\` printed
  --json           print what was measured as JSON
  --from FILE      add what an earlier run printed with --json (and measure nothing, with --only none)
  --write          write docs/nat.md
`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    subject: { type: 'string' },
    runs: { type: 'string', default: '3' },
    gaps: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    from: { type: 'string' },
    goodput: { type: 'string' },
    crowd: { type: 'string' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

function progress({ cell, subject, relay, route, first, ms, reason, asExpected }: Measured): void {
  const way = first === '' || first === route ? route : `${first} → ${route}`
  const where = `${cell} ${subject}${relay ? '' : ' without a relay'}`
  process.stderr.write(`${asExpected ? ' ' : '!'} ${where}: ${way} ${Math.round(ms)} ms ${reason}\n`)
}

async function run(): Promise<Results> {
  const runs = Number(values.runs)
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs is a number of at least 1')
  const subjects = SUBJECTS.filter(({ name }) => values.subject === undefined || values.subject === name)
  if (subjects.length === 0) throw new Error(`no subject ${values.subject}`)
  const cells = values.only === 'none' ? [] : cellsNamed(values.only?.split(',') ?? [])
  const missing = labMissing(['turnserver', 'openssl', 'ss', 'conntrack'])
  if (missing) throw new Error(missing)
  const noPeers = subjects.includes(nodeDatachannel) ? await installPeers() : undefined
  if (noPeers) throw new Error(noPeers)
  return {
    at: new Date().toISOString(),
    roundTrip: await roundTrip(),
    runs,
    measured: await measure({ cells, subjects, runs, onMeasured: progress }),
    gaps: values.gaps ? await allGaps() : [],
    ...(values.crowd !== undefined && { crowd: readFileSync(values.crowd, 'utf8').trim() }),
    ...(values.goodput !== undefined && { goodput: readGoodput(values.goodput) }),
  }
}

function readGoodput(file: string): readonly Goodput[] {
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Goodput)
}

async function allGaps(): Promise<readonly Gap[]> {
  const gaps: Gap[] = []
  for (const [name, migration] of Object.entries(MIGRATIONS)) {
    process.stderr.write(`  ${name}\n`)
    gaps.push(...(await migrate(migration)))
  }
  return gaps
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(HELP)
  const now = await run()
  const results =
    values.from === undefined ? now : merged(JSON.parse(readFileSync(values.from, 'utf8')) as Results, now)
  process.stdout.write(values.json ? `${JSON.stringify(results, undefined, 1)}\n` : asText(results))
  if (values.write) writePage(results)
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
