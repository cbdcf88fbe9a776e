/** What Partyline has to reach, as ratios within one benchmark. */
import { formatNumber, type Report, type Scope } from './report.ts'

/** A target beside what was measured. */
export interface Verdict {
  readonly about: string
  readonly target: string
  /** Undefined where something it needs was not measured. */
  readonly measured: number | undefined
  readonly reached: boolean | undefined
}

interface Target {
  readonly about: string
  readonly sign: '≥' | '≤'
  readonly bound: number
  readonly unit?: string
  readonly measure: (report: Report) => number | undefined
}

type Where = readonly [metric: string, scope: Scope, subject: string]

function ratio(one: Where, other: Where): (report: Report) => number | undefined {
  return (report) => {
    const above = report.value(...one)
    const below = report.value(...other)
    return above === undefined || below === undefined ? undefined : above / below
  }
}

/** Of the highest figure of these subjects. */
function ratioToBest(one: Where, subjects: readonly string[]): (report: Report) => number | undefined {
  return (report) => {
    const above = report.value(...one)
    const others = subjects.map((subject) => report.value(one[0], one[1], subject) ?? 0)
    const best = Math.max(0, ...others)
    return above === undefined || best === 0 ? undefined : above / best
  }
}

const KIB = 1024

/** The targets; `peers` are the other P2P libraries. */
function targets(peers: readonly string[]): readonly Target[] {
  return [
    {
      about: 'bulk, daemon to daemon, of bare `node:tls`',
      sign: '≥',
      bound: 0.9,
      measure: ratio(['bulk', 'daemon', 'partyline'], ['bulk', 'daemon', 'node-tls']),
    },
    {
      about: 'bulk, daemon to daemon, of the best other P2P library',
      sign: '≥',
      bound: 5,
      measure: ratioToBest(['bulk', 'daemon', 'partyline'], peers),
    },
    {
      about: 'bulk, app to app, of the bare chain',
      sign: '≥',
      bound: 0.85,
      measure: ratio(['bulk', 'app', 'partyline'], ['bulk', 'app', 'bare-chain']),
    },
    {
      about: 'round trip of 64 B, daemon to daemon, of bare `node:tls`',
      sign: '≤',
      bound: 1.3,
      measure: ratio(['rtt64', 'daemon', 'partyline'], ['rtt64', 'daemon', 'node-tls']),
    },
    {
      about: 'round trip of 64 B, app to app, of the bare chain',
      sign: '≤',
      bound: 1.4,
      measure: ratio(['rtt64', 'app', 'partyline'], ['rtt64', 'app', 'bare-chain']),
    },
    ...(['daemon', 'app'] as const).map(
      (scope): Target => ({
        about: `99th percentile of that round trip, ${scope} to ${scope}, of its median`,
        sign: '≤',
        bound: 4,
        measure: ratio(['rtt64 p99', scope, 'partyline'], ['rtt64', scope, 'partyline']),
      }),
    ),
    {
      about: 'sealed datagrams, daemon to daemon, of bare UDP sealed by `sodium-native`',
      sign: '≥',
      bound: 0.8,
      measure: ratio(['datagrams', 'daemon', 'partyline'], ['datagrams', 'daemon', 'bare-udp']),
    },
    {
      about: 'reliable messages of 64 B, daemon to daemon',
      sign: '≥',
      bound: 150_000,
      unit: ' a second',
      measure: (report) => report.value('messages64', 'daemon', 'partyline'),
    },
    {
      about: 'memory of a session, of 1,000 in one daemon',
      sign: '≤',
      bound: 64,
      unit: ' KiB',
      measure: (report) => {
        const bytes = report.value('memory', 'daemon', 'partyline')
        return bytes === undefined ? undefined : bytes / KIB
      },
    },
    {
      about: 'memory of an idle daemon, of an empty Node process with `node:tls` and `sodium-native`',
      sign: '≤',
      bound: 1.3,
      measure: ratio(['memory idle', 'daemon', 'partyline'], ['memory idle', 'daemon', 'empty-node']),
    },
  ]
}

/** Every target, reached or not. */
export function judge(report: Report, peers: readonly string[]): Verdict[] {
  return targets(peers).map(({ about, sign, bound, unit = '', measure }) => {
    const measured = measure(report)
    const reached = measured === undefined ? undefined : sign === '≥' ? measured >= bound : measured <= bound
    return { about, target: `${sign} ${formatNumber(bound)}${unit}`, measured, reached }
  })
}
