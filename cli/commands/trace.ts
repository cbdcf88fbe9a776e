import { arg, type Command } from '../command.ts'
import { duration, printable } from '../format.ts'

export const traceCommand: Command = {
  name: 'trace',
  arguments: '<peer>',
  about:
    'Shows what happened on the way to a peer and with it, step by step: who was dialled, what answered, what was chosen, and why.',
  example: 'partyline trace anna-laptop',
  json: '{peer,name,steps:[{at,part,text}]}; at in Unix milliseconds',
  async run(context, given) {
    await using client = await context.connect({ control: true })
    const trace = await client.call('trace.read', { peer: arg(given, 0) })
    context.emit(trace)
    const { steps, name } = trace
    if (steps.length === 0) return context.say(`Nothing happened with ${printable(name)} lately.`)
    const width = Math.max(...steps.map(({ part }) => part.length))
    for (const [index, { at, part, text }] of steps.entries()) {
      const pause = at - (steps[index - 1]?.at ?? at)
      const since = pause === 0 ? '' : `+${duration(pause)}`
      const time = new Date(at).toISOString().slice(11, 23)
      const { paint } = context
      context.say(
        `${paint('dim', time)} ${since.padStart(9)}  ${paint('cyan', part.padEnd(width))}  ${printable(text)}`,
      )
    }
  },
}
