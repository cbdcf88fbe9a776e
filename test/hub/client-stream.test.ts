import { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CLIENT_LIMITS, ClientStream } from '../../daemon/hub/client-stream.ts'
import { TokenBucket } from '../../daemon/token-bucket.ts'
import { VirtualClock } from '../virtual-clock.ts'

/** A connection whose other side reads when the test says so. */
class StubSocket extends EventEmitter {
  writableLength = 0
  writable = true
  writableCorked = 0
  paused = false
  destroyed = false

  write(text: string): boolean {
    this.writableLength += text.length
    return false
  }
  cork(): void {}
  uncork(): void {}
  end(): void {}
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.writable = false
    this.emit('close')
  }
}

function streamOn(socket: StubSocket, clock: VirtualClock) {
  const told: string[] = []
  const stream = new ClientStream({
    socket: socket as unknown as TLSSocket,
    clock,
    limits: CLIENT_LIMITS,
    guard: () => ({ push: () => {} }),
    maxUnsent: () => 2 * CLIENT_LIMITS.unsent,
    onViolation: (error) => told.push(String((error as { condition?: string }).condition)),
    onSlow: () => told.push('slow'),
    onIdle: () => told.push('idle'),
  })
  stream.restart()
  return { stream, told }
}

describe('who reads slowly', () => {
  const more = 'x'.repeat(CLIENT_LIMITS.unsent + 1)

  it('is cut off after two seconds with more than 256 KiB unsent', () => {
    const [socket, clock] = [new StubSocket(), new VirtualClock()]
    const { stream, told } = streamOn(socket, clock)
    stream.write(more)
    clock.advance(CLIENT_LIMITS.patience - 1)
    expect(told).toEqual([])
    clock.advance(1)
    expect([told, socket.destroyed, stream.write('y')]).toEqual([['slow'], true, false])
  })

  it('stays when it catches up', () => {
    const [socket, clock] = [new StubSocket(), new VirtualClock()]
    const { stream, told } = streamOn(socket, clock)
    stream.write(more)
    socket.writableLength = 0
    clock.advance(CLIENT_LIMITS.patience)
    expect([told, socket.destroyed]).toEqual([[], false])
  })

  it('is cut off at once at the most that may wait', () => {
    const [socket, clock] = [new StubSocket(), new VirtualClock()]
    const { stream, told } = streamOn(socket, clock)
    stream.write(more)
    stream.write(more)
    expect([told, socket.destroyed]).toEqual([['slow'], true])
  })
})

it('who sends fast is stopped, and all it sent comes through in time, in order', () => {
  const [socket, clock] = [new StubSocket(), new VirtualClock()]
  const { stream } = streamOn(socket, clock)
  let came = ''
  stream.on('data', (text: string) => {
    came += text
  })
  const sent = Array.from({ length: 40_000 }, (_, i) => `<é${i}/>`).join('')
  socket.emit('data', Buffer.from(sent))
  expect(socket.paused).toBe(true)
  expect(Buffer.byteLength(came)).toBeLessThan(CLIENT_LIMITS.bytes.burst + 4096)
  clock.advance(10_000)
  expect(came).toBe(sent)
  expect(socket.paused).toBe(false)
})

it('stanzas in one packet are stopped soon after the tokens are gone', () => {
  const [socket, clock] = [new StubSocket(), new VirtualClock()]
  const { stream } = streamOn(socket, clock)
  let stanzas = 0
  stream.on('data', (text: string) => {
    for (const _end of text.matchAll(/>/g)) {
      stanzas++
      stream.charge(0)
    }
  })
  socket.emit('data', Buffer.from('<p/>'.repeat(4000)))
  expect(stanzas).toBeLessThan(CLIENT_LIMITS.stanzas.burst + 10)
})

it('nothing is read while a log-in waits for its answer', () => {
  const [socket, clock] = [new StubSocket(), new VirtualClock()]
  const { stream } = streamOn(socket, clock)
  const came: string[] = []
  stream.on('data', (text: string) => came.push(text))
  stream.hold()
  socket.emit('data', Buffer.from('<a/>'))
  expect([came, socket.paused]).toEqual([[], true])
  stream.release()
  expect([came, socket.paused]).toEqual([['<a/>'], false])
})

it('timers end with the connection', () => {
  const [socket, clock] = [new StubSocket(), new VirtualClock()]
  const { stream } = streamOn(socket, clock)
  stream.write('x'.repeat(CLIENT_LIMITS.unsent + 1))
  socket.destroy()
  expect(clock.next).toBeUndefined()
})

it('a token bucket lets through its rate and its burst, however it is asked', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ pause: fc.nat(500), use: fc.nat(30) }), { maxLength: 100 }), (steps) => {
      const bucket = new TokenBucket({ rate: 20, burst: 100 }, 0)
      let now = 0
      let used = 0
      for (const { pause, use } of steps) {
        now += pause
        const wait = bucket.wait(now)
        now += wait
        // Rounding may leave a hair's breadth.
        if (wait > 0) now += 0.001
        expect(bucket.wait(now)).toBe(0)
        bucket.use(use, now)
        used += use
        expect(used).toBeLessThanOrEqual(100 + (now / 1000) * 20 + 30)
      }
    }),
  )
})
