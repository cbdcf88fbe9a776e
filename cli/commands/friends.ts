import { arg, type Command } from '../command.ts'
import { printable, shortId, table } from '../format.ts'

export const friendCommands: readonly Command[] = [
  {
    name: 'friends',
    arguments: '',
    about: 'Shows trusted peers in a session: whom each reaches for us, and what this host carries for it.',
    example: 'partyline friends',
    json: '[{peer,name,reaches:[id],carried:{signals,bytes}}]',
    async run(context) {
      await using client = await context.connect()
      const friends = await client.call('friends.list', {})
      for (const friend of friends) context.emit(friend)
      if (friends.length === 0)
        return context.say('No trusted peer is connected: `partyline trust PEER`, then `partyline connect PEER`.')
      const names = new Map((await client.call('peers.list', {})).map((peer) => [peer.id, peer.petname || peer.name]))
      context.say(
        table(
          friends.map(({ peer, name, reaches, carried }) => [
            printable(name) || shortId(peer),
            reaches.length === 0
              ? context.paint('dim', 'reaches nobody for us')
              : `reaches ${reaches.map((id) => printable(names.get(id) ?? '') || shortId(id)).join(', ')}`,
            carried.signals === 0 ? '' : `${carried.signals} signals carried for it`,
          ]),
        ).trimEnd(),
      )
    },
  },
  {
    name: 'introduce',
    arguments: '<peer> <to>',
    about: 'Tells two trusted peers of each other; each of their owners decides.',
    example: 'partyline introduce anna-laptop ben-pc',
    json: '{}',
    async run(context, given) {
      await using client = await context.connect({ control: true })
      context.emit(await client.call('friends.introduce', { peer: arg(given, 0), to: arg(given, 1) }))
      context.say('both have been told; `partyline requests` shows it to them')
    },
  },
]
