import { PartylineError } from '../../daemon/errors.ts'
import type { Params } from '../../ipc/methods.ts'
import { arg, type Command, type Given, text } from '../command.ts'
import { fakeText } from './session-status.ts'

type Direction = NonNullable<Params<'sessions.fake'>['out']>

const RATE = /^(\d+(?:\.\d+)?)([kMG]?)$/
const FACTORS = { '': 1, k: 1e3, M: 1e6, G: 1e9 } as const

/** A number of an option, from 0 to `most`; undefined where it was not given. */
function number(given: Given, name: string, most: number): number | undefined {
  const value = text(given, name)
  if (value === undefined) return undefined
  const parsed = value.trim() === '' ? Number.NaN : Number(value)
  if (parsed >= 0 && parsed <= most) return parsed
  throw new PartylineError('usage.invalid-argument', `--${name} takes a number from 0 to ${most}, not "${value}"`)
}

function share(given: Given, name: string): number | undefined {
  const percent = number(given, name, 100)
  return percent === undefined ? undefined : percent / 100
}

function bits(given: Given): number | undefined {
  const value = text(given, 'rate')
  if (value === undefined) return undefined
  const [, digits, unit = ''] = RATE.exec(value) ?? []
  if (digits === undefined)
    throw new PartylineError('usage.invalid-argument', `--rate takes bits per second such as 2M, not "${value}"`)
  return Number(digits) * FACTORS[unit as keyof typeof FACTORS]
}

/** What was asked for; undefined when nothing was. */
function direction(given: Given): Direction | undefined {
  const all = {
    loss: share(given, 'loss'),
    delay: number(given, 'delay', 10_000),
    jitter: number(given, 'jitter', 10_000),
    reorder: share(given, 'reorder'),
    duplicate: share(given, 'duplicate'),
    rate: bits(given),
  }
  const named = Object.entries(all).filter(([, value]) => value !== undefined)
  return named.length === 0 ? undefined : Object.fromEntries(named)
}

export const fakeCommand: Command = {
  name: 'fake',
  arguments: '<peer>',
  about:
    'Makes the network of a session worse than it is, for whoever writes a game (messages and datagrams; streams have links of their own); without options shows what is set.',
  options: [
    { flags: '--loss <percent>', about: 'datagrams lost; on the link a loss is a delay' },
    { flags: '--delay <ms>', about: 'added to everything' },
    { flags: '--jitter <ms>', about: 'added at random, up to this much' },
    { flags: '--reorder <percent>', about: 'datagrams overtaken by those behind them' },
    { flags: '--duplicate <percent>', about: 'datagrams that arrive twice' },
    { flags: '--rate <bits>', about: 'bits per second at most, such as 500k or 2M' },
    { flags: '--out', about: 'only what this host sends; what it receives comes as it is' },
    { flags: '--in', about: 'only what it receives; what it sends goes as it is' },
    { flags: '--off', about: 'the network as it is' },
  ],
  example: 'partyline fake anna --loss 5 --delay 80',
  json: '{fake:{out:{loss,delay,jitter,reorder,duplicate,rate},in:{…}}|null}',
  async run(context, given) {
    const peer = arg(given, 0)
    const wanted = direction(given)
    const { off, out, in: incoming } = given.options
    if (off && wanted) throw new PartylineError('usage.invalid-argument', '--off goes with no other option')
    await using client = await context.connect({ control: true })
    const both = !out && !incoming
    const change = off ? {} : { ...((both || out) && { out: wanted }), ...((both || incoming) && { in: wanted }) }
    const { fake } =
      off || wanted
        ? await client.call('sessions.fake', { peer, ...change })
        : await client.call('sessions.statistics', { peer })
    context.emit({ fake })
    context.say(fake ? context.paint(['bold', 'red'], fakeText(fake)) : 'the network as it is')
  },
}
