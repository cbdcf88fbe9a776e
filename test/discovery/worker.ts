/**
 * A discovery method in a process of its own, for the hosts of the lab: `worker.ts mdns|beacon|xmpp PORT NAME`. Commands come as
 * JSON lines on stdin, events go as JSON lines to stdout.
 */
import { generateKeyPairSync } from 'node:crypto'
import { hostname } from 'node:os'
import { createInterface } from 'node:readline'
import { systemClock } from '../../daemon/clock.ts'
import { BeaconDiscovery } from '../../daemon/discovery/beacon/beacon.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod } from '../../daemon/discovery/discovery.ts'
import { MdnsDiscovery } from '../../daemon/discovery/mdns/mdns.ts'
import { Mdns } from '../../daemon/discovery/mdns/mdns-network.ts'
import type { Advertisement, MdnsService } from '../../daemon/discovery/mdns/mdns-service.ts'
import { PresenceDiscovery } from '../../daemon/discovery/presence/presence.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { createLogger } from '../../daemon/logger.ts'
import type { NetworkChange, NetworkInterface } from '../../daemon/network/network.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { Presence } from '../../daemon/types.ts'
import { Contacts } from '../../daemon/xmpp/contacts.ts'

/** What the test tells the worker. */
export type Command =
  | { readonly do: 'start'; readonly interfaces: readonly NetworkInterface[]; readonly announcement: Announcement }
  | { readonly do: 'stop' }
  | { readonly do: 'change'; readonly change: NetworkChange }
  | { readonly do: 'rename'; readonly name: string }
  | { readonly do: 'states' }
  | { readonly do: 'presence'; readonly presence: Presence }
  | { readonly do: 'look-up'; readonly instance: string }
  /** Another service of the same host, as a hub has them. */
  | { readonly do: 'attach'; readonly advertisement: Advertisement }
  | { readonly do: 'detach' }

const [kind, port, name = ''] = process.argv.slice(2)
const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
const refusals = new Refusals()
const logger = createLogger('debug', ({ level, part, message, facts }) =>
  console.error(level, part, message, JSON.stringify(facts)),
)
const common = { clock: systemClock, logger, refusals }
const endpoint = new UdpEndpoint(common)
const beacon = new BeaconDiscovery({ ...common, identity, endpoint, broadcast: kind === 'beacon' })
const mdns = new Mdns(common)
const contacts = new Contacts(systemClock)
contacts.onChange((contact, change) => tell({ event: 'contact', contact, change }))
const presence = new PresenceDiscovery({
  ...common,
  mdns,
  contacts,
  caps: { node: 'https://example.org/', hash: 'sha-1', ver: 'QgayPKawpkPSDYmwT/WM94uAlu0=' },
  hostname: hostname(),
  prober: beacon,
  onPresence: (peer, told) => tell({ event: 'presence', peer, presence: told }),
})
const methods: Readonly<Record<string, DiscoveryMethod>> = {
  beacon,
  mdns: new MdnsDiscovery({ ...common, mdns, prober: beacon }),
  xmpp: presence,
}
const method = methods[kind ?? ''] ?? beacon
const network = new SystemNetwork({
  ...common,
  include: [],
  exclude: [],
  // No interface of the lab needs the slow system tools to be told apart.
  readFacts: async () => [],
})
const events: DiscoveryEvents = {
  seen: (sighting) => tell({ event: 'seen', sighting }),
  gone: (peer, method, interfaceName, address) =>
    tell({ event: 'gone', peer, method, interface: interfaceName, address }),
}
const deaf: DiscoveryEvents = { seen() {}, gone() {} }
let advertised: Advertisement | undefined
const another: MdnsService = {
  type: 'partyline-hub',
  browses: false,
  advertisement: () => advertised,
  known: () => [],
  found() {},
  lost() {},
  interfaceGone() {},
}

await network.start()
// Two on one host may be given the same port; methods but the beacon do without it.
await endpoint.bind(Number(port)).catch((error: Error) => logger.warn(error.message))
endpoint.setInterfaces(network.interfaces())
network.onChange((change) => {
  endpoint.setInterfaces(change.interfaces)
  if (method !== beacon) beacon.networkChanged(change)
  method.networkChanged(change)
})
tell({
  event: 'hello',
  announcement: { peer: identity.peer, name, port: Number(port) },
  interfaces: network.interfaces().filter((one) => one.participating),
})

for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as Command
  if (command.do === 'start') {
    if (method !== beacon) await beacon.start(command.announcement, command.interfaces, deaf)
    await method.start(command.announcement, command.interfaces, events)
    tell({ event: 'started', states: method.states() })
  } else if (command.do === 'stop') {
    await method.stop()
    await beacon.stop()
    tell({ event: 'stopped' })
  } else if (command.do === 'change') method.networkChanged(command.change)
  else if (command.do === 'rename') method.renamed(command.name)
  else if (command.do === 'presence') presence.setPresence(command.presence)
  else if (command.do === 'look-up') tell({ event: 'found', instance: await presence.lookUp(command.instance) })
  else if (command.do === 'attach') {
    advertised = command.advertisement
    mdns.attach(another, network.interfaces())
  } else if (command.do === 'detach') {
    await mdns.detach(another)
    tell({ event: 'detached' })
  } else tell({ event: 'states', states: method.states(), refused: refusals.snapshot(), self: presence.self() })
}
process.exit(0)
