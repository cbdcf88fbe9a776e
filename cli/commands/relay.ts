import { PartylineError } from '../../daemon/errors.ts'
import type { Result } from '../../ipc/methods.ts'
import { arg, type Command, type Context, text } from '../command.ts'
import { printable, rate, shortId, size, table } from '../format.ts'

type Status = Result<'relay.status'>

const HOUR = 3_600_000
const STATUS_JSON =
  '{running,friends,listeners:[{transport,port}],addresses,allocations,limits,peers:[{peer,name,allocations,sent:{packets,bytes,rate},received,dropped}]}'

export const relayCommands: readonly Command[] = [
  {
    name: 'relay start',
    arguments: '',
    about: 'Makes this host a STUN and TURN server for its trusted peers (setting `relay.enabled`: at every start).',
    example: 'partyline relay start',
    json: 'as `relay status`',
    async run(context) {
      await using client = await context.connect({ control: true })
      const status = await client.call('relay.start', {})
      context.emit(status)
      showStatus(context, status)
    },
  },
  {
    name: 'relay stop',
    arguments: '',
    about: 'Ends it; what friends relay through the daemon itself goes on (setting `relay.friends`).',
    example: 'partyline relay stop',
    json: '{}',
    async run(context) {
      await using client = await context.connect({ control: true })
      context.emit(await client.call('relay.stop', {}))
      context.say('the relay has ended')
    },
  },
  {
    name: 'relay status',
    arguments: '',
    about: 'Shows whether this host relays, for whom, and how much.',
    example: 'partyline relay status',
    json: STATUS_JSON,
    async run(context) {
      await using client = await context.connect()
      const status = await client.call('relay.status', {})
      context.emit(status)
      showStatus(context, status)
    },
  },
  {
    name: 'relay credentials',
    arguments: '<peer>',
    about:
      'Shows what a trusted peer may relay here with, for its setting `nat.turn`; peers in a session get theirs anyway.',
    options: [{ flags: '--hours <hours>', about: 'how long they are good, 24 unless told, 744 at most' }],
    example: 'partyline relay credentials anna-laptop --hours 48',
    json: '{username,password,expires,urls,servers}',
    async run(context, given) {
      const hours = text(given, 'hours') ?? '24'
      if (!/^\d{1,3}$/.test(hours) || Number(hours) < 1 || Number(hours) > 744)
        throw new PartylineError('usage.invalid-argument', '--hours takes a number from 1 to 744')
      await using client = await context.connect({ control: true })
      const lifetime = Number(hours) * HOUR
      const credentials = await client.call('relay.credentials', { peer: arg(given, 0), lifetime })
      context.emit(credentials)
      for (const server of credentials.servers) context.say(server)
      context.say(context.paint('dim', `good until ${new Date(credentials.expires).toLocaleString()}`))
    },
  },
]

function showStatus(context: Context, status: Status): void {
  const { say, paint } = context
  const { running, friends, listeners, addresses, allocations, limits, peers } = status
  const ports = listeners.map(({ transport, port }) => `${transport} ${port}`).join(', ')
  say(
    running
      ? `${paint('bold', 'relay')} for trusted peers at ${addresses.join(' ') || 'no address'}: ${ports}`
      : 'This host is no relay of its own; `partyline relay start` makes it one.',
  )
  if (friends) say("Trusted peers may relay through the daemon's own port.")
  else if (!running) return
  say(`${allocations} of ${limits.allocations} relayed addresses in use, ${limits.perPeer} for each peer at most`)
  if (peers.length > 0) say(table(peers.map((peer) => peerRow(context, peer))).trimEnd())
}

function peerRow({ paint }: Context, { peer, name, allocations, sent, received, dropped }: Status['peers'][number]) {
  return [
    `  ${printable(name) || shortId(peer)}`,
    allocations === 0 ? paint('dim', 'not now') : `${allocations} relayed`,
    `${size(sent.bytes)} sent, ${rate(sent.rate)}`,
    `${size(received.bytes)} received, ${rate(received.rate)}`,
    dropped === 0 ? '' : paint('yellow', `${dropped} packets over the limit`),
  ]
}
