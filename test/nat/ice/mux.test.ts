import { expect, test } from 'vitest'
import { newCredentials } from '../../../daemon/nat/ice/credentials.ts'
import { IceMux } from '../../../daemon/nat/ice/mux.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { METHOD } from '../../../daemon/nat/stun/registry.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'
import { candidate, connect } from './agent-pair.ts'

const A = candidate('host', '192.168.1.2')
const B = candidate('host', '192.168.1.3')

test('agents on one socket each get what is for them: checks by their names, answers by what they asked', () => {
  const mux = new IceMux()
  const pairs = [10, 20, 30].map((seed) =>
    connect([A], [B], (wire) => {
      wire.seed = seed
      wire.fate = () => []
    }),
  )
  // All ends `a` share one mux; what they send to their peers is delivered by hand.
  const unregister = pairs.map(({ a }) => mux.register(a.agent))
  for (const { wire, a, b } of pairs) {
    a.agent.networkChanged(wire.now)
    for (const { bytes } of wire.sent.filter(({ from }) => from === a))
      b.mux.receive(StunMessage.decode(bytes), A, wire.now)
    for (const { bytes } of wire.sent.filter(({ from }) => from === b))
      expect(mux.receive(StunMessage.decode(bytes), { address: B.address, port: B.port }, wire.now)).toBe(true)
    expect(a.path).toBe('192.168.1.3:47800')
  }
  for (const stop of unregister) stop()
  expect(mux.transactions).toBe(0)
})

test('an agent that restarts is known by both its names for a while, one that is gone by none', () => {
  const { wire, a, b } = connect([A], [B])
  const [old] = wire.sent.filter(({ from }) => from === b)
  const again = (): boolean => {
    if (!old) throw new Error('nothing was sent')
    return a.mux.receive(StunMessage.decode(old.bytes), { address: B.address, port: B.port }, wire.now)
  }
  a.restart(newCredentials(seededBytes(seeded(9))))
  expect(again()).toBe(true)
  b.learn(a)
  wire.advance(61_000)
  expect(again()).toBe(false)
  expect(a.path).toBe('192.168.1.3:47800')
  a.agent.close()
  expect(a.mux.transactions).toBe(0)
})

test('what is no binding, or answers what nobody asked, is left to others', () => {
  const { wire, a } = connect([A], [B])
  const message = (kind: 'request' | 'success' | 'indication', method: number) =>
    StunMessage.decode(new StunWriter(kind, method, Buffer.alloc(12, 1)).finish())
  for (const one of [
    message('request', METHOD.allocate),
    message('success', METHOD.binding),
    message('indication', METHOD.binding),
    message('request', METHOD.binding),
  ])
    expect(a.mux.receive(one, B, wire.now)).toBe(false)
})
