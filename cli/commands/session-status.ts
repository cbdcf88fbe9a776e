import type { Client } from '../../ipc/index.ts'
import type { PathView, SessionView, StatisticsView } from '../../ipc/methods.ts'
import type { Context } from '../command.ts'
import { duration, type Paint, peerName, presenceText, printable, rate, size, table, whereSeen } from '../format.ts'

const BARS = '▁▂▃▄▅▆▇█'

/** `12 ms`, or a dash for what is not known yet. */
const time = (ms: number | null): string => (ms === null ? '–' : duration(ms))
/** `0.5 %`, or a dash. */
export const percent = (share: number | null): string =>
  share === null ? '–' : `${Number((share * 100).toFixed(1))} %`

/** One screen about the session to a peer; about the peer, where there is none. */
export async function showSession(context: Context, name: string): Promise<void> {
  await using client = await context.connect()
  const peer = await client.call('peers.get', { peer: name })
  const session = (await client.call('sessions.list', {})).find((one) => one.peer === peer.id)
  const statistics = session && (await client.call('sessions.statistics', { peer: peer.id }))
  const paths = peer.kind === 'host' ? await client.call('sessions.paths', { peer: peer.id }) : []
  context.emit({ peer, session: session ?? null, statistics: statistics ?? null, paths })
  if (context.json) return
  const { paint } = context
  const seen = whereSeen(peer)
  context.say(`${paint('bold', peerName(peer))}  ${printable(peer.id)}`)
  context.say([peer.state, presenceText(peer.presence), seen && `seen at ${seen}`].filter(Boolean).join(', '))
  if (peer.note !== '') context.say(printable(peer.note))
  if (!session || !statistics) {
    if (peer.kind === 'host') context.say(`No session; \`partyline connect ${peerName(peer)}\` opens one.`)
    showPaths(context, paths)
    return
  }
  if (statistics.fake) context.say(paint(['bold', 'red'], fakeText(statistics.fake)))
  context.say(table(sessionRows(session, statistics, paint)).trimEnd())
  if (statistics.lanes.length > 0) context.say(`\n${paint('bold', 'Lanes')}\n${table(laneRows(statistics)).trimEnd()}`)
  context.say(`\n${paint('bold', 'Route')}\n${table(routeRows(statistics)).trimEnd()}`)
  showPaths(context, paths)
}

/** What was tried to reach the peer beside its known addresses. */
function showPaths({ say, paint }: Context, paths: readonly PathView[]): void {
  if (paths.length === 0) return
  const rows = paths.map(({ to, via, local, remote, state, used, rtt, reason }) => [
    used ? paint('green', '  →') : '   ',
    printable(to) + (via ? ` via ${printable(via)}` : ''),
    `${local}–${remote}`,
    state,
    time(rtt),
    printable(reason),
  ])
  say(`\n${paint('bold', 'Paths')}\n${table(rows).trimEnd()}`)
}

function sessionRows(session: SessionView, statistics: StatisticsView, paint: Paint): string[][] {
  const { rtt, out, in: incoming, totals, datagrams, stall } = statistics
  const state = session.state === 'open' ? paint('green', 'open') : paint('yellow', 'looking for another link')
  const path =
    datagrams.state === 'none'
      ? 'none: nobody sent unreliably yet'
      : `${datagrams.state}, ${datagrams.remote || 'no address yet'}`
  const rows = [
    ['session', `${state} for ${duration(session.age)}, ${session.route} over ${session.carrier}`],
    ['link', `${session.local} to ${session.remote}, ${session.cipher}, ${printable(session.group)}`],
    ['ping', `${time(rtt.smoothed)} (least ${time(rtt.minimum)})  ${bars(statistics.ping)}`],
    ['jitter', `${time(rtt.jitter)}  ${bars(statistics.jitter)}`],
    ['out', directionText(out, totals.messagesOut, totals.bytesOut)],
    ['in', directionText(incoming, totals.messagesIn, totals.bytesIn)],
    [
      'waiting',
      `${size(statistics.queued)} to send, for ${duration(statistics.queueTime)}; ${size(statistics.unacknowledged)} not acknowledged`,
    ],
    ['datagrams', datagrams.state === 'none' ? path : `${path}, up to ${datagrams.mtu} bytes`],
    ['capacity', statistics.capacity === null ? '–' : rate(statistics.capacity)],
    ['losses', `${totals.dropped} messages dropped before they left; ${resumed(totals.resumes)}`],
  ]
  if (stall)
    rows.push([
      paint('red', 'lag switch?'),
      `${stall.silences} silences of ${duration(stall.medianSilence)} every ${duration(stall.medianInterval)}, ${stall.burst} packets at once behind each`,
    ])
  return rows.map(([title = '', ...rest]) => [`  ${title}`, ...rest])
}

/** `resumed on another link 2 times` */
function resumed(count: number): string {
  return count === 0 ? 'never lost its link' : `resumed on another link ${count === 1 ? 'once' : `${count} times`}`
}

function directionText(
  { rate: bits, messages, loss, quality }: StatisticsView['out'],
  count: number,
  bytes: number,
): string {
  const lost = loss === null ? '' : `, loss ${percent(loss)}, quality ${percent(quality)}`
  return `${rate(bits)}, ${messages.toFixed(0)} messages/s${lost}; ${count} messages, ${size(bytes)} in all`
}

function laneRows({ lanes }: StatisticsView): string[][] {
  const titles = ['  APP', 'LANE', 'PRIORITY', 'WEIGHT', 'SENT', 'WAITING', 'FOR', 'NOT ACKNOWLEDGED']
  const rows = lanes.map((lane) => [
    `  ${lane.app}`,
    String(lane.lane),
    String(lane.priority),
    String(lane.weight),
    String(lane.sent),
    size(lane.queuedReliable + lane.queuedUnreliable),
    duration(lane.queueTime),
    size(lane.unacknowledged),
  ])
  return [titles, ...rows]
}

function routeRows({ routes }: StatisticsView): string[][] {
  return routes
    .slice(-8)
    .map(({ at, from, to, reason }) => [
      `  ${new Date(at).toLocaleTimeString()}`,
      `${from ?? 'none'} → ${to ?? 'none'}`,
      printable(reason),
    ])
}

/** A bar for each bucket that has something, the highest for the fullest: `▂█▁ ≤1 ≤2 ≤5 ms`. */
function bars({ buckets }: StatisticsView['ping']): string {
  const used = buckets.filter(({ count }) => count > 0)
  const most = Math.max(...used.map(({ count }) => count))
  if (used.length === 0) return ''
  const bar = used.map(({ count }) => BARS[Math.ceil((count / most) * (BARS.length - 1))]).join('')
  return `${bar} ${used.map(({ upTo }) => (upTo === null ? 'more' : `≤${upTo}`)).join(' ')} ms`
}

/** The peers, by id, to whom the network is worse than it is. */
export async function fakedPeers(client: Pick<Client, 'call'>): Promise<ReadonlySet<string>> {
  const sessions = await client.call('sessions.list', {})
  return new Set(sessions.filter(({ fake }) => fake).map(({ peer }) => peer))
}

/** `FAKE NETWORK out: loss 5 %, delay 80 ms; in: …` */
export function fakeText({ out, in: incoming }: NonNullable<StatisticsView['fake']>): string {
  const way = (settings: typeof out): string => {
    const { loss, delay, jitter, reorder, duplicate, rate: bits } = settings
    const parts = [
      loss > 0 && `loss ${percent(loss)}`,
      delay > 0 && `delay ${duration(delay)}`,
      jitter > 0 && `jitter ${duration(jitter)}`,
      reorder > 0 && `reorder ${percent(reorder)}`,
      duplicate > 0 && `duplicate ${percent(duplicate)}`,
      bits > 0 && `rate ${rate(bits)}`,
    ]
    return parts.filter((part) => part !== false).join(', ') || 'as it is'
  }
  return `FAKE NETWORK out: ${way(out)}; in: ${way(incoming)}`
}
