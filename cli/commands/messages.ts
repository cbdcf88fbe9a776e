import { createInterface } from 'node:readline'
import { PartylineError } from '../../daemon/errors.ts'
import type { ListenOptions, MessageRequest } from '../../ipc/index.ts'
import { arg, type Command, type Context, text } from '../command.ts'
import { printable } from '../format.ts'

export const messageCommand: Command = {
  name: 'message',
  arguments: '<peer> <channel> <text>',
  about: 'Sends one message; ends when an app at the peer has it.',
  options: [
    { flags: '--unreliable', about: 'may be lost; ends when it has left' },
    { flags: '--now', about: 'unreliable, and dropped when it cannot leave at once' },
    { flags: '--lane <n>', about: 'lane 0 to 15', default: '0' },
    { flags: '--restart', about: 'send it again when the peer restarts or is lost; it may then arrive twice' },
  ],
  example: 'partyline message anna chess e2e4',
  json: '{sent,number,via}',
  async run(context, given) {
    const lane = Number(text(given, 'lane'))
    if (!Number.isInteger(lane) || lane < 0 || lane > 15)
      throw new PartylineError('usage.invalid-argument', '--lane takes a number from 0 to 15')
    const { unreliable, now, restart } = given.options
    await using client = await context.connect()
    const result = await client.send(arg(given, 0), arg(given, 1), arg(given, 2), {
      reliable: !unreliable && !now,
      lane,
      now: now === true,
      restart: restart === true,
    })
    context.emit(result)
    if (unreliable || now) context.say(result.sent ? 'sent' : 'dropped: there was no room')
    else context.say('delivered')
  },
}

const ACCEPT = ['all', 'trusted', 'ask'] as const

export const messagesCommand: Command = {
  name: 'messages',
  arguments: '<channel>',
  about: 'Prints the messages that arrive on a channel.',
  options: [
    {
      flags: '--accept <whose>',
      about: 'all, trusted, or ask: y or n on standard input for each peer',
      default: 'all',
    },
  ],
  example: 'partyline messages chess --accept ask',
  json: 'one {from,channel,text|base64,reliable,lane,number,via,at} a line; with --accept ask also {request:{from,name,channel,expires}}',
  async run(context, given) {
    const accept = ACCEPT.find((one) => one === text(given, 'accept'))
    if (!accept) throw new PartylineError('usage.invalid-argument', '--accept takes all, trusted or ask')
    await using client = await context.connect()
    context.signal.addEventListener('abort', () => void client.close())
    const options: ListenOptions = { accept, ...(accept === 'ask' && { onRequest: asker(context) }) }
    for await (const { data, ...about } of await client.messages(arg(given, 0), options)) {
      const content = Buffer.from(data).toString('utf8')
      const isText = Buffer.from(content, 'utf8').equals(data)
      context.emit({ ...about, ...(isText ? { text: content } : { base64: Buffer.from(data).toString('base64') }) })
      context.say(`${about.from.slice(0, 12)}  ${isText ? printable(content) : `${data.length} bytes`}`)
    }
    if (!context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
  },
}

/** Asks on standard input, one request after another: `y` accepts, `n` refuses, anything else lets it lapse. */
function asker(context: Context): (request: MessageRequest) => Promise<boolean | undefined> {
  const lines = createInterface({ input: context.stdin })[Symbol.asyncIterator]()
  let before: Promise<unknown> = Promise.resolve()
  context.signal.addEventListener('abort', () => context.stdin.destroy())
  const ask = async (request: MessageRequest): Promise<boolean | undefined> => {
    context.emit({ request })
    context.say(`${printable(request.name)} (${request.from.slice(0, 12)}) wants to send messages: accept? [y/n]`)
    const { value = '' } = await lines.next()
    if (/^y(es)?$/i.test(value.trim())) return true
    return /^no?$/i.test(value.trim()) ? false : undefined
  }
  return (request) => {
    const answer = before.then(() => ask(request))
    before = answer
    return answer
  }
}
