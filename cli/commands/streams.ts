import { pipeline } from 'node:stream/promises'
import { isErrorCode, PartylineError } from '../../daemon/errors.ts'
import type { AppStream } from '../../ipc/index.ts'
import { arg, type Command, type Context } from '../command.ts'

/** Joins stdin and stdout with a stream, half-close kept; rejects with `peer.reset` when it was cut. */
async function join({ stdin, stdout, signal }: Context, { socket, outcome }: AppStream): Promise<void> {
  signal.addEventListener('abort', () => socket.destroy())
  const up = pipeline(stdin, socket, { end: true })
  const down = pipeline(socket, stdout, { end: false })
  up.catch(() => {})
  await down
  // The peer has said all it wanted to; what we may still be reading from a terminal nobody waits for.
  if (stdin.isTTY) socket.end()
  await up.catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE' && error.code !== 'EPIPE') throw error
  })
  const { clean, error } = await outcome
  if (!clean) throw new PartylineError(isErrorCode(error) ? error : 'peer.reset')
}

export const listenCommand: Command = {
  name: 'listen',
  arguments: '<service>',
  about: 'Accepts one stream to a service and joins stdin and stdout with it, like netcat.',
  example: 'partyline listen backup > backup.tar',
  json: '',
  async run(context, given) {
    await using client = await context.connect()
    await join(context, await client.acceptStream(arg(given, 0), context.signal))
  },
}

export const openCommand: Command = {
  name: 'open',
  arguments: '<peer> <service>',
  about: 'Opens a stream to a service of a peer and joins stdin and stdout with it, like netcat.',
  example: 'tar c photos | partyline open anna backup',
  json: '',
  async run(context, given) {
    await using client = await context.connect()
    await join(context, await client.openStream(arg(given, 0), arg(given, 1)))
  },
}
