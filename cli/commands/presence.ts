import { PartylineError } from '../../daemon/errors.ts'
import type { Params, Result } from '../../ipc/methods.ts'
import type { Command } from '../command.ts'
import { printable } from '../format.ts'

type Show = Result<'presence.get'>['show']

const SHOWS: readonly Show[] = ['available', 'away', 'busy']
const COLOURS = { available: 'green', away: 'yellow', busy: 'red' } as const

export const presenceCommand: Command = {
  name: 'presence',
  arguments: '[available|away|busy] [text...]',
  about: 'Shows whether others see you available, away or busy; or sets it, with a text of your own.',
  example: 'partyline presence away "at lunch"',
  json: '{show,text}',
  async run(context, { args: [show, ...words] }) {
    const wanted = show === undefined ? undefined : parse(show, words.join(' '))
    await using client = await context.connect()
    const presence = await (wanted ? client.call('presence.set', wanted) : client.call('presence.get', {}))
    context.emit(presence)
    const text = presence.text === '' ? '' : `: ${printable(presence.text)}`
    context.say(`${context.paint(COLOURS[presence.show], presence.show)}${text}`)
  },
}

function parse(given: string, text: string): Params<'presence.set'> {
  const show = SHOWS.find((one) => one === given)
  if (!show)
    throw new PartylineError('usage.invalid-argument', `a presence is available, away or busy, not "${given}"`, {
      hint: 'A text goes behind it: `partyline presence away "at lunch"`.',
    })
  return { show, text }
}
