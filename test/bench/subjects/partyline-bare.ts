/** Partyline from daemon to daemon, without the sockets of apps: sessions between two bare hosts. */
import type { SessionStream } from '../../../daemon/session/session.ts'
import type { PeerId } from '../../../daemon/types.ts'
import { BareHost } from '../bare-session.ts'
import type { Messages, Pipe, Transport } from '../transport.ts'

const CHANNELS = { count: 'count', there: 'there', back: 'back', packets: 'packets' } as const
const SERVICE = 'bench'
const CHUNK = 256 * 1024

/** A session's stream; `begin` when somebody listens. */
function pipeOver(stream: SessionStream): { pipe: Pipe; begin: () => void } {
  const pipe: Pipe = {
    chunk: CHUNK,
    keepsMessages: false,
    onData: () => {},
    onDrain: () => {},
    write: (chunk) => stream.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)),
    cork: () => {},
    uncork: () => {},
  }
  const begin = (): void =>
    stream.read({
      data: (chunk) => {
        pipe.onData(chunk)
        return true
      },
      end: () => stream.end(),
      drain: () => pipe.onDrain(),
    })
  return { pipe, begin }
}

export const partylineBare: Transport = {
  serve: async (service, { host }) => {
    const served = await BareHost.create({
      onMessage: (message) => {
        if (message.channel === CHANNELS.count) service.messages++
        else if (message.channel === CHANNELS.packets) service.packets++
        else void served.session(message.peer)?.send(CHANNELS.back, message.data)
        message.accept()
      },
      onStream: (incoming) => {
        incoming.accept().then(
          (stream) => {
            const { pipe, begin } = pipeOver(stream)
            service.take(pipe)
            begin()
          },
          () => {},
        )
      },
    })
    return { host, port: await served.listen(), detail: served.peer }
  },

  prepare: async ({ host, port, detail }) => {
    let came = (): void => {}
    const handlers = {
      onMessage: (message: { accept(): void }) => {
        message.accept()
        came()
      },
      onStream: () => {},
    }
    const one = await BareHost.create(handlers)
    return async () => {
      const session = await one.open(detail as PeerId, { address: host, port })
      return {
        pipe: async () => {
          const { pipe, begin } = pipeOver(await session.openStream(SERVICE))
          begin()
          return pipe
        },
        messages: () => {
          const messages: Messages = {
            onDelivered: () => {},
            send: (data) =>
              void session.send(CHANNELS.count, data).then(
                () => messages.onDelivered(1),
                () => {},
              ),
            cork: () => {},
            uncork: () => {},
          }
          return messages
        },
        trip: (payload) =>
          new Promise((resolve, reject) => {
            came = resolve
            session.send(CHANNELS.there, payload).catch(reject)
          }),
        packets: () => ({
          send: (data, left) => void session.send(CHANNELS.packets, data, { reliable: false }).then(left, left),
        }),
        close: () => session.close(),
      }
    }
  },
}
