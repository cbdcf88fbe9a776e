import type { Registry } from 'prom-client'
import type { SessionFacts } from '../session/session.ts'
import type { SessionStatistics } from '../session/statistics.ts'
import type { Milliseconds } from '../types.ts'

/** Sessions that get metrics of their own, and characters of the peer id in their label. */
const MAX_SESSIONS = 256
const PEER_LABEL = 12

/** What the metrics are made of, read when somebody asks. */
export interface MetricsSource {
  readonly version: string
  readonly uptime: Milliseconds
  readonly memory: number
  readonly links: { readonly open: number; readonly halfOpen: number }
  readonly apps: number
  readonly peers: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, number | undefined>>
  readonly sessions: readonly { readonly facts: SessionFacts; readonly statistics: SessionStatistics }[]
}

type SessionValue = (facts: SessionFacts, statistics: SessionStatistics) => number | null

/** Metrics of a session, by name: kind, help and value. Times are seconds, as Prometheus has them. */
const SESSION_METRICS: Readonly<Record<string, readonly ['gauge' | 'counter', string, SessionValue]>> = {
  rtt_seconds: ['gauge', 'Smoothed round trip.', (_, { rtt }) => seconds(rtt.smoothed)],
  rtt_min_seconds: ['gauge', 'Least round trip.', (_, { rtt }) => seconds(rtt.minimum)],
  jitter_seconds: ['gauge', 'Jitter of the round trip.', (_, { rtt }) => seconds(rtt.jitter)],
  loss_out_ratio: ['gauge', 'Share of datagrams lost on the way out.', (_, { out }) => out.loss],
  loss_in_ratio: ['gauge', 'Share of datagrams lost on the way in.', (_, statistics) => statistics.in.loss],
  quality_out_ratio: ['gauge', 'Share of datagrams delivered in order, out.', (_, { out }) => out.quality],
  quality_in_ratio: ['gauge', 'Share of datagrams delivered in order, in.', (_, statistics) => statistics.in.quality],
  capacity_bits_per_second: ['gauge', 'Estimated capacity of the datagram path.', (_, { capacity }) => capacity],
  queued_bytes: ['gauge', 'Bytes of messages that wait to leave.', (_, { queued }) => queued],
  unacknowledged_bytes: [
    'gauge',
    'Bytes of messages not yet acknowledged.',
    (_, statistics) => statistics.unacknowledged,
  ],
  queue_seconds: ['gauge', 'How long the first in a queue has waited.', (_, { queueTime }) => seconds(queueTime)],
  streams: ['gauge', 'Open streams.', ({ streams }) => streams],
  messages_out_total: ['counter', 'Messages sent.', (_, { totals }) => totals.messagesOut],
  messages_in_total: ['counter', 'Messages received.', (_, { totals }) => totals.messagesIn],
  message_bytes_out_total: ['counter', 'Bytes of messages sent.', (_, { totals }) => totals.bytesOut],
  message_bytes_in_total: ['counter', 'Bytes of messages received.', (_, { totals }) => totals.bytesIn],
  messages_dropped_total: [
    'counter',
    'Unreliable messages dropped before they left.',
    (_, { totals }) => totals.dropped,
  ],
  resumes_total: ['counter', 'Links after the first.', (_, { totals }) => totals.resumes],
}

/** The metrics of the daemon and its sessions in the Prometheus text format. The library is loaded by the first who asks. */
export async function renderMetrics(source: MetricsSource): Promise<{ contentType: string; text: string }> {
  const { Counter, Gauge, Registry: NewRegistry } = await import('prom-client')
  const registry: Registry = new NewRegistry()
  const add = (kind: 'gauge' | 'counter', name: string, help: string, labelNames: readonly string[] = []) => {
    const options = { name: `partyline_${name}`, help, registers: [registry], labelNames: [...labelNames] }
    if (kind === 'gauge') {
      const gauge = new Gauge(options)
      return (value: number, labels = {}) => gauge.set(labels, value)
    }
    const counter = new Counter(options)
    return (value: number, labels = {}) => counter.inc(labels, value)
  }

  add('gauge', 'info', 'The version that runs.', ['version'])(1, { version: source.version })
  add('gauge', 'uptime_seconds', 'Time since the daemon started.')(source.uptime / 1000)
  add('gauge', 'resident_memory_bytes', 'Resident set size.')(source.memory)
  add('gauge', 'apps', 'Connected apps.')(source.apps)
  const links = add('gauge', 'links', 'Links by state.', ['state'])
  links(source.links.open, { state: 'open' })
  links(source.links.halfOpen, { state: 'half-open' })
  const peers = add('gauge', 'peers', 'Peers by state.', ['state'])
  for (const [state, count] of Object.entries(source.peers)) peers(count, { state })
  const refused = add('counter', 'refused_total', 'What was refused, by error code.', ['code'])
  for (const [code, count] of Object.entries(source.refused)) refused(count ?? 0, { code })
  const sessions = new Map<string, { facts: SessionFacts; count: number }>()
  for (const { facts } of source.sessions) {
    const key = `${facts.route} ${facts.state}`
    sessions.set(key, { facts, count: (sessions.get(key)?.count ?? 0) + 1 })
  }
  const byState = add('gauge', 'sessions', 'Sessions by route and state.', ['route', 'state'])
  for (const { facts, count } of sessions.values()) byState(count, { route: facts.route, state: facts.state })
  for (const [name, [kind, help, read]] of Object.entries(SESSION_METRICS)) {
    const metric = add(kind, `session_${name}`, help, ['peer'])
    for (const { facts, statistics } of source.sessions.slice(0, MAX_SESSIONS)) {
      const value = read(facts, statistics)
      if (value !== null) metric(value, { peer: facts.peer.slice(0, PEER_LABEL) })
    }
  }
  return { contentType: registry.contentType, text: await registry.metrics() }
}

const seconds = (ms: Milliseconds | null): number | null => (ms === null ? null : ms / 1000)
