/** Partyline from daemon to daemon, without the sockets of apps: sessions between two bare hosts. */
import type { IncomingMessage, SessionStream } from '../../../daemon/session/session.ts'
import type { PeerId } from '../../../daemon/types.ts'
import { BareHost, openDatagramPort } from '../bare-session.ts'
import type { Messages, Packets, Pipe, Transport } from '../transport.ts'

const CHANNELS = { count: 'count', there: 'there', back: 'back', packets: 'packets', reports: 'reports' } as const
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
    let sender = '' as PeerId
    const take = service.packets((report) => {
      served
        .session(sender)
        ?.send(CHANNELS.reports, report, { reliable: false })
        .catch(() => {})
    })
    const packet = ({ peer, data }: IncomingMessage): void => {
      sender = peer
      take(data)
    }
    const served = await BareHost.create(
      {
        onMessage: (message) => {
          if (message.channel === CHANNELS.count) service.messages++
          else if (message.channel === CHANNELS.packets) packet(message)
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
      },
      await openDatagramPort(),
    )
    return { host, port: await served.listen(), detail: served.peer }
  },

  prepare: async ({ host, port, detail }) => {
    let came = (): void => {}
    const packets: Packets = { onReport: () => {}, send: () => {} }
    const handlers = {
      onMessage: (message: IncomingMessage) => {
        message.accept()
        if (message.channel === CHANNELS.reports) packets.onReport(message.data)
        else came()
      },
      onStream: () => {},
    }
    const one = await BareHost.create(handlers, await openDatagramPort())
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
        packets: () => {
          packets.send = (data) => void session.send(CHANNELS.packets, data, { reliable: false }).catch(() => {})
          return packets
        },
        close: () => session.close(),
      }
    }
  },
}
