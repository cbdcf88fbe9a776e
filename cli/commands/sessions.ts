import { setTimeout as sleep } from 'node:timers/promises'
import { PartylineError } from '../../daemon/errors.ts'
import { arg, type Command, text } from '../command.ts'
import { duration } from '../format.ts'

export const connectCommand: Command = {
  name: 'connect',
  arguments: '<peer>',
  about: 'Opens a session to a peer, or finds the one there is.',
  example: 'partyline connect anna',
  json: '{peer,route,carrier,cipher,group,local,remote,elapsed}',
  async run(context, given) {
    await using client = await context.connect()
    const session = await client.call('sessions.open', { peer: arg(given, 0) })
    context.emit(session)
    context.say(
      `connected in ${duration(session.elapsed)}: ${session.route} over ${session.carrier}, ${session.local} to ${session.remote}`,
    )
    context.say(context.paint('dim', `${session.cipher}, ${session.group}`))
  },
}

export const disconnectCommand: Command = {
  name: 'disconnect',
  arguments: '<peer>',
  about: 'Closes the session to a peer.',
  example: 'partyline disconnect anna',
  json: '{closed}',
  async run(context, given) {
    await using client = await context.connect()
    const result = await client.call('sessions.close', { peer: arg(given, 0) })
    context.emit(result)
    context.say(result.closed ? 'closed' : 'there was no session')
  },
}

export const pingCommand: Command = {
  name: 'ping',
  arguments: '<peer>',
  about: 'Measures round trips to a peer, naming the route of each.',
  options: [{ flags: '-c, --count <n>', about: 'stop after so many', default: '4' }],
  example: 'partyline ping anna -c 10',
  json: 'one {seq,rtt,route} a line, then {sent,received,min,median,max}',
  async run(context, given) {
    const count = Number(text(given, 'count'))
    if (!Number.isInteger(count) || count < 1)
      throw new PartylineError('usage.invalid-argument', '-c takes a number from 1 on')
    await using client = await context.connect()
    const times: number[] = []
    let failure: unknown
    for (let seq = 1; seq <= count && !context.signal.aborted; seq++) {
      try {
        const { rtt, route } = await client.call('sessions.ping', { peer: arg(given, 0) })
        times.push(rtt)
        context.emit({ seq, rtt, route })
        context.say(`${seq}: ${duration(rtt)} (${route})`)
      } catch (error) {
        failure = error
        context.say(`${seq}: ${(error as Error).message}`)
      }
      if (seq < count) await sleep(200, undefined, { signal: context.signal }).catch(() => {})
    }
    const sorted = times.sort((a, b) => a - b)
    if (sorted.length === 0 && failure) throw failure
    const summary = {
      min: sorted[0] ?? null,
      median: sorted[Math.floor(sorted.length / 2)] ?? null,
      max: sorted.at(-1) ?? null,
    }
    context.emit({ sent: count, received: sorted.length, ...summary })
    const { min, median, max } = summary
    if (min !== null && median !== null && max !== null)
      context.say(
        `${sorted.length} of ${count}; shortest ${duration(min)}, median ${duration(median)}, longest ${duration(max)}`,
      )
  },
}
