import { createInterface } from 'node:readline'
import { PartylineError } from '../../daemon/errors.ts'
import type { ChatLine } from '../../ipc/methods.ts'
import { arg, type Command } from '../command.ts'
import { peerName, printable } from '../format.ts'

export const chatCommand: Command = {
  name: 'chat',
  arguments: '<peer>',
  about: 'A conversation in the terminal, a line at a time, through the encrypted session.',
  example: 'partyline chat anna',
  json: 'one {peer,direction,text,at,encrypted} a line',
  async run(context, given) {
    await using client = await context.connect()
    const peer = await client.call('peers.get', { peer: arg(given, 0) })
    const name = peerName(peer)
    const { paint } = context
    const events = await client.events(['chat'])
    const show = (line: ChatLine): void => {
      context.emit(line)
      const who = line.direction === 'in' ? paint('cyan', name) : paint('dim', 'you')
      const time = new Date(line.at).toLocaleTimeString()
      context.say(
        `${paint('dim', time)} ${who}${line.encrypted ? '' : paint('red', ' (not encrypted)')}: ${printable(line.text)}`,
      )
    }
    context.say(paint('dim', `chat with ${name}, encrypted; an empty line or Ctrl-D ends it`))
    for (const line of await client.call('chat.history', { peer: peer.id, limit: 20 })) show(line)

    const terminal = createInterface({ input: context.stdin, terminal: false })
    context.signal.addEventListener('abort', () => terminal.close())
    let gone = false
    const reading = (async () => {
      for await (const event of events)
        if (
          event.name === 'chat.received' &&
          event.params.line.peer === peer.id &&
          event.params.line.direction === 'in'
        )
          show(event.params.line)
      gone = true
      terminal.close()
    })()
    for await (const line of terminal) {
      if (line === '') break
      const sent = await client.call('chat.send', { peer: peer.id, text: line })
      if (!context.stdin.isTTY) show(sent)
    }
    if (gone && !context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
    await events.return?.()
    await reading
  },
}
