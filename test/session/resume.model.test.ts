import { describe, expect, test } from 'vitest'
import { SimulatedNetwork } from '../connect/simulated-network.ts'
import { SessionHost } from './simulated-hosts.ts'

const SEEDS = 2000

interface Options {
  /** Hosts are restarted as well, and for a while one cannot dial the other. */
  readonly isHarsh: boolean
  readonly resumeFor: number
}

/**
 * Messages and streams while links are cut, go silent, are dialled from both sides, left for better ones and delayed at random; then it becomes
 * quiet.
 */
async function scenario(seed: number, { isHarsh, resumeFor }: Options) {
  const network = new SimulatedNetwork<SessionHost>(seed, (of, peer) => new SessionHost(of, peer, resumeFor))
  const { random, hosts } = network
  const [a, b] = hosts
  for (const host of hosts) network.reaches.set(host, true)
  const one = () => (random() < 0.5 ? a : b)
  const events = 5 + Math.floor(random() * 25)
  for (let i = 0; i < events; i++) {
    const host = one()
    const other = host === a ? b : a
    const kind = random()
    if (kind < 0.35) {
      const lane = Math.floor(random() * 3)
      for (let n = Math.floor(random() * 6); n >= 0; n--)
        host.send(other.peer, lane, Math.floor(random() ** 6 * 200_000))
    } else if (kind < 0.42) host.open(other.peer)
    else if (kind < 0.65) for (const stream of host.streams) stream.write(Math.floor(random() ** 4 * 100_000))
    else if (kind < 0.7) host.streams[Math.floor(random() * host.streams.length)]?.end()
    else if (kind < 0.75 && isHarsh) network.reaches.set(host, random() < 0.5)
    else if (kind < 0.78 && isHarsh) host.restart()
    else if (kind < 0.82) network.severAll()
    else if (kind < 0.9) host.upgrade(other.peer)
    else network.hurt()
    if (random() < 0.6) await network.run(network.delay(random() < 0.1 ? 20_000 : 800))
  }

  // Quiet now: what was severed is found out, everything under way arrives.
  for (const host of hosts) network.reaches.set(host, true)
  await network.run(60_000)
  for (const host of hosts) for (const stream of host.streams) stream.end()
  await network.run(30_000)
  return hosts
}

/** What must hold whatever happened: nothing doubled, nothing out of order in its lane, and nobody told what is not so. */
function expectHonesty([a, b]: readonly [SessionHost, SessionHost]): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const arrived = [...to.received.values()]
    for (const numbers of arrived)
      expect(numbers, 'out of order, or doubled').toEqual([...new Set(numbers)].sort((x, y) => x - y))
    const all = new Set(arrived.flat())
    for (const { number, fate } of from.sent) {
      expect(fate, `message ${number} has no fate`).toBeDefined()
      if (fate === 'delivered') expect(all, `message ${number} was told delivered`).toContain(number)
    }
    for (const stream of from.streams) expect(stream.fault).toBeUndefined()
  }
}

async function each(options: Options, check: (hosts: readonly [SessionHost, SessionHost]) => void) {
  for (let seed = 1; seed <= SEEDS; seed++)
    await scenario(seed, options)
      .then(check)
      .catch((error: Error) => {
        throw new Error(`seed ${seed}: ${error.message}`, { cause: error })
      })
}

describe('sessions over links that come and go', () => {
  test(`lose, double and reorder no message and no stream byte in any of ${SEEDS} runs`, async () => {
    await each({ isHarsh: false, resumeFor: 3_600_000 }, (hosts) => {
      expectHonesty(hosts)
      const [a, b] = hosts
      for (const host of hosts) {
        expect(host.sent.filter(({ fate }) => fate !== 'delivered' && fate !== 'no session')).toEqual([])
        expect(host.ends).toEqual([])
      }
      // A stream whose first link was silent for too long never opened on the other side; its opener was told.
      const opened = (host: SessionHost) => host.streams.filter(({ outcome }) => outcome !== 'network.timeout')
      const told = (host: SessionHost, mine: 'written' | 'read') =>
        opened(host)
          .map((end) => `${end.stream.id} ${end.outcome} ${end[mine]}`)
          .sort()
      expect(told(a, 'read')).toEqual(told(b, 'written'))
      expect(told(b, 'read')).toEqual(told(a, 'written'))
      for (const { outcome } of [...opened(a), ...opened(b)]) expect(outcome).toBe('clean')
    })
  }, 240_000)

  test(`tell each sender the truth when hosts are restarted or links stay away too long, in ${SEEDS} runs`, async () => {
    await each({ isHarsh: true, resumeFor: 2000 }, expectHonesty)
  }, 240_000)
})
