import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type MetricsSource, renderMetrics } from '../../daemon/metrics/metrics.ts'
import { SessionMeter } from '../../daemon/session/meter.ts'
import type { SessionFacts } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'

const facts = (peer: string): SessionFacts => ({
  id: 's',
  peer: peer as PeerId,
  route: 'lan',
  carrier: 'tcp',
  cipher: '',
  group: '',
  local: { address: '10.0.0.1', port: 1 },
  remote: { address: '10.0.0.2', port: 2 },
  state: 'open',
  datagrams: 'none',
  fake: false,
  dialled: true,
  rtt: 1,
  age: 0,
  streams: 2,
  unacknowledged: 0,
})

function session(peer: string): MetricsSource['sessions'][number] {
  const meter = new SessionMeter()
  meter.roundTrip(20)
  meter.messageOut(100, 0)
  const statistics = meter.snapshot({
    now: 0,
    wall: 0,
    lanes: [],
    queued: 5,
    unacknowledged: 6,
    datagrams: undefined,
    fake: null,
  })
  return { facts: facts(peer), statistics }
}

const SOURCE: MetricsSource = {
  version: '0.1.0',
  uptime: 1500,
  memory: 60_000_000,
  links: { open: 3, halfOpen: 1 },
  apps: 2,
  peers: { seen: 1, connected: 2, away: 0 },
  refused: { 'peer.malformed': 4 },
  sessions: [session('anna-and-more-than-twelve'), session('be"n\\\n')],
}

/** Values by name and labels, as a scraper reads them. */
function parse(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

test('metrics tell of the daemon and each session, in seconds and bytes', async () => {
  const { contentType, text } = await renderMetrics(SOURCE)
  expect(contentType).toContain('text/plain; version=0.0.4')
  expect(Object.fromEntries(parse(text))).toMatchObject({
    'partyline_info{version="0.1.0"}': 1,
    partyline_uptime_seconds: 1.5,
    partyline_resident_memory_bytes: 60_000_000,
    'partyline_links{state="half-open"}': 1,
    'partyline_peers{state="connected"}': 2,
    'partyline_refused_total{code="peer.malformed"}': 4,
    'partyline_sessions{route="lan",state="open"}': 2,
    'partyline_session_rtt_seconds{peer="anna-and-mor"}': 0.02,
    'partyline_session_messages_out_total{peer="anna-and-mor"}': 1,
    'partyline_session_streams{peer="be\\"n\\\\\\n"}': 2,
  })
  expect(text).toContain('# TYPE partyline_session_messages_out_total counter')
  // What is not known is left out.
  expect(text).not.toContain('partyline_session_loss_out_ratio{')
})

test('metrics of sessions are bounded, their number is told', async () => {
  const sessions = Array.from({ length: 300 }, (_, i) => session(`peer${i}`.padEnd(12)))
  const values = parse((await renderMetrics({ ...SOURCE, sessions })).text)
  expect([...values.keys()].filter((name) => name.startsWith('partyline_session_streams'))).toHaveLength(256)
  expect(values.get('partyline_sessions{route="lan",state="open"}')).toBe(300)
})

test('the dashboard asks for nothing that is not told', async () => {
  const file = new URL('../../packaging/grafana/partyline.json', import.meta.url)
  const asked = new Set(readFileSync(file, 'utf8').match(/partyline_\w+/g))
  const { text } = await renderMetrics(SOURCE)
  const told = new Set(text.match(/^# TYPE (partyline_\w+)/gm)?.map((line) => line.slice('# TYPE '.length)))
  expect([...asked].filter((name) => !told.has(name))).toEqual([])
})
