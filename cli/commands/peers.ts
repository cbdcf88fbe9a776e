import { PartylineError } from '../../daemon/errors.ts'
import type { PeerView } from '../../ipc/methods.ts'
import { arg, type Command, type Context } from '../command.ts'
import { type Paint, peerName, presenceText, printable, routeText, shortId, table, whereSeen } from '../format.ts'
import { fakedPeers } from './session-status.ts'

/** The lines of the peer table, its heading first. */
function peerRows(peers: readonly PeerView[], faked: ReadonlySet<string>, paint: Paint): string[][] {
  const colours = { connected: 'green', seen: 'cyan', away: 'dim' } as const
  const rows = peers.map((peer) => {
    const methods = [...new Set(peer.sightings.map(({ method }) => method))].join(' ')
    return [
      peerName(peer),
      shortId(peer.id),
      peer.kind === 'host' ? 'host' : paint('yellow', 'chat only'),
      paint(colours[peer.state], peer.state),
      paint(PRESENCE_COLOURS[peer.presence.show], presenceText(peer.presence)),
      peer.trust === 'unknown' ? '' : paint(peer.trust === 'blocked' ? 'red' : 'green', peer.trust),
      `${routeText(peer)}${faked.has(peer.id) ? paint(['bold', 'red'], ' FAKE') : ''}`,
      methods,
      whereSeen(peer),
    ]
  })
  const titles = ['NAME', 'ID', 'KIND', 'STATE', 'PRESENCE', 'TRUST', 'ROUTE', 'SEEN BY', 'AT']
  return [titles.map((title) => paint('dim', title)), ...rows]
}

const PRESENCE_COLOURS = { available: 'green', away: 'yellow', busy: 'red' } as const

/** What is said of peers beside the table, each thing once: `anna, ben: …`. */
function notes(peers: readonly PeerView[]): string[] {
  const noted = peers.filter(({ note }) => note !== '')
  const byNote = Map.groupBy(noted, ({ note }) => note)
  return [...byNote].map(([note, about]) => `${about.map(peerName).join(', ')}: ${printable(note)}`)
}

function showAll({ say, paint }: Context, list: readonly PeerView[], faked: ReadonlySet<string>): void {
  const peers = list.toSorted((a, b) => peerName(a).localeCompare(peerName(b)))
  say(table(peerRows(peers, faked, paint)).trimEnd())
  const lines = notes(peers)
  if (lines.length > 0) say(`\n${lines.map((line) => paint('dim', line)).join('\n')}`)
}

export const peersCommand: Command = {
  name: 'peers',
  arguments: '',
  about: 'Shows who is there.',
  options: [
    { flags: '--watch', about: 'go on, and show each change' },
    { flags: '--names', about: 'only their names, one a line' },
  ],
  example: 'partyline peers --watch',
  json: '[{id,kind,name,petname,trust,state,proven,presence:{show,text},note,sightings:[{method,interface,address,port,age}],route,rtt}]; with --watch one object a line',
  async run(context, { options }) {
    await using client = await context.connect()
    if (!options.watch) {
      const peers = await client.call('peers.list', {})
      context.emit(peers)
      if (options.names) for (const peer of peers) context.say(peerName(peer))
      else if (peers.length > 0) showAll(context, peers, await fakedPeers(client))
      else
        context.say(
          'Nobody is here yet. Start Partyline on another machine of this network; `partyline status` tells how the search fares.',
        )
      return
    }
    const events = await client.events(['peers'])
    context.signal.addEventListener('abort', () => void client.close())
    for (const peer of await client.call('peers.list', {})) show(context, 'is here', peer)
    for await (const event of events) {
      if (event.name === 'peers.changed') show(context, event.params.peer.state, event.params.peer)
      if (event.name !== 'peers.gone') continue
      context.emit({ id: event.params.id, name: event.params.name, state: 'gone' })
      context.say(`${peerName({ ...event.params, petname: '' })} is gone`)
    }
    if (!context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
  },
}

function show(context: Context, what: string, peer: PeerView): void {
  context.emit(peer)
  const where = whereSeen(peer)
  const more = [peer.kind === 'host' ? '' : 'chat only', presenceText(peer.presence)].filter((part) => part !== '')
  context.say(`${[`${peerName(peer)} ${what}`, ...more].join(', ')}${where ? ` (${where})` : ''}`)
}

/** A command that changes one peer in the book and shows it. */
function change(name: 'trust' | 'block', about: string, done: string): Command {
  return {
    name,
    arguments: '<peer>',
    about,
    example: `partyline ${name} anna`,
    json: 'the peer, as in `peers`',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const peer = await client.call(`peers.${name}`, { peer: arg(given, 0) })
      context.emit(peer)
      context.say(`${peerName(peer)} ${done}`)
    },
  }
}

export const bookCommands: readonly Command[] = [
  {
    name: 'name',
    arguments: '<peer> <petname>',
    about: 'Gives a peer a petname, which wins over every name it gives itself; "" takes it away.',
    example: 'partyline name mfzwiz anna',
    json: 'the peer, as in `peers`',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const peer = await client.call('peers.name', { peer: arg(given, 0), petname: arg(given, 1) })
      context.emit(peer)
      context.say(`${peer.id.slice(0, 12)} is ${peerName(peer)}`)
    },
  },
  change('trust', 'Trusts a peer, and takes a block back.', 'is trusted'),
  change('block', 'Blocks a peer: its session is closed and it gets no other.', 'is blocked'),
  {
    name: 'forget',
    arguments: '<peer>',
    about: 'Forgets petname, trust and addresses of a peer.',
    example: 'partyline forget anna',
    json: '{}',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      context.emit(await client.call('peers.forget', { peer: arg(given, 0) }))
      context.say(`${arg(given, 0)} is forgotten`)
    },
  },
  {
    name: 'verify',
    arguments: '<peer>',
    about: 'Shows words to compare aloud: both hosts show the same ones for each other.',
    example: 'partyline verify anna',
    json: '{peer,words}',
    async run(context, given) {
      await using client = await context.connect()
      const verification = await client.call('peers.verify', { peer: arg(given, 0) })
      context.emit(verification)
      context.say(context.paint('bold', verification.words.join(' ')))
      context.say(`If ${arg(given, 0)} reads the same words from their screen, run: partyline trust ${arg(given, 0)}`)
    },
  },
]
