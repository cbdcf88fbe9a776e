import type { Duplex } from 'node:stream'
import type { SessionStream } from '../session/session.ts'

/**
 * Joins an app's socket with a stream: raw bytes both ways, half-close kept, each side as fast as the other takes it.
 *
 * TLS gives at most 16 KiB at a time. Written one by one they would cost a system call each; corked until the end of the
 * turn they leave in one (measured: 30 % more bytes a second than `pipe`).
 */
export function joinStream(app: Duplex, stream: SessionStream): void {
  const { socket } = stream
  let sent = 0
  let received = 0
  app.on('error', () => app.destroy())

  pump(app, socket, (bytes) => {
    sent += bytes
  })
  app.once('end', () => stream.endWriting(sent))
  app.once('close', () => {
    // Gone before it had written and read everything: whatever is on its way is of no use to anybody.
    if (!app.readableEnded || !app.writableFinished) stream.reset('peer.reset')
  })

  pump(socket, app, (bytes) => {
    received += bytes
  })
  socket.once('end', () => {
    void stream.endReading(received).then((clean) => (clean ? app.end() : app.destroy()))
  })
  void stream.outcome.then(({ clean }) => {
    if (!clean) app.destroy()
  })
  stream.onProgress(() => ({ sent, received }))
}

function pump(from: Duplex, to: Duplex, count: (bytes: number) => void): void {
  let corked = false
  const uncork = (): void => {
    corked = false
    to.uncork()
  }
  from.on('data', (chunk: Buffer) => {
    count(chunk.length)
    if (!corked) {
      corked = true
      to.cork()
      setImmediate(uncork)
    }
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
  from.resume()
}
