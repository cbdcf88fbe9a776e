import { PartylineError } from '../../daemon/errors.ts'
import { formatHostPort } from '../../daemon/network/network.ts'
import type { HubPerson, HubStatus, Result } from '../../ipc/methods.ts'
import { arg, type Command, type Context, text } from '../command.ts'
import { presenceText, printable, shortId, table } from '../format.ts'

const STATUS_JSON =
  '{running,name,domain,port,addresses,fingerprint,certificate,people:[{jid,name,kind,presence}],hubs:[{peer,name,domain,address,port,state,detail,people}]}'

type Hub = HubStatus & Result<'hub.pin'>

export const hubCommands: readonly Command[] = [
  {
    name: 'hub start',
    arguments: '',
    about: "Makes this host the LAN's XMPP server, and shows how people and hosts log in.",
    options: [{ flags: '--name <name>', about: 'what the hub is called' }],
    example: 'partyline hub start --name lanparty',
    json: 'as `hub status`, with {pin,ticket}',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const name = text(given, 'name')
      const status = await client.call('hub.start', name === undefined ? {} : { name })
      await showDoor(context, { ...status, ...(await client.call('hub.pin', {})) })
    },
  },
  {
    name: 'hub status',
    arguments: '',
    about: 'Shows the hub of this host, who is logged in there, and the hubs it has joined.',
    example: 'partyline hub status',
    json: STATUS_JSON,
    async run(context) {
      await using client = await context.connect()
      const status = await client.call('hub.status', {})
      context.emit(status)
      showStatus(context, status)
    },
  },
  {
    name: 'hub stop',
    arguments: '',
    about: 'Ends the hub of this host; it keeps nothing.',
    example: 'partyline hub stop',
    json: '{}',
    async run(context) {
      await using client = await context.connect({ control: true })
      context.emit(await client.call('hub.stop', {}))
      context.say('the hub has ended')
    },
  },
  {
    name: 'hub pin',
    arguments: '',
    about: 'Shows what people and hosts log in to the hub of this host with, or changes the PIN.',
    options: [
      { flags: '--change', about: 'a new random PIN' },
      { flags: '--pin <digits>', about: 'this PIN, 6 to 12 digits' },
    ],
    example: 'partyline hub pin --change',
    json: 'as `hub status`, with {pin,ticket}',
    async run(context, given) {
      const pin = text(given, 'pin')
      if (pin !== undefined && !/^\d{6,12}$/.test(pin))
        throw new PartylineError('usage.invalid-argument', 'a PIN is 6 to 12 digits')
      await using client = await context.connect({ control: true })
      const door = await client.call('hub.pin', {
        ...(given.options.change === true && { change: true }),
        ...(pin !== undefined && { pin }),
      })
      await showDoor(context, { ...(await client.call('hub.status', {})), ...door })
    },
  },
  {
    name: 'hub join',
    arguments: '<hub>',
    about: 'Joins a hub by its address or ticket, now and at every start.',
    example: 'partyline hub join 192.168.50.254',
    json: 'as `hub status`',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const status = await client.call('hub.join', { hub: arg(given, 0) })
      context.emit(status)
      context.say(table(hubRows(context, hubsOfOthers(status))).trimEnd())
      if (status.hubs.some(({ state }) => state === 'joining'))
        context.say(context.paint('dim', '`partyline hub status` tells how it goes on.'))
    },
  },
  {
    name: 'hub leave',
    arguments: '<hub>',
    about: 'Leaves a hub, by its name, address or ticket, and forgets it.',
    example: 'partyline hub leave lanparty',
    json: 'as `hub status`',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      context.emit(await client.call('hub.leave', { hub: arg(given, 0) }))
      context.say(`left ${printable(arg(given, 0))}`)
    },
  },
]

/** What somebody needs to log in: for whoever stands before the screen. */
async function showDoor(context: Context, hub: Hub): Promise<void> {
  context.emit(hub)
  if (context.json) return
  const { say, paint, stdout } = context
  const { domain, port, pin, ticket } = hub
  const [address] = hub.addresses
  say(`${paint('bold', printable(hub.name))} is open\n`)
  const facts = [
    ['domain', domain],
    ['address', hub.addresses.join(', ') || paint('red', 'none: no network takes part')],
    ['port', String(port)],
    ['PIN', paint(['bold', 'green'], pin)],
    ['certificate', hub.certificate],
    ['SHA-256', hub.fingerprint],
    ['ticket', ticket],
  ]
  say(table(facts.map(([name = '', value = '']) => [`  ${paint('dim', name)}`, value])))
  if (address === undefined) return say('Nobody else can reach it yet: `partyline doctor` tells why.')
  say(`${paint('bold', 'People')} log in with any XMPP client: account nickname@${domain}, password ${pin},`)
  say(`server ${address}, port ${port}, TLS from the first byte ("direct" or "legacy" TLS). In Profanity:\n`)
  say(`  /connect nickname@${domain} server ${address} port ${port} tls legacy\n`)
  say(`${paint('bold', 'Hosts')} that do not find it by themselves (\`partyline hub status\`) join with:\n`)
  say(`  partyline hub join ${formatHostPort({ address, port })}`)
  if (!stdout.isTTY) return
  const { default: qrcode } = await import('qrcode')
  say(`\n${await qrcode.toString(ticket, { type: 'terminal', small: true })}`)
}

/** The hubs that others run: a host is logged in at its own as well. */
export function hubsOfOthers({ running, domain, hubs }: HubStatus): HubStatus['hubs'] {
  const isOwn = (hub: HubStatus['hubs'][number]): boolean => hub.domain === domain && /^(127\.|::1$)/.test(hub.address)
  return running ? hubs.filter((hub) => !isOwn(hub)) : hubs
}

function showStatus(context: Context, status: HubStatus): void {
  const { say, paint } = context
  const { running, name, domain, addresses, port, people } = status
  const hubs = hubsOfOthers(status)
  if (!running && hubs.length === 0)
    return say(
      'This host is no hub and has joined none. `partyline hub start` makes it one, `partyline hub join ADDRESS` joins another.',
    )
  if (running) {
    say(
      `${paint('bold', printable(name))}, the hub of this host: ${domain}, port ${port} at ${addresses.join(', ') || 'no address'}`,
    )
    say(
      people.length === 0
        ? 'Nobody is logged in; `partyline hub pin` shows how to.'
        : table(personRows(context, people)).trimEnd(),
    )
  }
  if (hubs.length === 0) return
  say(`${running ? '\n' : ''}${paint('bold', 'Joined hubs')}`)
  say(table(hubRows(context, hubs)).trimEnd())
}

function personRows({ paint }: Context, people: readonly HubPerson[]): string[][] {
  return people.map(({ jid, name, kind, presence }) => [
    `  ${printable(name) || shortId(jid)}`,
    kind === 'host' ? 'host' : paint('yellow', 'chat only'),
    kind === 'host' ? shortId(jid) : shortId(`xmpp:${jid}`),
    presenceText(presence),
  ])
}

function hubRows({ paint }: Context, hubs: HubStatus['hubs']): string[][] {
  const colours = { joined: 'green', joining: 'yellow', failed: 'red' } as const
  return hubs.map(({ name, domain, address, port, state, people, detail }) => [
    `  ${printable(name || domain) || '?'}`,
    paint(colours[state], state),
    address === '' ? '' : formatHostPort({ address: printable(address), port }),
    state === 'joined' ? `${people.length} there` : '',
    printable(detail),
  ])
}
