import { describe, expect, test } from 'vitest'
import { SimulatedHost, SimulatedNetwork } from './simulated-network.ts'

const SEEDS = 2000
/** A call without a timeout of its own ends within this. */
const LONGEST_CONNECT = 10_001

/** Both hosts dial, links are cut, hosts are restarted; then it becomes quiet. Throws where a rule is broken. */
async function scenario(seed: number): Promise<void> {
  const network = new SimulatedNetwork<SimulatedHost>(seed, (of, peer) => new SimulatedHost(of, peer))
  const { random, hosts } = network
  const [a, b] = hosts
  const oneWay = random()
  network.reaches.set(a, oneWay < 0.8)
  network.reaches.set(b, oneWay >= 0.2)
  let waiting = 0
  const connect = (host: typeof a, to: typeof a): void => {
    if (host.session !== undefined) return
    waiting++
    const done = (): void => void waiting--
    host.connector.connect(to.peer).then(done, done)
  }

  const restarts = random() < 0.3
  const events = Math.floor(random() * 8)
  for (let i = 0; i < events; i++) {
    const kind = random()
    if (kind < 0.35) connect(a, b)
    else if (kind < 0.7) connect(b, a)
    else if (kind < 0.8 && restarts) (random() < 0.5 ? a : b).restart()
    else network.hurt()
    // Often at the very same moment.
    if (random() < 0.6) await network.run(network.delay(1500))
  }

  // Quiet now: what was severed is found out, every call ends.
  await network.run(LONGEST_CONNECT + 10_000)
  expect(waiting, 'a call to connect hangs').toBe(0)
  expect(a.session, 'the hosts disagree before').toBe(b.session)

  // Whoever can dial does so, both at once where both can.
  for (const host of hosts) if (network.reaches.get(host)) connect(host, host === a ? b : a)
  await network.run(LONGEST_CONNECT)
  expect(waiting, 'the last call to connect hangs').toBe(0)
  expect(a.session, 'no session in the end').toBeDefined()
  expect(a.session, 'the hosts disagree in the end').toBe(b.session)
  for (const host of hosts) expect(host.faults).toEqual([])
}

describe('symmetric connect', () => {
  test.each([
    ['was restarted', (host: SimulatedHost) => host.restart()],
    ['found the session dead first', (host: SimulatedHost) => host.loseSession()],
  ])(
    'replaces a session that the other side silently lost because it %s, long before keepalive finds out',
    async (_why, lose) => {
      for (let seed = 1; seed <= 50; seed++) {
        const network = new SimulatedNetwork<SimulatedHost>(seed, (of, peer) => new SimulatedHost(of, peer))
        const [a, b] = network.hosts
        for (const host of network.hosts) network.reaches.set(host, true)
        void a.connector.connect(b.peer)
        await network.run(3000)
        const before = b.session
        expect(before).toBeDefined()
        network.severAll()
        lose(a)
        void a.connector.connect(b.peer)
        await network.run(3000)
        expect(a.session, `seed ${seed}`).toBeDefined()
        expect(b.session, `seed ${seed}`).toBe(a.session)
        expect(b.session).not.toBe(before)
        expect([...a.faults, ...b.faults]).toEqual([])
      }
    },
  )

  test(`ends with one session, the same on both sides, in each of ${SEEDS} interleavings`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++)
      await scenario(seed).catch((error: Error) => {
        throw new Error(`seed ${seed}: ${error.message}`, { cause: error })
      })
  })
})
