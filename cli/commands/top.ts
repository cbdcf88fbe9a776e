import { PartylineError } from '../../daemon/errors.ts'
import type { Client } from '../../ipc/index.ts'
import type { PeerView, SessionView, StatisticsView } from '../../ipc/methods.ts'
import type { Command, Context } from '../command.ts'
import { duration, type Paint, printable, rate, size, table } from '../format.ts'
import { percent } from './session-status.ts'

/** A session and what was measured of it last. */
export interface Measured {
  readonly session: SessionView
  readonly statistics: StatisticsView
  /** What the user calls the peer. */
  readonly name: string
}

/** The lines of the table, its heading first. */
export function topRows(all: readonly Measured[], paint: Paint): string[][] {
  const titles = ['PEER', 'STATE', 'PING', 'JITTER', 'LOSS', 'QUALITY', 'OUT', 'IN', 'WAITING', 'LANES', 'STREAMS']
  const rows = all.map(({ name, session, statistics }) => {
    const { rtt, out, in: incoming, queued, lanes, fake, stall } = statistics
    const marks = [fake && 'FAKE', stall && 'STALLS'].filter(Boolean).join(' ')
    return [
      printable(name),
      marks
        ? paint(['bold', 'red'], marks)
        : paint(session.state === 'open' ? 'green' : 'yellow', session.state === 'open' ? session.route : 'resuming'),
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
  })
  return [titles.map((title) => paint('dim', title)), ...rows]
}

/** Every session with its measurements, by name. */
async function measureAll(client: Client): Promise<Measured[]> {
  const [sessions, peers] = await Promise.all([client.call('sessions.list', {}), client.call('peers.list', {})])
  const nameOf = (session: SessionView): string =>
    peers.find((peer: PeerView) => peer.id === session.peer)?.petname || session.name || session.peer.slice(0, 12)
  const measured = await Promise.all(
    sessions.map(async (session) => ({
      session,
      name: nameOf(session),
      // It may end between the two questions.
      statistics: await client.call('sessions.statistics', { peer: session.peer }).catch(() => undefined),
    })),
  )
  return measured
    .filter((one): one is Measured => one.statistics !== undefined)
    .sort((a, b) => a.name.localeCompare(b.name))
}

const NOBODY = 'No sessions. `partyline connect PEER` opens one.'

function say(context: Context, all: readonly Measured[]): void {
  context.say(all.length === 0 ? NOBODY : table(topRows(all, context.paint)).trimEnd())
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
    const look = async (): Promise<Measured[]> => {
      const all = await measureAll(client)
      for (const { name, session, statistics } of all) context.emit({ peer: session.peer, name, session, statistics })
      return all
    }
    if (options.once) return say(context, await look())
    context.signal.addEventListener('abort', () => void client.close())
    if (context.json || !context.stdout.isTTY || !context.stdin.isTTY) {
      await eachSecond(client, async () => say(context, await look()))
      if (!context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
      return
    }
    const { showTop } = await import('../view/top-screen.ts')
    await showTop(context, (draw) => eachSecond(client, async () => draw(await look())), NOBODY)
  },
}

/** Looks now and each second, until the connection ends. */
async function eachSecond(client: Client, look: () => Promise<void>): Promise<void> {
  const closed = new AbortController()
  const ended = client.events(['sessions']).then(async (events) => {
    for await (const _ of events);
    closed.abort()
  })
  while (!closed.signal.aborted) {
    await look().catch(() => {})
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1000))])
  }
}
