import type { HubStatus } from '../../ipc/methods.ts'
import { arg, type Command } from '../command.ts'
import { duration, presenceText, printable, size, table } from '../format.ts'
import { hubsOfOthers } from './hub.ts'
import { showSession } from './session-status.ts'

export const statusCommand: Command = {
  name: 'status',
  arguments: '[peer]',
  about:
    'Shows this host and how discovery fares; with a peer, the session to it: round trip, loss, queues, lanes, routes, paths.',
  example: 'partyline status anna',
  json: '{version,id,name,port,uptime,interfaces:[{name,kind,addresses,multicast}],discovery:[{method,interface,state,detail}],internet:{…},…}; with a peer {peer,session,statistics,paths}',
  async run(context, given) {
    if (given.args.length > 0) return showSession(context, arg(given, 0))
    await using client = await context.connect()
    const status = await client.call('daemon.status', {})
    context.emit(status)
    if (context.json) return
    const [presence, hub] = await Promise.all([client.call('presence.get', {}), client.call('hub.status', {})])
    const { paint } = context
    const faked = (await client.call('sessions.list', {})).filter(({ fake }) => fake)
    if (faked.length > 0)
      context.say(paint(['bold', 'red'], `FAKE NETWORK to ${faked.map(({ name }) => printable(name)).join(', ')}`))
    context.say(`${paint('bold', printable(status.name))}  ${status.id}`)
    context.say(
      `version ${status.version}, port ${status.port}, up ${duration(status.uptime)}, ${size(status.memory)} of memory`,
    )
    const { seen, connected, away } = status.peers
    context.say(`${seen + connected} peers here (${connected} connected), ${away} away; ${status.apps} apps`)
    context.say(`${presenceText(presence) || presence.show}; ${hubs(hub)}`)
    context.say(`\n${paint('bold', 'Interfaces')}`)
    const interfaces = status.interfaces.map(({ name, kind, participating, addresses }) => [
      `  ${name}`,
      kind,
      participating ? 'takes part' : paint('dim', 'left out'),
      addresses.join(' '),
    ])
    context.say(table(interfaces).trimEnd())
    context.say(`\n${paint('bold', 'Discovery')}`)
    const colours = { active: 'green', failed: 'red', starting: 'yellow', off: 'dim' } as const
    const discovery = status.discovery.map(({ method, interface: on, state, detail }) => [
      `  ${method}`,
      on,
      paint(colours[state as keyof typeof colours] ?? 'dim', state),
      detail,
    ])
    context.say(table(discovery).trimEnd())
    context.say(`\n${paint('bold', 'Internet')}\n  ${status.internet.detail}`)
    const servers = status.internet.servers.map(({ server, kind, state, address, rtt, detail }) => [
      `  ${kind}`,
      printable(server),
      state,
      address,
      rtt === null ? '' : duration(rtt),
      printable(detail),
    ])
    if (servers.length > 0) context.say(table(servers).trimEnd())
    const refused = Object.entries(status.refused)
    if (refused.length === 0) return
    context.say(`\n${paint('bold', 'Refused since start')}`)
    context.say(table(refused.map(([code, count]) => [`  ${code}`, String(count)])).trimEnd())
  },
}

/** `the hub lanparty, 3 logged in; joined den`, `no hub`. */
function hubs(status: HubStatus): string {
  const { running, name, people } = status
  const known = hubsOfOthers(status)
  const joined = known.flatMap((hub) => (hub.state === 'joined' ? [printable(hub.name || hub.domain)] : []))
  const missing = known.length - joined.length
  const parts = [
    running ? `the hub ${printable(name)}, ${people.length} logged in` : '',
    joined.length > 0 ? `joined ${joined.join(', ')}` : '',
    missing > 0 ? `${missing} ${missing === 1 ? 'hub' : 'hubs'} not joined (\`partyline hub status\`)` : '',
  ]
  return parts.filter((part) => part !== '').join('; ') || 'no hub'
}

export const whoamiCommand: Command = {
  name: 'whoami',
  arguments: '',
  about: "Shows this host's id, name, fingerprint words and QR code.",
  example: 'partyline whoami',
  json: '{id,name,words}',
  async run(context) {
    await using client = await context.connect()
    const identity = await client.call('identity.get', {})
    context.emit(identity)
    context.say(`${context.paint('bold', printable(identity.name))}\n${identity.id}\n${identity.words.join(' ')}`)
    if (context.json || !context.stdout.isTTY) return
    const { default: qrcode } = await import('qrcode')
    const link = `partyline:${identity.id}?name=${encodeURIComponent(identity.name)}`
    context.say(await qrcode.toString(link, { type: 'terminal', small: true }))
  },
}
