import { createInterface } from 'node:readline'
import { PartylineError } from '../../daemon/errors.ts'
import type { ChatLine } from '../../ipc/methods.ts'
import { arg, type Command } from '../command.ts'
import { chatSecrecy, peerName, printable, secrecyMark } from '../format.ts'

export const chatCommand: Command = {
  name: 'chat',
  arguments: '<peer>',
  about:
    'A conversation in the terminal, a line at a time: encrypted with hosts, in the clear with plain XMPP clients, which every line says.',
  example: 'partyline chat anna',
  json: 'one {peer,direction,text,at,encrypted,via} a line',
  async run(context, given) {
    await using client = await context.connect()
    const peer = await client.call('peers.get', { peer: arg(given, 0) })
    const name = peerName(peer)
    const { paint, stdin, stdout } = context
    const events = await client.events(['chat'])
    const show = (line: ChatLine): void => {
      context.emit(line)
      const who = line.direction === 'in' ? paint('cyan', name) : paint('dim', 'you')
      const time = new Date(line.at).toLocaleTimeString()
      context.say(`${paint('dim', time)} ${who}${paint('red', secrecyMark(line))}: ${printable(line.text)}`)
    }
    const secrecy = chatSecrecy(peer)
    context.say(
      `${paint('dim', `chat with ${name},`)} ${paint(peer.kind === 'host' ? 'dim' : 'red', secrecy)}${paint('dim', '; an empty line or Ctrl-D ends it')}`,
    )
    for (const line of await client.call('chat.history', { peer: peer.id, limit: 20 })) show(line)

    const terminal = createInterface({ input: stdin, terminal: false })
    context.signal.addEventListener('abort', () => terminal.close())
    let gone = false
    let writing = false
    const reading = (async () => {
      for await (const event of events) {
        if (event.name === 'chat.received' && event.params.line.peer === peer.id) {
          writing = false
          if (event.params.line.direction === 'in') show(event.params.line)
        }
        // Told once until a line comes, however often it is said.
        if (event.name !== 'chat.state' || event.params.peer !== peer.id || !event.params.composing) continue
        if (!writing && stdout.isTTY) context.say(paint('dim', `${name} is writing …`))
        writing = true
      }
      gone = true
      terminal.close()
    })()
    for await (const line of terminal) {
      if (line === '') break
      const sent = await client.call('chat.send', { peer: peer.id, text: line })
      // A terminal shows what was typed, and not that everyone could read it.
      if (!stdin.isTTY) show(sent)
      else if (!sent.encrypted) context.say(paint('red', `  sent${secrecyMark(sent)}`))
    }
    if (gone && !context.signal.aborted) throw new PartylineError('local.closed', 'the daemon has stopped')
    await events.return?.()
    await reading
  },
}
