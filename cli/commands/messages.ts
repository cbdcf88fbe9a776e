import { PartylineError } from '../../daemon/errors.ts'
import { arg, type Command } from '../command.ts'
import { printable } from '../format.ts'

export const messageCommand: Command = {
  name: 'message',
  arguments: '<peer> <channel> <text>',
  about: 'Sends one message; ends when an app at the peer has it.',
  example: 'partyline message anna chess e2e4',
  json: '{}',
  async run(context, given) {
    await using client = await context.connect()
    context.emit(
      await client.call('messages.send', { peer: arg(given, 0), channel: arg(given, 1), data: arg(given, 2) }),
    )
    context.say('delivered')
  },
}

export const messagesCommand: Command = {
  name: 'messages',
  arguments: '<channel>',
  about: 'Prints the messages that arrive on a channel.',
  example: 'partyline messages chess',
  json: 'one {from,channel,text|base64,reliable,at} a line',
  async run(context, given) {
    await using client = await context.connect()
    context.signal.addEventListener('abort', () => void client.close())
    for await (const { from, channel, data, reliable, at } of await client.messages(arg(given, 0))) {
      const text = Buffer.from(data).toString('utf8')
      const isText = Buffer.from(text, 'utf8').equals(data)
      const content = isText ? { text } : { base64: Buffer.from(data).toString('base64') }
      context.emit({ from, channel, ...content, reliable, at })
      context.say(`${from.slice(0, 12)}  ${isText ? printable(text) : `${data.length} bytes`}`)
    }
    if (!context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
  },
}
