/** A hub in a process of its own: prints its port and certificate as JSON, ends with its input. */
import { generateKeyPairSync } from 'node:crypto'
import { systemClock } from '../../daemon/clock.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { newHub, PIN } from './hub-host.ts'

const hub = newHub({
  identity: identityOf(generateKeyPairSync('ed25519').privateKey),
  clock: systemClock,
  refusals: new Refusals(),
  limits: { clients: 500, perAddress: 500 },
  name: 'lanparty',
})
await hub.start({ port: 0 })
hub.setPin(PIN)
console.log(JSON.stringify({ port: hub.port, domain: hub.domain, certificate: hub.certificatePem }))
process.stdin.resume().once('end', () => void hub.stop())
