import fc from 'fast-check'
import { expect, test } from 'vitest'
import { acknowledge, FrameReader, messagesOver } from './framing.ts'
import type { Pipe } from './transport.ts'

/** Two ends of a pipe in memory that cuts what is written into pieces. */
function pipes(cut: number, keepsMessages: boolean): [Pipe, Pipe] {
  const end = (): Pipe => ({
    chunk: 1024,
    keepsMessages,
    onData: () => {},
    onDrain: () => {},
    write: () => true,
    cork: () => {},
    uncork: () => {},
  })
  const [one, other] = [end(), end()]
  const connect = (from: Pipe, to: Pipe): void => {
    from.write = (bytes) => {
      const step = keepsMessages ? bytes.length : cut
      for (let at = 0; at < bytes.length; at += step) to.onData(bytes.subarray(at, at + step))
      return true
    }
  }
  connect(one, other)
  connect(other, one)
  return [one, other]
}

test('messages are read as they were sent, however the bytes are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), fc.integer({ min: 1, max: 97 }), (sent, cut) => {
      const received: Uint8Array[] = []
      const reader = new FrameReader((message) => received.push(Uint8Array.from(message)))
      const bytes = Buffer.concat(
        sent.flatMap((message) => {
          const length = Buffer.alloc(4)
          length.writeUInt32BE(message.length)
          return [length, message]
        }),
      )
      for (let at = 0; at < bytes.length; at += cut) reader.take(bytes.subarray(at, at + cut))
      expect(received).toStrictEqual(sent)
    }),
  )
})

test.each([true, false])('every message is acknowledged (message boundaries kept: %s)', async (keepsMessages) => {
  const [near, far] = pipes(5, keepsMessages)
  let arrived = 0
  far.onData = acknowledge(far, () => arrived++)
  const messages = messagesOver(near)
  const delivered = new Promise<number>((resolve) => {
    let count = 0
    messages.onDelivered = (more) => {
      count += more
      if (count === 3) resolve(count)
    }
  })
  for (let i = 0; i < 3; i++) messages.send(Buffer.alloc(64, i))
  expect(await delivered).toBe(3)
  expect(arrived).toBe(3)
})
