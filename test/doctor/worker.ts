/**
 * A host with a doctor, for the lab: network, port, mDNS, beacon and peer book, wired as a daemon does it. `worker.ts NAME`;
 * commands come as JSON lines on stdin, answers go as JSON lines to stdout.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { systemClock as clock } from '../../daemon/clock.ts'
import { Connector } from '../../daemon/connect/connector.ts'
import { BeaconDiscovery } from '../../daemon/discovery/beacon/beacon.ts'
import { MdnsDiscovery } from '../../daemon/discovery/mdns/mdns.ts'
import { Mdns } from '../../daemon/discovery/mdns/mdns-network.ts'
import { Doctor } from '../../daemon/doctor/doctor.ts'
import { makeCertificate } from '../../daemon/identity/certificate.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { createTlsDial } from '../../daemon/link/tls-dial.ts'
import { LinkListener } from '../../daemon/link/tls-listen.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { silentLogger as logger } from '../../daemon/logger.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { PeerBook } from '../../daemon/peers/peer-book.ts'
import { NO_WAYS } from '../../daemon/peers/ways.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { DiscoveryName, PeerId, Sighting } from '../../daemon/types.ts'
import { LIMITS } from '../link/tls-host.ts'
import { joinedHub, NO_HUB, NO_RELAY, NO_SERVERS, policyOf } from './findings.ts'

/** What a test tells the worker; `hub` and `hint` are played, the other methods are real. */
export type Command =
  | { readonly do: 'diagnose'; readonly peer?: PeerId }
  | { readonly do: 'see'; readonly sighting: Sighting }
  | { readonly do: 'untilSeen'; readonly by: readonly DiscoveryName[]; readonly peer: PeerId }

const PORT = 47800
const [name = ''] = process.argv.slice(2)
const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
const tls = tlsOptions(await makeCertificate(identity))
const refusals = new Refusals()
const book = await PeerBook.open({ self: identity.peer, clock, logger })
const network = new SystemNetwork({ clock, logger, include: [], exclude: [], readFacts: async () => [] })
const connector = new Connector({
  self: identity.peer,
  instance: randomBytes(8).toString('hex'),
  clock,
  logger,
  refusals,
  dial: createTlsDial(tls),
  addressesOf: (peer) => book.addresses(peer),
  interfaces: () => network.interfaces(),
  isBlocked: (peer) => book.isBlocked(peer),
  name: () => name,
  port: () => PORT,
  greetingTimeout: 4000,
  holds: () => ({ session: '', heard: false }),
  suspend: () => undefined,
  onElected: () => {},
  onStream: () => false,
})
const listener = new LinkListener({
  tls,
  limits: LIMITS,
  refusals,
  logger,
  onLink: (link, greeted) => void connector.accept(link, greeted),
})
const endpoint = new UdpEndpoint({ clock, logger, refusals })
const beacon = new BeaconDiscovery({ identity, clock, logger, refusals, endpoint, broadcast: true })
const mdns = new MdnsDiscovery({
  clock,
  refusals,
  mdns: new Mdns({ clock, logger, refusals }),
  prober: beacon,
  hears: (peer, at) => beacon.hears(peer, at),
})
const doctor = new Doctor({
  clock,
  platform: process.platform,
  uptime: () => process.uptime() * 1000,
  port: () => ({ asked: PORT, actual: listener.port }),
  interfaces: () => network.interfaces(),
  chosenInterfaces: () => ({ include: [], exclude: [] }),
  discovery: () => [...mdns.states(), ...beacon.states()],
  people: () => book.list(),
  person: (id) => book.get(id as PeerId),
  addresses: (peer) => book.addresses(peer),
  lastSeen: () => undefined,
  sessions: () => [],
  hub: () => ({ ...NO_HUB, hubs: [joinedHub()] }),
  refused: () => refusals.snapshot(),
  examineNat: async () => ({ internet: NO_SERVERS, nat: undefined }),
  examineAccounts: async () => [],
  relay: () => NO_RELAY,
  policy: () => policyOf({ 'open (lan)': 'admit', share: 'all' }),
  requests: () => [],
  ways: () => NO_WAYS,
  signallers: () => [],
  paths: () => [],
  probe: (target, on) => beacon.probe(target, on),
  dial: (target) => connector.probe(target),
})

await network.start()
await listener.listen(PORT, true)
await endpoint.bind(PORT)
endpoint.setInterfaces(network.interfaces())
for (const method of [beacon, mdns])
  await method.start({ peer: identity.peer, name, port: PORT }, network.interfaces(), {
    seen: (sighting) => book.seen(sighting),
    gone: (peer, by, on, address) => book.gone(peer, by, on, address),
  })
tell({ event: 'hello', peer: identity.peer })

for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as Command
  if (command.do === 'diagnose') {
    const began = clock.now()
    const checks = await doctor.run(command.peer)
    tell({ event: 'checks', checks, took: clock.now() - began })
  } else if (command.do === 'see') {
    book.seen(command.sighting)
    tell({ event: 'done' })
  } else {
    const { peer, by } = command
    await new Promise<void>((resolve) => {
      const look = (): void => {
        const methods = book.get(peer).sightings.map(({ method }) => method)
        if (by.every((method) => methods.includes(method))) resolve()
      }
      book.onChange(look)
      look()
    })
    tell({ event: 'done' })
  }
}
process.exit(0)
