import { generateKeyPairSync } from 'node:crypto'
import type { Service } from 'bonjour-service'
import { beforeEach, describe, expect, test } from 'vitest'
import type { MdnsService } from '../../daemon/discovery/mdns/mdns-service.ts'
import { ownHost } from '../../daemon/discovery/mdns/record.ts'
import type { MdnsResponder } from '../../daemon/discovery/mdns/responder.ts'
import { PresenceDiscovery } from '../../daemon/discovery/presence/presence.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId, Presence } from '../../daemon/types.ts'
import { Contacts, contactId } from '../../daemon/xmpp/contacts.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { pass } from './passing-time.ts'
import { SightingLog } from './sighting-log.ts'

const newPeer = (): PeerId => identityOf(generateKeyPairSync('ed25519').privateKey).peer
const [SELF, BOB] = [newPeer(), newPeer()]
const SECOND = 1000
const TYPE = '_presence._tcp.local'

const onLan = (name: string, net: number): NetworkInterface => ({
  name,
  index: net,
  kind: 'cable',
  participating: true,
  multicast: true,
  addresses: [
    { address: `192.168.${net}.1`, family: 4, prefix: 24, scope: 'private' },
    { address: `fd00:${net}::1`, family: 6, prefix: 64, scope: 'private' },
    { address: 'fe80::1', family: 6, prefix: 64, scope: 'link-local' },
  ],
})
const INTERFACES = [onLan('eth0', 50), onLan('eth1', 51)]

/** mDNS that hears what a test says, and keeps what it is asked. */
class FakeMdns {
  service: MdnsService | undefined
  /** What was told, after each change. */
  readonly told: (string | undefined)[] = []
  readonly asked: string[] = []

  attach(service: MdnsService): void {
    this.service = service
    this.advertise(service)
  }
  async detach(): Promise<void> {
    this.service = undefined
  }
  advertise(service: MdnsService): void {
    const { instance, txt } = service.advertisement() ?? {}
    this.told.push(instance && `${instance} ${txt?.status ?? ''}`)
  }
  askFor(_: MdnsService, instance: string): void {
    this.asked.push(`everywhere ${instance}`)
  }
  networkChanged(): void {}
  states() {
    return INTERFACES.map(({ name }) => ({ interface: name, families: [4, 6] as const, failures: [] }))
  }

  /** The responder of an interface. */
  readonly #responders = new Map<string, MdnsResponder>()
  responder(on: string): MdnsResponder {
    const askFor = (_: MdnsService, fqdn: string): void => void this.asked.push(`${on} ${fqdn}`)
    const responder = this.#responders.get(on) ?? ({ askFor } as unknown as MdnsResponder)
    this.#responders.set(on, responder)
    return responder
  }
}

let clock: VirtualClock
let mdns: FakeMdns
let contacts: Contacts
let refusals: Refusals
let log: SightingLog
let presences: [PeerId, Presence][]
let method: PresenceDiscovery

beforeEach(async () => {
  clock = new VirtualClock()
  mdns = new FakeMdns()
  contacts = new Contacts(clock)
  refusals = new Refusals()
  log = new SightingLog()
  presences = []
  method = new PresenceDiscovery({
    clock,
    logger: silentLogger,
    refusals,
    mdns,
    contacts,
    caps: { node: 'n', hash: 'sha-1', ver: 'v' },
    hostname: 'h1.example.org',
    prober: { probe: async () => undefined },
    onPresence: (peer, presence) => void presences.push([peer, presence]),
  })
  await method.start({ peer: SELF, name: 'Küche', port: 47800 }, INTERFACES, log)
})

interface Told {
  readonly on?: string
  readonly from?: string
  readonly port?: unknown
  readonly addresses?: readonly string[]
}

/** An instance announces itself. */
function hear(instance: string, txt: readonly string[], told: Told = {}): void {
  const { on = 'eth0', from = '192.168.50.2', port = 5298, addresses = [] } = told
  const service = { fqdn: `${instance}.${TYPE}`, port, rawTxt: txt.map((text) => Buffer.from(text)) }
  mdns.service?.found(service as unknown as Service, {
    interface: on,
    address: from,
    addresses,
    responder: mdns.responder(on),
  })
}

function bye(instance: string, on = 'eth0'): void {
  mdns.service?.lost(`${instance}.${TYPE}`, { interface: on, responder: mdns.responder(on) })
}

const clash = (instance: string, host = 'h1.local', isAnnounced = true): void =>
  mdns.service?.clashed?.({ instance, host, isAnnounced })

const host = (peer: PeerId, port = 47801): string[] => [`nick=${peer.slice(0, 4)}`, `pl.id=${peer}`, `pl.port=${port}`]
const alice = () => contacts.get(contactId('alice@h1'))

describe('presence', () => {
  test('is advertised under the name of host and machine, at the port of the daemon', () => {
    expect(mdns.service?.advertisement()).toMatchObject({
      instance: 'Kuche@h1',
      port: 47800,
      host: ownHost(SELF),
      txt: { txtvers: '1', nick: 'Küche', status: 'avail', 'pl.id': SELF, 'pl.port': '47800' },
    })
    expect(method.self()).toBe('Kuche@h1')
  })

  test('that changes is told, under the same name', () => {
    method.setPresence({ show: 'away', text: '' })
    method.setPresence({ show: 'busy', text: 'x' })
    expect(mdns.told).toEqual(['Kuche@h1 avail', 'Kuche@h1 away', 'Kuche@h1 dnd'])
  })

  test('is kept while the method is stopped, and told when it starts', async () => {
    await method.stop()
    method.setPresence({ show: 'busy', text: '' })
    expect(method.self()).toBe('')
    await method.start({ peer: SELF, name: 'Bad', port: 1 }, INTERFACES, log)
    expect(mdns.told.at(-1)).toBe('Bad@h1 dnd')
  })
})

describe('a name that somebody else has', () => {
  test('becomes -1, then -2, and begins anew with a new name', () => {
    clash('Kuche@h1')
    clash('Kuche@h1')
    clash('Kuche-1@h1', 'other.local', false)
    expect(mdns.told.slice(1)).toEqual(['Kuche-1@h1 avail', 'Kuche-2@h1 avail'])
    method.renamed('Bad')
    expect(mdns.told.at(-1)).toBe('Bad@h1 avail')
  })

  test('is kept by one of two hosts that announced it at once', () => {
    clash('Kuche@h1', 'partyline-zzzzzzzzzzzzzzzz.local')
    expect(method.self()).toBe('Kuche@h1')
    clash('Kuche@h1', 'partyline-2222222222222222.local')
    expect(method.self()).toBe('Kuche-1@h1')
  })

  test('is not announced against a host that has it already', () => {
    clash('Kuche@h1', 'partyline-zzzzzzzzzzzzzzzz.local', false)
    expect(method.self()).toBe('Kuche-1@h1')
  })

  test('is looked for at leisure after fifteen, and no more after 99', () => {
    const clashNow = (): void => clash(method.self())
    for (let count = 0; count < 15; count++) clashNow()
    expect(mdns.told.at(-1)).toBe('Kuche-15@h1 avail')
    clashNow()
    expect(mdns.told.at(-1)).toBeUndefined()
    clock.advance(4999)
    expect(mdns.told.at(-1)).toBeUndefined()
    clock.advance(1)
    expect(mdns.told.at(-1)).toBe('Kuche-16@h1 avail')
    for (let count = 0; count < 200; count++) clashNow()
    clock.advance(5000)
    expect(mdns.told.at(-1)).toBe('Kuche-99@h1 avail')
  })
})

describe('a plain client', () => {
  test('is a contact, chat only, with its presence and addresses', () => {
    hear('alice@h1', ['txtvers=1', '1st=alice', 'last=T', 'status=dnd', 'msg=hi'], {
      addresses: ['192.168.50.2', 'fd00:50::2', '10.1.1.1', 'fe80::2', 'no address'],
    })
    expect(alice()).toMatchObject({ name: 'alice T', presence: { show: 'busy', text: 'hi' } })
    expect(
      alice()
        ?.sightings.map(({ address }) => address)
        .sort(),
    ).toEqual(['192.168.50.2', 'fd00:50::2', 'fe80::2%eth0'])
    expect(alice()?.sightings[0]).toMatchObject({ method: 'xmpp', interface: 'eth0', port: 5298 })
    expect(log.sightings).toEqual([])
  })

  test('is one entry on two interfaces, and gone when both said goodbye', () => {
    hear('alice@h1', [])
    hear('alice@h1', [], { on: 'eth1', from: '192.168.51.2' })
    expect(contacts.list()).toHaveLength(1)
    expect(alice()?.sightings.map((one) => one.interface)).toEqual(['eth0', 'eth1'])
    bye('alice@h1')
    expect(alice()?.sightings.map((one) => one.interface)).toEqual(['eth1'])
    bye('alice@h1', 'eth1')
    expect(contacts.list()).toEqual([])
  })

  test('is gone from an interface that is', () => {
    hear('alice@h1', [])
    mdns.service?.interfaceGone('eth1')
    expect(alice()).toBeDefined()
    mdns.service?.interfaceGone('eth0')
    expect(alice()).toBeUndefined()
  })

  test('is asked for, twice, before its records end, and is gone when it does not answer', () => {
    hear('alice@h1', [])
    clock.advance(99 * SECOND)
    expect(mdns.asked).toEqual([])
    clock.advance(30 * SECOND)
    expect(mdns.asked).toEqual([`eth0 alice@h1.${TYPE}`, `eth0 alice@h1.${TYPE}`])
    clock.advance(20 * SECOND)
    expect(alice()).toBeDefined()
    clock.advance(6 * SECOND)
    expect(alice()).toBeUndefined()
  })

  test('that answers stays', () => {
    hear('alice@h1', [])
    for (let minutes = 0; minutes < 10; minutes++) {
      clock.advance(110 * SECOND)
      hear('alice@h1', [])
    }
    expect(alice()).toBeDefined()
    expect(mdns.asked).toHaveLength(10)
  })

  test('need not answer questions for a while after it was heard', () => {
    hear('alice@h1', [])
    const known = (on: string) => mdns.service?.known(on, 4)
    expect(known('eth0')).toEqual([`alice@h1.${TYPE}`])
    expect(known('eth1')).toEqual([])
    clock.advance(46 * SECOND)
    expect(known('eth0')).toEqual([])
  })

  test('that pretends to be at a hub is refused', () => {
    hear('alice@hub-abcdef.local', [])
    expect(contacts.list()).toEqual([])
    expect(refusals.snapshot()).toEqual({ 'peer.bad-record': 1 })
  })

  test.for(['alice@h1 ', ' alice@h1', 'ali\u034fce@h1', 'alice\u3164@h1', 'zoe\u0308@h1', 'a  b@h1'])(
    'whose address looks like another is refused: %j',
    (instance) => {
      hear(instance, [])
      expect(contacts.list()).toEqual([])
      expect(refusals.snapshot()).toEqual({ 'peer.bad-record': 1 })
    },
  )

  test('may have any letters in its address', () => {
    for (const instance of ['zoë@büro', 'Анна@дом', '名前 x@h', 'a.b-c_d (2)@h.1']) hear(instance, [])
    expect(contacts.list()).toHaveLength(4)
  })

  test.for([0, -1, 65536, 1.5, '5298', null])('with port %j is refused', (port) => {
    hear('alice@h1', [], { port })
    expect(contacts.list()).toEqual([])
    expect(refusals.snapshot()).toEqual({ 'peer.bad-record': 1 })
  })

  test('is forgotten when the method stops', async () => {
    hear('alice@h1', [])
    await method.stop()
    expect(contacts.list()).toEqual([])
    clock.advance(1000 * SECOND)
    expect(clock.next).toBeUndefined()
  })
})

describe('another host', () => {
  test('is a sighting at its port for links, and tells its presence at once', () => {
    hear('bob@h2', [...host(BOB), 'status=away'], { port: 5300, addresses: ['fd00:50::2'] })
    expect(log.sightings).toMatchObject([
      { peer: BOB, method: 'xmpp', interface: 'eth0', address: '192.168.50.2', port: 47801, proven: false },
    ])
    hear('bob@h2', [...host(BOB), 'status=dnd', 'msg=no'], { port: 5300 })
    expect(presences).toEqual([
      [BOB, { show: 'away', text: '' }],
      [BOB, { show: 'busy', text: 'no' }],
    ])
    expect(contacts.list()).toEqual([])
    expect(method.byPeer(BOB)).toMatchObject({ instance: 'bob@h2', presence: { show: 'busy' } })
    expect(method.byPeer(BOB)?.addresses).toContainEqual({ address: 'fd00:50::2', port: 5300, interface: 'eth0' })
  })

  test('that says goodbye is gone', () => {
    hear('bob@h2', host(BOB))
    bye('bob@h2')
    expect(log.current).toEqual([])
    expect(method.byPeer(BOB)).toBeUndefined()
  })

  test('that answers nobody is gone', async () => {
    hear('bob@h2', host(BOB))
    await pass(clock, 25 * SECOND)
    expect(log.current).toEqual([])
    expect(method.find('bob@h2')).toBeUndefined()
  })

  test('that answers nobody leaves nothing behind, wherever it said it was', async () => {
    hear('bob@h2', host(BOB), { addresses: ['192.168.50.77', 'fd00:50::2'] })
    expect(method.find('bob@h2')?.addresses).toHaveLength(3)
    await pass(clock, 25 * SECOND)
    expect([log.current, method.find('bob@h2'), method.byPeer(BOB)]).toEqual([[], undefined, undefined])
  })

  test('is never oneself, on whatever interface', () => {
    hear('Kuche@h1', host(SELF))
    hear('other@h9', host(SELF), { on: 'eth1', from: '192.168.51.1' })
    expect([log.sightings, presences, contacts.list()]).toEqual([[], [], []])
  })

  test('that took the name of a contact takes its place', () => {
    hear('alice@h1', [])
    hear('alice@h1', host(BOB))
    expect(contacts.list()).toEqual([])
    hear('alice@h1', [])
    expect(contacts.list()).toHaveLength(1)
    expect(method.byPeer(BOB)).toBeUndefined()
  })
})

describe('the roster', () => {
  test('tells where an instance is, the last heard first', () => {
    hear('alice@h1', [], { from: '192.168.50.2' })
    hear('alice@h1', [], { from: 'fe80::2' })
    hear('alice@h1', [], { from: '192.168.50.2' })
    expect(method.find('alice@h1')?.addresses).toEqual([
      { address: '192.168.50.2', port: 5298, interface: 'eth0' },
      { address: 'fe80::2%eth0', port: 5298, interface: 'eth0' },
    ])
  })

  test('asks everywhere for whom it does not know, and waits two seconds', async () => {
    const answered = method.lookUp('carol@h3')
    expect(mdns.asked).toEqual(['everywhere carol@h3'])
    hear('carol@h3', ['nick=Carol'])
    expect(await answered).toMatchObject({ instance: 'carol@h3', name: 'Carol' })
    let answer: unknown = 'none'
    void method.lookUp('dave@h4').then((found) => {
      answer = found
    })
    await pass(clock, 1999)
    expect(answer).toBe('none')
    await pass(clock, 1)
    expect(answer).toBeUndefined()
  })

  test.for(['', 'a\n', 'a'.repeat(64)])('asks nobody for what is no instance: %j', async (instance) => {
    expect(await method.lookUp(instance)).toBeUndefined()
    expect(mdns.asked).toEqual([])
  })

  test('waits for 256 at a time', async () => {
    const waiting = Array.from({ length: 256 }, (_, index) => method.lookUp(`x@${index}`))
    expect(await method.lookUp('x@more')).toBeUndefined()
    await pass(clock, 2000, 2000)
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([undefined]))
    void method.lookUp('x@more')
    expect(mdns.asked).toHaveLength(257)
  })

  test('holds 5,000 instances, and 16 addresses of each', () => {
    for (let index = 0; index < 5001; index++) hear(`x@${index}`, [])
    expect(contacts.list()).toHaveLength(5000)
    expect(method.find('x@5000')).toBeUndefined()
    for (let last = 2; last < 20; last++) hear('x@0', [], { from: `192.168.50.${last}` })
    const { addresses = [] } = method.find('x@0') ?? {}
    expect(addresses).toHaveLength(16)
    expect(addresses[0]?.address).toBe('192.168.50.19')
  })
})

describe('its state', () => {
  test('says under which name the host is there', () => {
    for (const state of method.states()) {
      expect(state).toMatchObject({ method: 'xmpp', state: 'active' })
      expect(state.detail).toContain('Kuche@h1')
    }
  })
})
