import type { Params, Result } from '../../ipc/methods.ts'
import { arg, type Command, type Context } from '../command.ts'
import { duration, printable, shortId, table } from '../format.ts'

type PolicyView = Result<'policy.get'>

const POLICY_JSON = '{peer,name,rules:[{key,value,by,about}],metered:[interface]}'
/** Whose word a rule is, as people say it. */
const BY: Readonly<Record<PolicyView['rules'][number]['by'], string>> = {
  default: 'default',
  setting: 'as set',
  peer: 'as set for this peer',
  trust: 'by its trust',
  once: 'let in for a while',
}

function show(context: Context, view: PolicyView): void {
  const { paint } = context
  context.emit(view)
  if (view.peer !== null) context.say(paint('bold', `${printable(view.name)} ${shortId(view.peer)}`.trim()))
  const rows = view.rules.map(({ key, value, by, about }) => [
    paint('bold', key),
    by === 'default' ? value || '""' : paint('green', value || '""'),
    paint('dim', BY[by]),
    paint('dim', view.peer === null ? '' : about),
  ])
  context.say(table(rows).trimEnd())
  if (view.metered.length > 0) context.say(`metered now: ${view.metered.map(printable).join(', ')}`)
}

export const policyCommands: readonly Command[] = [
  {
    name: 'policy',
    arguments: '[peer]',
    about: 'Shows who may do what here, or what that comes to for one peer, and whose word each part is.',
    example: 'partyline policy anna-laptop',
    json: POLICY_JSON,
    async run(context, given) {
      await using client = await context.connect()
      const [peer] = given.args
      show(context, await client.call('policy.get', peer === undefined ? {} : { peer }))
      if (peer === undefined)
        context.say(
          context.paint('dim', '`partyline config set KEY VALUE` changes it, `partyline policy set PEER` for one.'),
        )
    },
  },
  {
    name: 'policy set',
    arguments: '<peer> <key> <value>',
    about:
      'Decides about one peer: open (open, ask, trusted), share (all, public, relay, none), relay, signals (true, false).',
    example: 'partyline policy set anna-laptop share relay',
    json: POLICY_JSON,
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const key = arg(given, 1) as Params<'policy.set'>['key']
      show(context, await client.call('policy.set', { peer: arg(given, 0), key, value: arg(given, 2) }))
    },
  },
  {
    name: 'policy reset',
    arguments: '<peer> [key]',
    about: 'Lets the settings decide about a peer again: one thing, or all.',
    example: 'partyline policy reset anna-laptop share',
    json: POLICY_JSON,
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const key = given.args[1] as Params<'policy.reset'>['key']
      show(context, await client.call('policy.reset', { peer: arg(given, 0), ...(key !== undefined && { key }) }))
    },
  },
  {
    name: 'requests',
    arguments: '',
    about: 'Shows peers that ask to be let in, and those that a friend introduced.',
    example: 'partyline requests',
    json: '[{peer,name,from,address,by,first,last,count}]',
    async run(context) {
      await using client = await context.connect({ control: true })
      const requests = await client.call('requests.list', {})
      context.emit(requests)
      if (requests.length === 0) return context.say('Nobody asks to be let in.')
      const rows = requests.map(({ peer, name, from, address, by, last, count }) => [
        printable(name) || context.paint('dim', 'no name yet'),
        peer,
        by === '' ? `from the ${from === 'lan' ? 'LAN' : 'internet'}` : `introduced by ${shortId(by)}`,
        address,
        count === 1 ? 'once' : `${count} times`,
        `${duration(Math.max(0, Date.now() - last))} ago`,
      ])
      context.say(table(rows).trimEnd())
      context.say(context.paint('dim', '`partyline requests accept PEER [--once|--trust]`, or `refuse PEER [--block]`'))
    },
  },
  {
    name: 'requests accept',
    arguments: '<peer>',
    about: 'Lets in a peer that asks, from now on.',
    options: [
      { flags: '--once', about: 'only for the next ten minutes' },
      { flags: '--trust', about: 'and trusts it' },
    ],
    example: 'partyline requests accept ben-pc --once',
    json: '{}',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const how = given.options.trust ? 'trust' : given.options.once ? 'once' : 'always'
      context.emit(await client.call('requests.accept', { peer: arg(given, 0), how }))
      const until = how === 'once' ? 'for ten minutes' : how === 'trust' ? 'and is trusted' : 'from now on'
      context.say(`${arg(given, 0)} is let in ${until}`)
    },
  },
  {
    name: 'requests refuse',
    arguments: '<peer>',
    about: 'Does not let in a peer that asks, and does not hear of it for ten minutes.',
    options: [{ flags: '--block', about: 'blocks it' }],
    example: 'partyline requests refuse ben-pc',
    json: '{}',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const block = given.options.block === true
      context.emit(await client.call('requests.refuse', { peer: arg(given, 0), block }))
      context.say(`${arg(given, 0)} is ${block ? 'blocked' : 'not let in'}`)
    },
  },
]
