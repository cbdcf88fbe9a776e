import { describe, expect, test, vi } from 'vitest'
import { SimulatedLan } from './simulated-lan.ts'

vi.mock('../../daemon/identity/key.ts', async (original) => ({
  ...(await original<typeof import('../../daemon/identity/key.ts')>()),
  verifySignature: (await import('./simulated-keys.ts')).verifySimulated,
}))

const SECOND = 1000
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))

function lanOf(hosts: number, weather: { loss?: number; doubled?: number; delay?: number } = {}): SimulatedLan {
  const lan = new SimulatedLan({ seed: SEED, ...weather })
  for (let i = 0; i < hosts; i++) lan.join()
  return lan
}

describe(`a LAN of hosts with beacons, in virtual time (SEED=${SEED})`, () => {
  test('of twenty, each sees every other within a second, and a newcomer too', () => {
    const lan = lanOf(20)
    lan.run(SECOND)
    expect(lan.isComplete).toBe(true)
    lan.run(10 * SECOND)
    lan.join()
    lan.run(SECOND / 4)
    expect(lan.isComplete).toBe(true)
  })

  test('of two hundred, each sees every other', () => {
    const lan = lanOf(200)
    lan.run(8 * SECOND)
    expect(lan.isComplete).toBe(true)
  })

  test('nearly each sees every other although a fifth of all packets is lost, others come twice or overtake', () => {
    const lan = lanOf(30, { loss: 0.2, doubled: 0.1, delay: 50 })
    lan.run(30 * SECOND)
    expect(lan.completeness).toBeGreaterThan(0.97)
  })

  test('hardly anybody is lost from sight while one packet in ten is lost', () => {
    const lan = lanOf(30, { loss: 0.1 })
    lan.run(30 * SECOND)
    let sum = 0
    for (let i = 0; i < 100; i++) {
      lan.run(SECOND)
      sum += lan.completeness / 100
    }
    expect(sum).toBeGreaterThan(0.999)
  })

  test('one lost answer blinds nobody for longer than a few announcements', () => {
    for (let round = 0; round < 50; round++) {
      const lan = new SimulatedLan({ seed: SEED + round, loss: 0.5 })
      lan.join()
      lan.join()
      for (let waited = 0; !lan.isComplete; waited++) {
        expect(waited, `seed ${SEED + round}`).toBeLessThan(120)
        lan.run(SECOND)
      }
    }
  })

  test('who says goodbye is gone at once, who is killed within 15 seconds, and the others stay', () => {
    const lan = lanOf(20)
    lan.run(10 * SECOND)
    const [leaving, killed] = lan.hosts
    if (!leaving || !killed) throw new Error('nobody there')
    lan.leave(leaving)
    lan.run(10)
    expect(lan.isComplete).toBe(true)
    lan.kill(killed)
    lan.run(15 * SECOND)
    expect(lan.isComplete).toBe(true)
  })

  test('when most leave at once, those that stay do not lose each other', () => {
    const lan = lanOf(80)
    lan.run(20 * SECOND)
    expect(lan.isComplete).toBe(true)
    for (const host of lan.hosts.slice(10)) lan.leave(host)
    for (let i = 0; i < 45; i++) {
      lan.run(SECOND)
      expect(lan.isComplete, `after ${i + 1} s`).toBe(true)
    }
  })

  test('traffic settles below 50 packets a second, answers included', () => {
    for (const hosts of [2, 20, 60]) {
      const lan = lanOf(hosts)
      lan.run(15 * SECOND)
      const before = lan.sent.length
      lan.run(30 * SECOND)
      // One outlet a host here; on a LAN with IPv4 and IPv6 there are two.
      expect((2 * (lan.sent.length - before)) / 30, `${hosts} hosts`).toBeLessThan(50)
    }
  })

  test('recorded packets raise nobody, whoever sends them again and from wherever', () => {
    const lan = lanOf(10)
    lan.run(10 * SECOND)
    const gone = lan.hosts.slice(0, 5)
    const [stays] = lan.hosts.slice(5)
    if (!stays) throw new Error('nobody there')
    for (const host of gone.slice(0, 3)) lan.leave(host)
    for (const host of gone.slice(3)) lan.kill(host)
    lan.run(15 * SECOND)
    const recorded = lan.sent.slice()
    for (const { packet, from } of recorded) {
      lan.inject(packet, from, stays)
      lan.inject(packet, '10.9.9.9', stays)
      lan.run(5)
    }
    for (const host of gone) expect(stays.sees).not.toContain(host.peer)
    expect(stays.refused.get('peer.replayed')).toBeGreaterThan(0)
  })

  test('a flood of forged packets hides nobody', () => {
    const lan = lanOf(10)
    lan.run(5 * SECOND)
    const [victim] = lan.hosts
    const sample = lan.sent[0]?.packet
    if (!victim || !sample) throw new Error('nobody there')
    const forged = Buffer.from(sample)
    for (let i = 0; i < 20_000; i++) {
      forged.writeUInt32BE(i, 60)
      lan.inject(forged, '10.9.9.9', victim)
      lan.run(1)
    }
    expect(lan.isComplete).toBe(true)
    expect(victim.refused.get('peer.rate-limited')).toBeGreaterThan(10_000)
  })
})
