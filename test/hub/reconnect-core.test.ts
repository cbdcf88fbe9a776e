import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { expect, it } from 'vitest'

const require = createRequire(import.meta.url)
const reconnect = require('reconnect-core')

it('the stand-in for reconnect-core tells of the socket it is given and of its end, and dials nothing', () => {
  const told: string[] = []
  const emitter = new EventEmitter() as EventEmitter & {
    reconnect: boolean
    connect(given: object): void
    end(): void
  }
  for (const name of ['connect', 'connection', 'disconnect', 'reconnect']) emitter.on(name, () => told.push(name))
  const socket = Object.assign(new EventEmitter(), { end: () => told.push('end') })
  reconnect(({ socket: given }: { socket: EventEmitter }) => given)({ emitter })
  emitter.end()
  expect(told).toEqual([])
  emitter.connect({ socket })
  expect(told).toEqual(['connect', 'connection'])
  emitter.end()
  socket.emit('close')
  expect(told).toEqual(['connect', 'connection', 'end', 'disconnect'])
  expect(emitter.reconnect).toBe(false)
})
