/** Partyline from app to app: two programs with the SDK, each at the socket of its daemon. */
import { type Client, connect, type Message } from '../../../ipc/index.ts'
import { StreamPipe } from '../stream-pipe.ts'
import type { Messages, Packets, Transport } from '../transport.ts'

const CHANNELS = {
  count: 'bench.count',
  there: 'bench.there',
  back: 'bench.back',
  packets: 'bench.packets',
  reports: 'bench.reports',
} as const
const SERVICE = 'bench'

/** Hands every message of a channel over. */
async function each(client: Client, channel: string, take: (message: Message) => void): Promise<void> {
  const messages = await client.messages(channel)
  const run = async (): Promise<void> => {
    for await (const message of messages) take(message)
  }
  void run()
}

export const partylineApp: Transport = {
  serve: async (service, { home }) => {
    const client = await connect({ home, app: 'bench' })
    const send = (peer: string, channel: string, data: Uint8Array, reliable = true): void => {
      client.call('messages.send', { peer, channel, data, reliable }).catch(() => {})
    }
    let sender = ''
    const take = service.packets((report) => send(sender, CHANNELS.reports, report, false))
    await each(client, CHANNELS.count, () => service.messages++)
    await each(client, CHANNELS.packets, ({ from, data }) => {
      sender = from
      take(data)
    })
    await each(client, CHANNELS.there, ({ from, data }) => send(from, CHANNELS.back, data))
    const streams = async (): Promise<void> => {
      for await (const stream of client.listen(SERVICE)) service.take(new StreamPipe(stream.socket))
    }
    void streams()
    return { host: '', port: 0, detail: client.id }
  },

  prepare: async ({ detail: peer }, { home }) => {
    const client = await connect({ home, app: 'bench' })
    const back = await client.messages(CHANNELS.back)
    const packets: Packets = { onReport: () => {}, send: () => {} }
    await each(client, CHANNELS.reports, ({ data }) => packets.onReport(data))
    return async () => {
      await client.call('sessions.open', { peer })
      return {
        pipe: async () => new StreamPipe((await client.openStream(peer, SERVICE)).socket),
        messages: () => {
          const messages: Messages = {
            onDelivered: () => {},
            send: (data) =>
              void client.call('messages.send', { peer, channel: CHANNELS.count, data }).then(
                () => messages.onDelivered(1),
                () => {},
              ),
            cork: () => {},
            uncork: () => {},
          }
          return messages
        },
        trip: async (payload) => {
          client.call('messages.send', { peer, channel: CHANNELS.there, data: payload }).catch(() => {})
          await back.next()
        },
        packets: () => {
          packets.send = (data) =>
            void client
              .call('messages.send', { peer, channel: CHANNELS.packets, data, reliable: false })
              .catch(() => {})
          return packets
        },
        close: async () => {
          await client.call('sessions.close', { peer })
        },
      }
    }
  },
}
