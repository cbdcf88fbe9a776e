/** Writes docs/nat.md from what was measured. */
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, release, type } from 'node:os'
import { median } from '../../bench/statistics.ts'
import { CELLS, type Cell, OTHER_CELLS } from './cells.ts'
import { KIND_NAMES, KINDS } from './kinds.ts'
import { section, table } from './markdown.ts'
import type { Gap, Measured, Results } from './results.ts'
import type { Obstacle } from './theory.ts'

const PAGE = new URL('../../../docs/nat.md', import.meta.url)
const LOCK = new URL('../../bench/peers/package-lock.json', import.meta.url)
const OURS = 'partyline'
const RIVAL = 'node-datachannel'
const NONE = '–'

export function writePage(results: Results): void {
  writeFileSync(PAGE, page(results))
}

/** The whole page. */
export function page(results: Results): string {
  const find = new Found(results)
  const details = ['<details><summary>Every pair</summary>', everyPair(find), '</details>']
  const parts = [
    '<!-- `node test/nat/matrix/main.ts --write` writes this page. -->',
    '# Through NAT, measured',
    INTRODUCTION,
    verdict(find),
    section('The kinds of NAT', kinds()),
    section('The route of every pair', ROUTES, routes(find)),
    section('Time to the first byte', aboutTimes(results), byRoute(find), ...details),
    section('Without a relay', WITHOUT, impossible(find)),
    section('Other networks', others(find)),
    section('While networks change', ...changes(results.gaps)),
    section('On a long and lossy way', ...goodput(results)),
    section('A crowd at one endpoint', ...(results.crowd ? [CROWD, results.crowd] : [])),
    section('How it was measured', how(results)),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

const INTRODUCTION = `Two hosts that share no LAN find a path through what stands between them: each tells the other the addresses it may have, both send at the
same moment, and the best pair of addresses that works carries the session. Where none can work, a relay (TURN) does. This page tells which way a
session takes between any two kinds of NAT and how long it takes to get there, as measured in a network of namespaces on one machine.`

/** The same for a terminal, without what does not change. */
export function asText(results: Results): string {
  const find = new Found(results)
  return `${[verdict(find), routes(find), byRoute(find), everyPair(find), impossible(find), others(find), ...changes(results.gaps)].filter((part) => part !== '').join('\n\n')}\n`
}

/** What was measured, by cell. */
class Found {
  readonly #all: Results
  constructor(results: Results) {
    this.#all = results
  }

  of(cell: Cell, subject: string, relay: boolean): Measured | undefined {
    return this.#all.measured.find((one) => one.cell === cell.id && one.subject === subject && one.relay === relay)
  }

  get all(): readonly Measured[] {
    return this.#all.measured
  }

  /** Milliseconds in round trips. */
  trips(ms: number): string {
    return (ms / this.#all.roundTrip).toFixed(1)
  }
}

function verdict(find: Found): string {
  const ours = find.all.filter(({ subject }) => subject === OURS)
  if (ours.length === 0) return ''
  const wrong = ours.filter(({ asExpected }) => !asExpected)
  const names = [...new Set(wrong.map(({ cell, relay }) => `${cell}${relay ? '' : ' without a relay'}`))]
  const most = `${ours.length - wrong.length} of ${ours.length} cells end as the theory has it`
  return `**${most}**${names.length === 0 ? '.' : `; not so: ${names.join(', ')}.`}`
}

const CROWD = `What a host pays for its peers when all connect at the same moment, as \`node test/bench/nat-crowd.ts\` counts it on the wire and in its process: candidates,
sockets and relays are those of one. The peers are whole endpoints in one process behind another NAT; signals come without delay, and there is no session above.`

/** One stream over 100 Mbit/s, 50 ms there and back, of which each way loses 1 %. */
function goodput({ goodput: figures = [] }: Results): readonly string[] {
  const value = (subject: string, metric: string): number =>
    figures.find((one) => one.subject === subject && one.metric === metric)?.value ?? Number.NaN
  const subjects = [...new Set(figures.map(({ subject }) => subject))]
  if (subjects.length === 0) return []
  const best = Math.max(...subjects.map((subject) => value(subject, 'goodput')))
  const rows = subjects.map((subject) => [
    subject,
    value(subject, 'goodput').toPrecision(3),
    (value(subject, 'goodput') / best).toFixed(2),
    String(Math.round(value(subject, 'connect'))),
    value(subject, 'cpu').toFixed(1),
  ])
  return [
    `One stream over 100 Mbit/s, 50 ms there and back, each way losing 1 % of the packets; median of ${figures[0]?.runs ?? 0} runs, in one run of \`node test/bench/lossy.ts\`.`,
    table(['', 'goodput, Mbit/s', 'of the best', 'connect, ms', 'CPU of both ends, % of a core'], rows),
    'A punched link is TLS over UDX, which has BBR as the kernel has; its packets go through this process, which costs CPU, and each carries the header of UDX.',
  ]
}

function kinds(): string {
  return [
    table(
      ['kind', 'mapping', 'filtering', 'what it is'],
      KIND_NAMES.map((name) => {
        const { mapping, filtering, udp, about } = KINDS[name]
        return [`\`${name}\``, udp ? mapping : 'no UDP', udp ? filtering : '', about]
      }),
    ),
    '',
    'Mapping (RFC 4787): the port outside is the same for every destination (EIM), or another for each address (ADM), or each address and port (APDM).',
    'Filtering: anybody may send in (EIF), or known addresses (ADF), or known addresses and ports (APDF).',
  ].join('\n')
}

const ROUTES = [
  '`direct`: one side needs no hole. `punched`: both sent at the same moment. `relay`: there is no other way. Bold: not what the theory expects. TURN',
  'was there for all of them; who has no need of it ends without it.',
].join('\n')

function routes(find: Found): string {
  const cell = (a: string, b: string): string => {
    const one = CELLS.find(({ id }) => id === `${a}-${b}`)
    const measured = one && find.of(one, OURS, true)
    if (!measured) return one ? NONE : ''
    return measured.asExpected ? measured.route : `**${measured.route}**`
  }
  return table(
    ['', ...KIND_NAMES],
    KIND_NAMES.map((a) => [`\`${a}\``, ...KIND_NAMES.map((b) => cell(a, b))]),
  )
}

const aboutTimes = ({ roundTrip, runs }: Results): string =>
  [
    `From \`connect\` to the first byte of the other host's app, on daemons that have just started and have gathered nothing yet; median of ${runs}`,
    `${runs === 1 ? 'run' : 'runs'}. The hosts are ${roundTrip.toFixed(1)} ms apart, there and back, and signals take as long as the packets; \`${RIVAL}\` (libdatachannel, libjuice) has the same`,
    'servers and the same signals. It has TURN over UDP only, so it fails where UDP is blocked, and it may stay on a relay where there is a direct path, which',
    'is in brackets then. The two were measured one after the other; single figures vary by half where the machine has other work.',
  ].join('\n')

/** How the first byte came: what the time depends on. */
function byRoute(find: Found): string {
  const groups = new Map<string, Cell[]>()
  for (const cell of CELLS) {
    const ours = find.of(cell, OURS, true)
    if (!ours || ours.route.includes('failed')) continue
    const { udp } = worst(cell)
    const name = ours.route === 'relay' && !udp ? 'relay, UDP blocked' : ours.route
    groups.set(name, [...(groups.get(name) ?? []), cell])
  }
  const row = ([name, cells]: [string, Cell[]]): string[] => {
    const [ours, theirs] = [OURS, RIVAL].map((subject) => {
      const tried = cells.flatMap((cell) => find.of(cell, subject, true) ?? [])
      const good = tried.filter(({ route }) => !route.includes('failed'))
      return { ms: median(good.map((one) => one.ms)), failed: tried.length - good.length }
    })
    if (!ours || !theirs) return []
    return [
      name,
      String(cells.length),
      ms(ours.ms),
      find.trips(ours.ms),
      `${ms(theirs.ms)}${theirs.failed > 0 ? ` (${theirs.failed} failed)` : ''}`,
      ratio(theirs.ms, ours.ms),
    ]
  }
  return groups.size === 0
    ? ''
    : table(HEAD('route', 'cells'), [...groups].sort(([a], [b]) => a.localeCompare(b)).map(row))
}

const HEAD = (...first: readonly string[]): readonly string[] => [
  ...first,
  'Partyline, ms',
  'in round trips',
  `${RIVAL}, ms`,
  'theirs / ours',
]

function everyPair(find: Found): string {
  const measured = CELLS.filter((cell) => !OTHER_CELLS.includes(cell) && find.of(cell, OURS, true))
  return measured.length === 0
    ? ''
    : table(
        HEAD('pair', 'route'),
        measured.map((cell) => [cell.about, ...figures(find, cell)]),
      )
}

function figures(find: Found, cell: Cell): string[] {
  const ours = find.of(cell, OURS, true)
  const theirs = find.of(cell, RIVAL, true)
  const isUp = ours !== undefined && !ours.route.includes('failed')
  const areThey = theirs !== undefined && !theirs.route.includes('failed')
  const way = ours && ours.first !== '' && ours.first !== ours.route ? `${ours.first}, then ${ours.route}` : ours?.route
  return [
    way ?? NONE,
    isUp ? ms(ours.ms) : NONE,
    isUp ? find.trips(ours.ms) : NONE,
    theirs ? (areThey ? `${ms(theirs.ms)}${theirs.asExpected ? '' : ` (${theirs.route})`}` : 'failed') : NONE,
    isUp && areThey ? ratio(theirs.ms, ours.ms) : NONE,
  ]
}

const ms = (value: number): string => (Number.isNaN(value) ? NONE : String(Math.round(value)))
const ratio = (theirs: number, ours: number): string => {
  const value = theirs / ours
  return Number.isNaN(value) ? NONE : value.toFixed(1)
}

/** What both sides of a cell can do. */
function worst({ routers }: Cell): { udp: boolean } {
  return { udp: Object.values(routers).every((kind) => KINDS[kind].udp) }
}

const WITHOUT = [
  'Without TURN, the pairs that end on a relay above cannot connect at all. The user is told so, and why, within ten seconds; every other pair',
  'connects as it does with one.',
].join('\n')

const OBSTACLES: Record<Obstacle, string> = {
  udp: 'UDP is blocked on one side or both, and nobody accepts TCP from outside',
  symmetric: 'the ports of one side depend on the destination, and the other side lets in only what it expects',
  hairpin: "both are behind one carrier's NAT, which does not lead back what is sent to its own address",
}

function impossible(find: Found): string {
  const blocks = (Object.keys(OBSTACLES) as Obstacle[]).map((obstacle) => {
    const cells = CELLS.filter(({ expected }) => expected.way === 'none' && expected.obstacle === obstacle)
    const told = new Map<string, { cells: string[]; times: number[] }>()
    for (const cell of cells) {
      const measured = find.of(cell, OURS, false)
      if (!measured) continue
      const text = measured.reason === '' ? `connected: ${measured.route}` : measured.reason
      const entry = told.get(text) ?? { cells: [], times: [] }
      entry.cells.push(cell.id)
      entry.times.push(measured.ms)
      told.set(text, entry)
    }
    if (told.size === 0) return ''
    const lines = [...told].map(([text, entry]) => {
      const pairs = entry.cells.map((id) => `\`${id}\``).join(', ')
      return `- ${pairs}; after ${(Math.max(...entry.times) / 1000).toFixed(1)} s: “${text}”`
    })
    const title = OBSTACLES[obstacle]
    return `**${title[0]?.toUpperCase()}${title.slice(1)}.**\n\n${lines.join('\n')}`
  })
  return blocks.filter((block) => block !== '').join('\n\n')
}

function others(find: Found): string {
  const rows = OTHER_CELLS.filter((cell) => find.of(cell, OURS, true)).map((cell) => {
    const without = find.of(cell, OURS, false)
    return [cell.about, ...figures(find, cell), without?.route ?? NONE]
  })
  return rows.length === 0 ? '' : table([...HEAD('network', 'route'), 'without a relay'], rows)
}

function changes(gaps: readonly Gap[]): readonly string[] {
  if (gaps.length === 0) return []
  return [
    [
      'What happens to a transfer and to numbered messages and datagrams, both ways, when the network changes below them. No byte of the transfer and no',
      'reliable message was lost or came twice; the table tells how long unreliable messages, one every few milliseconds, did not arrive.',
    ].join('\n'),
    table(
      ['what happened', 'routes', 'longest gap, ms', 'longest before, ms', 'carried meanwhile'],
      gaps.map(({ name, routes: taken, longest, usual, bytes, messages }) => [
        name,
        taken.join(', '),
        ms(longest),
        ms(usual),
        `${Math.round(bytes / 1e6)} MB, ${messages} messages`,
      ]),
    ),
  ]
}

function how({ at }: Results): string {
  const { packages } = JSON.parse(readFileSync(LOCK, 'utf8')) as { packages: Record<string, { version?: string }> }
  const version = packages[`node_modules/${RIVAL}`]?.version ?? ''
  return [
    `In the lab of \`test/lab\`, on ${at.slice(0, 10)}: network namespaces with real Linux NAT (nftables), each home's way to the internet 5 ms long, coturn as STUN`,
    'and TURN server (UDP, TCP, and TLS on port 443), signals through the hub of a public host on port 443, which even `web` lets out. Before every attempt the',
    'routers forget everything, and both ends start anew. A route is what it is when it has not changed for the better for ten seconds.',
    `${availableParallelism()} cores, ${type()} ${release().split('.').slice(0, 2).join('.')}, Node ${process.versions.node}, ${RIVAL} ${version}. The kinds of NAT are what \`test/lab/natprobe.py\` measures of them.`,
    '',
    '    sudo node test/nat/matrix/main.ts --help',
  ].join('\n')
}
