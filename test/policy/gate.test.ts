import { describe, expect, test } from 'vitest'
import { Gate } from '../../daemon/policy/gate.ts'
import { PeerRates } from '../../daemon/policy/peer-rates.ts'
import { AccessRequests } from '../../daemon/policy/requests.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { linkTo, PEER, SETTINGS, World } from './world.ts'

const STRANGER = { ...linkTo('203.0.113.7'), peer: PEER }
const OCCASION = { name: 'ben', invite: undefined, isWanted: false, goesOn: false }
const ADMIT = { kind: 'admit' }

class Door {
  readonly clock = new VirtualClock()
  readonly world = new World()
  limits = { sessions: 0, streams: 0, requests: 0 }
  bearer = ''
  readonly requests = new AccessRequests({ clock: this.clock, onNew: () => {}, onChange: () => {} })
  readonly gate = new Gate({
    clock: this.clock,
    refusals: new Refusals(),
    policy: this.world.policy,
    requests: this.requests,
    rates: new PeerRates(this.clock, (kind) => this.limits[kind]),
    admitsBearer: (_, invite) => invite !== undefined && invite.id === this.bearer,
  })
}

describe('a peer that greets', () => {
  test('is let in where it may, and else told no more than that it is refused', () => {
    const { gate, world } = new Door()
    expect(gate.greeted({ ...linkTo('192.168.50.7'), peer: PEER }, OCCASION)).toEqual(ADMIT)
    const refused = { kind: 'refuse', code: 'policy.refused', answer: 'policy.refused' }
    expect(gate.greeted(STRANGER, OCCASION)).toEqual(refused)
    world.trust = 'blocked'
    expect(gate.greeted(STRANGER, OCCASION)).toEqual({ ...refused, code: 'policy.blocked' })
  })

  test('is let in although it is a stranger, where somebody here calls it, it bears a ticket, or its session goes on', () => {
    const door = new Door()
    door.bearer = 'ours'
    const invite = { id: 'ours', proof: '' }
    for (const occasion of [{ isWanted: true }, { goesOn: true }, { invite }])
      expect(door.gate.greeted(STRANGER, { ...OCCASION, ...occasion })).toEqual(ADMIT)
    expect(door.gate.greeted(STRANGER, { ...OCCASION, invite: { id: 'forged', proof: '' } })).toMatchObject({
      kind: 'refuse',
    })
  })

  test('is not, for none of these, where it is blocked', () => {
    const door = new Door()
    door.world.trust = 'blocked'
    door.world.said = { open: 'open' }
    door.bearer = 'ours'
    const everything = { name: '', invite: { id: 'ours', proof: '' }, isWanted: true, goesOn: true }
    expect(door.gate.greeted({ ...linkTo('127.0.0.1'), peer: PEER }, everything)).toMatchObject({
      code: 'policy.blocked',
    })
  })

  test('has the owner asked where that is to be, and is let in once he has said so', () => {
    const { gate, world, requests } = new Door()
    world.settings = { ...SETTINGS, open: { lan: 'open', internet: 'ask' } }
    expect(gate.greeted(STRANGER, OCCASION)).toMatchObject({ answer: 'policy.asking' })
    expect(requests.list()).toMatchObject([{ peer: PEER, name: 'ben', from: 'internet', address: '203.0.113.7:47800' }])
    requests.refuse(PEER)
    expect(gate.greeted(STRANGER, OCCASION)).toMatchObject({ answer: 'policy.refused' })
    requests.grant(PEER)
    world.isGranted = requests.isGranted(PEER)
    expect(gate.greeted(STRANGER, OCCASION)).toEqual(ADMIT)
  })

  test('is answered so often and no more, one address and all of them', () => {
    const { gate, clock } = new Door()
    const answers = (count: number, address: (i: number) => string): number => {
      let answered = 0
      for (let i = 0; i < count; i++) {
        const verdict = gate.greeted({ ...linkTo(address(i)), peer: PEER }, OCCASION)
        if (verdict.kind === 'refuse' && verdict.answer) answered++
      }
      return answered
    }
    expect(answers(1000, () => '203.0.113.7')).toBe(16)
    expect(answers(1000, (i) => `198.51.${100 + (i >> 8)}.${i & 255}`)).toBeLessThanOrEqual(100)
    clock.advance(60_000)
    expect(answers(1, () => '203.0.113.7')).toBe(1)
  })

  test('opens no more sessions a minute than it may, and asks no more often', () => {
    const door = new Door()
    door.limits = { sessions: 3, streams: 0, requests: 2 }
    const near = { ...linkTo('192.168.50.7'), peer: PEER }
    const times = Array.from({ length: 5 }, () => door.gate.greeted(near, OCCASION).kind)
    expect(times).toEqual(['admit', 'admit', 'admit', 'refuse', 'refuse'])
    expect(door.gate.greeted(near, { ...OCCASION, goesOn: true })).toEqual(ADMIT)
    expect(door.gate.greeted({ ...near, peer: 'b'.repeat(52) as PeerId }, OCCASION)).toEqual(ADMIT)
    door.world.settings = { ...SETTINGS, open: { lan: 'open', internet: 'ask' } }
    const answers = Array.from({ length: 4 }, () => door.gate.greeted(STRANGER, OCCASION))
    expect(answers.map((one) => one.kind === 'refuse' && one.answer)).toEqual([
      'policy.asking',
      'policy.asking',
      undefined,
      undefined,
    ])
    door.clock.advance(60_000)
    expect(door.gate.greeted(near, OCCASION)).toEqual(ADMIT)
  })

  test('over a metered network that is for nothing hears nothing', () => {
    const { gate, world } = new Door()
    world.trust = 'trusted'
    world.settings = { ...SETTINGS, onMetered: 'nothing' }
    world.isMetered = () => true
    expect(gate.greeted(STRANGER, { ...OCCASION, goesOn: true })).toEqual({
      kind: 'refuse',
      code: 'policy.metered',
      answer: undefined,
    })
    expect(gate.mayUse(STRANGER)).toBe(false)
  })
})

test('who asks who lives here hears it on a LAN, and beyond where it might be let in', () => {
  const { gate, world } = new Door()
  expect([gate.mayAnswer(PEER, 'lan'), gate.mayAnswer(PEER, 'internet')]).toEqual([true, false])
  world.settings = { ...SETTINGS, open: { lan: 'trusted', internet: 'ask' } }
  expect([gate.mayAnswer(PEER, 'lan'), gate.mayAnswerOn(STRANGER)]).toEqual([true, true])
  world.trust = 'blocked'
  expect([gate.mayAnswer(PEER, 'lan'), gate.mayAnswer(PEER, 'internet')]).toEqual([false, false])
})
