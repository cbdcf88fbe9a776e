/** Partyline from app to app: two programs with the SDK, each at the socket of its daemon. */
import { connect } from '../../../ipc/index.ts'
import { StreamPipe } from '../stream-pipe.ts'
import type { Messages, Transport } from '../transport.ts'

const CHANNELS = { count: 'bench.count', there: 'bench.there', back: 'bench.back', packets: 'bench.packets' } as const
const SERVICE = 'bench'

export const partylineApp: Transport = {
  serve: async (service, { home }) => {
    const client = await connect({ home, app: 'bench' })
    const each = async (channel: string, take: (message: { from: string; data: Uint8Array }) => void) => {
      const messages = await client.messages(channel)
      const run = async (): Promise<void> => {
        for await (const message of messages) take(message)
      }
      void run()
    }
    await each(CHANNELS.count, () => service.messages++)
    await each(CHANNELS.packets, () => service.packets++)
    await each(CHANNELS.there, ({ from, data }) => {
      client.call('messages.send', { peer: from, channel: CHANNELS.back, data }).catch(() => {})
    })
    const streams = async (): Promise<void> => {
      for await (const stream of client.listen(SERVICE)) service.take(new StreamPipe(stream.socket))
    }
    void streams()
    return { host: '', port: 0, detail: client.id }
  },

  prepare: async ({ detail: peer }, { home }) => {
    const client = await connect({ home, app: 'bench' })
    const back = await client.messages(CHANNELS.back)
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
          await Promise.all([
            back.next(),
            client.call('messages.send', { peer, channel: CHANNELS.there, data: payload }),
          ])
        },
        packets: () => ({
          send: (data, left) =>
            void client
              .call('messages.send', { peer, channel: CHANNELS.packets, data, reliable: false })
              .then(left, left),
        }),
        close: async () => {
          await client.call('sessions.close', { peer })
        },
      }
    }
  },
}
