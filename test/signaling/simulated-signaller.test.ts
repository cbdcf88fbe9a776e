import { generateKeyPairSync } from 'node:crypto'
import { identityOf } from '../../daemon/identity/key.ts'
import { seededRandom } from '../discovery/simulated-lan.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { describeSignaller, type SuitePair } from './signaller-suite.ts'
import { SimulatedCarrier } from './simulated-signaller.ts'

const identities = Array.from({ length: 3 }, () => identityOf(generateKeyPairSync('ed25519').privateKey))

function makePair(faults: ConstructorParameters<typeof SimulatedCarrier>[2]): SuitePair {
  const clock = new VirtualClock()
  const carrier = new SimulatedCarrier(clock, seededRandom(7), faults)
  const ends = identities.map((identity) => ({
    identity,
    signaller: carrier.join(identity.peer),
    close: () => carrier.leave(identity.peer),
  }))
  const [a, b, c] = ends as [(typeof ends)[0], (typeof ends)[0], (typeof ends)[0]]
  return {
    a,
    b,
    others: [c],
    cut: () => carrier.cut(b.identity.peer),
    mend: () => carrier.mend(b.identity.peer),
    run: () => clock.advance(10_000),
    stop: () => {},
  }
}

describeSignaller('a simulated carrier', () => makePair({}))
describeSignaller('a simulated carrier that loses, doubles and reorders', () =>
  makePair({ loss: 0.3, doubles: 0.5, delay: 1000 }),
)
