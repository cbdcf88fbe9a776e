import { setTimeout as sleep } from 'node:timers/promises'
import { PartylineError } from '../../daemon/errors.ts'
import type { Client } from '../../ipc/index.ts'
import type { PeerView, SessionView, StatisticsView } from '../../ipc/methods.ts'
import type { Command, Context } from '../command.ts'
import { cut, duration, type Paint, printable, rate, size, table, visibleWidth } from '../format.ts'
import { percent } from './session-status.ts'

/** A session and what was measured of it last. */
export interface Measured {
  readonly session: SessionView
  readonly statistics: StatisticsView
  /** What the user calls the peer. */
  readonly name: string
}

const TITLES = ['PEER', 'STATE', 'PING', 'JITTER', 'LOSS', 'QUALITY', 'OUT', 'IN', 'WAITING', 'LANES', 'STREAMS']
/** What is left out where there is little room, first to last. */
const DISPENSABLE = ['STREAMS', 'LANES', 'WAITING', 'QUALITY', 'JITTER', 'OUT', 'IN', 'LOSS']
/** Longest name shown, in characters. */
const MAX_NAME = 24

/** The table of sessions, its heading first; with fewer of its columns where all of them are wider than `columns`. */
export function topTable(all: readonly Measured[], paint: Paint, columns = Number.POSITIVE_INFINITY): string {
  const rows = [TITLES.map((title) => paint('dim', title)), ...all.map((one) => topRow(one, paint))]
  const draw = (left: number): string => {
    const without = DISPENSABLE.slice(0, left)
    return table(rows.map((row) => row.filter((_, i) => !without.includes(TITLES[i] ?? '')))).trimEnd()
  }
  let text = draw(0)
  for (let left = 1; left <= DISPENSABLE.length && width(text) > columns; left++) text = draw(left)
  return text
}

const width = (text: string): number => Math.max(...text.split('\n').map(visibleWidth))

function topRow({ name, session, statistics }: Measured, paint: Paint): string[] {
  const { rtt, out, in: incoming, queued, lanes, fake, stall } = statistics
  const isOpen = session.state === 'open'
  const alarming = fake !== null || stall !== null
  const state = [isOpen ? session.route : 'resuming', fake && 'FAKE', stall && 'STALLS'].filter(Boolean).join(' ')
  return [
    cut(printable(name), MAX_NAME),
    paint(alarming ? ['bold', 'red'] : isOpen ? 'green' : 'yellow', state),
    rtt.smoothed === null ? '–' : duration(rtt.smoothed),
    rtt.jitter === null ? '–' : duration(rtt.jitter),
    percent(out.loss),
    percent(out.quality),
    rate(out.rate),
    rate(incoming.rate),
    size(queued),
    String(lanes.length),
    String(session.streams),
  ]
}

/** Every session with its measurements, by name; those that have not come by themselves are asked for. */
async function measureAll(client: Client, known: ReadonlyMap<string, StatisticsView>): Promise<Measured[]> {
  const [sessions, peers] = await Promise.all([client.call('sessions.list', {}), client.call('peers.list', {})])
  const nameOf = (session: SessionView): string =>
    peers.find((peer: PeerView) => peer.id === session.peer)?.petname || session.name || session.peer.slice(0, 12)
  const measured = await Promise.all(
    sessions.map(async (session) => ({
      session,
      name: nameOf(session),
      // It may end between the two questions.
      statistics:
        known.get(session.peer) ??
        (await client.call('sessions.statistics', { peer: session.peer }).catch(() => undefined)),
    })),
  )
  return measured
    .filter((one): one is Measured => one.statistics !== undefined)
    .sort((a, b) => a.name.localeCompare(b.name))
}

const NOBODY = 'No sessions. `partyline connect PEER` opens one.'

function say(context: Context, all: readonly Measured[]): void {
  context.say(all.length === 0 ? NOBODY : topTable(all, context.paint, context.stdout.columns))
}

export const topCommand: Command = {
  name: 'top',
  arguments: '',
  about: 'Shows all sessions, how they fare, and goes on each second.',
  options: [{ flags: '--once', about: 'print one table and end' }],
  example: 'partyline top',
  json: 'one {peer,name,session,statistics} a line, each second; with --once once',
  async run(context, { options }) {
    await using client = await context.connect()
    const measured = new Map<string, StatisticsView>()
    const look = async (): Promise<Measured[]> => {
      const all = await measureAll(client, measured)
      for (const { name, session, statistics } of all) context.emit({ peer: session.peer, name, session, statistics })
      return all
    }
    if (options.once) return say(context, await look())
    context.signal.addEventListener('abort', () => void client.close())
    let isOver = false
    const watch = async (draw: (all: readonly Measured[]) => void): Promise<void> => {
      await eachSecond(client, measured, async () => draw(await look()))
      isOver = true
    }
    if (context.json || !context.stdout.isTTY || !context.stdin.isTTY) await watch((all) => say(context, all))
    else {
      const { showTop } = await import('../view/top-screen.ts')
      await showTop(context, watch, NOBODY)
    }
    if (isOver && !context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
  },
}

/** Looks now and each second, until the connection ends; `measured` is kept current meanwhile. */
async function eachSecond(
  client: Client,
  measured: Map<string, StatisticsView>,
  look: () => Promise<void>,
): Promise<void> {
  const over = new AbortController()
  const events = await client.events(['sessions', 'statistics'])
  const following = (async () => {
    for await (const { name, params } of events) {
      if (name === 'sessions.measured') measured.set(params.peer, params.statistics)
      if (name === 'sessions.closed') measured.delete(params.peer)
    }
    over.abort()
  })()
  while (!over.signal.aborted) {
    // It fails only where the connection ends, of which the events tell.
    await look().catch(() => {})
    await sleep(1000, undefined, { signal: over.signal }).catch(() => {})
  }
  await following
}
