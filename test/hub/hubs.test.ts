import { describe, expect, test } from 'vitest'
import { HubChat } from '../../daemon/hub/hub-chat.ts'
import { MAX_FOUND } from '../../daemon/hub/hub-discovery.ts'
import type { HubMembership } from '../../daemon/hub/hub-membership.ts'
import { MAX_PEOPLE } from '../../daemon/hub/hub-roster.ts'
import { MAX_GIVEN } from '../../daemon/hub/hubs.ts'
import { formatHubTicket } from '../../daemon/hub/ticket.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { AVAILABLE, type ContactId } from '../../daemon/types.ts'
import { Contacts, contactId } from '../../daemon/xmpp/contacts.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { FakeHosts, HubGuest } from './guest.ts'
import { HubHost, newIdentity } from './hub-host.ts'
import { ScriptedHub } from './scripted-hub.ts'

const addressOf = ({ hub }: HubHost): string => `127.0.0.1:${hub.port}`
const ticketOf = (host: HubHost): string =>
  formatHubTicket({
    peer: host.identity.peer,
    addresses: [{ address: '127.0.0.1', port: host.hub.port }],
    name: host.hub.name,
  })

describe('at a hub', () => {
  test('hosts and people see each other, with name and presence, until they leave', async () => {
    await using host = await HubHost.start()
    await using a = await HubGuest.start({ name: 'anna-laptop', joined: [addressOf(host)] })
    await using b = await HubGuest.start({ name: 'ben', joined: [addressOf(host)] })
    await Promise.all([a.untilSees(b.peer), b.untilSees(a.peer)])
    expect(b.log.of(a.peer)).toEqual([
      {
        peer: a.peer,
        method: 'hub',
        interface: 'lo',
        address: '127.0.0.1',
        port: 0,
        name: 'anna-laptop',
        proven: false,
      },
    ])
    const carol = await host.person('Carol')
    const id = await b.untilContact('Carol')
    expect(b.contacts.view(id as ContactId)).toMatchObject({
      id: `xmpp:carol@${host.hub.domain}`,
      kind: 'chat',
      proven: false,
      sightings: [{ method: 'hub', address: '127.0.0.1', port: host.hub.port }],
    })
    a.hubs.setPresence({ show: 'away', text: 'beim Essen \u0007& <so>' })
    await b.until(() => b.presences.get(a.peer)?.show === 'away')
    expect(b.presences.get(a.peer)).toEqual({ show: 'away', text: 'beim Essen & <so>' })
    a.hubs.renamed('anna-2')
    await b.until(() => b.log.of(a.peer)[0]?.name === 'anna-2')
    expect(b.hubs.status()[0]?.people).toEqual([
      {
        jid: `${a.peer}@${host.hub.domain}`,
        name: 'anna-2',
        kind: 'host',
        presence: { show: 'away', text: 'beim Essen & <so>' },
      },
      { jid: `carol@${host.hub.domain}`, name: 'Carol', kind: 'chat', presence: { show: 'available', text: '' } },
    ])
    carol.send('<presence><show>dnd</show><status>busy now</status></presence>')
    await b.until(() => b.contacts.get(id as ContactId)?.presence.show === 'busy')
    carol.send('</stream:stream>')
    await b.until(() => b.contacts.list().length === 0)
    await a.hubs.stop()
    await b.until(() => b.log.current.length === 0)
    expect([a.refusals.snapshot(), b.refusals.snapshot(), host.refusals.snapshot()]).toEqual([{}, {}, {}])
  })

  test('one that only visits leaves again, unless it joins meanwhile', async () => {
    await using host = await HubHost.start()
    await using guest = await HubGuest.start({})
    const [address, ticket] = [addressOf(host), ticketOf(host)]
    const leave = [guest.hubs.visit(address), guest.hubs.visit(ticket)]
    await guest.untilJoined()
    leave[0]?.()
    expect(guest.hubs.status()).toHaveLength(1)
    leave[1]?.()
    leave[1]?.()
    expect(guest.hubs.status()).toEqual([])
    const last = guest.hubs.visit(ticket)
    await guest.untilJoined()
    guest.hubs.join(ticket)
    last()
    expect(guest.hubs.status()).toMatchObject([{ state: 'joined' }])
    expect(() => guest.hubs.visit('nonsense')).toThrow(expect.objectContaining({ code: 'usage.invalid-argument' }))
    for (let n = 0; n < MAX_GIVEN; n++) guest.hubs.visit(`192.0.2.${n}`)
    expect(() => guest.hubs.visit('192.0.2.99')).toThrow(expect.objectContaining({ code: 'local.limit' }))
  })

  test('people chat with a host, both ways', async () => {
    await using host = await HubHost.start()
    await using guest = await HubGuest.start({ joined: [addressOf(host)] })
    await guest.untilJoined()
    const carol = await host.person('Carol')
    const id = (await guest.untilContact('Carol')) as ContactId
    carol.send(
      `<message to='${guest.peer}@${host.hub.domain}' type='chat' id='m1'><body>grüß &lt;dich&gt; 🎈</body><request xmlns='urn:xmpp:receipts'/></message>`,
    )
    await guest.until(() => guest.chat.length > 0)
    expect(guest.chat).toEqual([`${id} grüß <dich> 🎈`])
    await carol.until('<received xmlns="urn:xmpp:receipts" id="m1"/>')
    carol.send(
      `<message to='${guest.peer}@${host.hub.domain}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`,
    )
    await guest.until(() => guest.composing.length > 0)
    expect(guest.composing).toEqual([`${id} true`])
    await guest.hubs.sendChat(id, 'zurück\u0000 & <so>')
    await carol.until('<body>zurück &amp; &lt;so&gt;</body>')
    await expect(guest.hubs.sendChat(id, 'x'.repeat(5000))).rejects.toMatchObject({ code: 'usage.too-large' })
    await expect(guest.hubs.sendChat(id, ' \u0001')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    carol.socket.destroy()
    await guest.until(() => guest.contacts.list().length === 0)
    await expect(guest.hubs.sendChat(id, 'still there?')).rejects.toMatchObject({ code: 'network.unreachable' })
  })

  test('nothing is sent in the clear to a host', async () => {
    await using host = await HubHost.start()
    await using a = await HubGuest.start({ joined: [addressOf(host)] })
    await using b = await HubGuest.start({ joined: [addressOf(host)] })
    await host.person('Carol')
    await a.untilSees(b.peer)
    await a.untilContact('Carol')
    await expect(a.hubs.sendChat(contactId(`${b.peer}@${host.hub.domain}`), 'secret')).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
  })

  test('a message that cannot be delivered comes back', async () => {
    await using hub = await ScriptedHub.start()
    await using guest = await HubGuest.start({ joined: [`127.0.0.1:${hub.target.port}`] })
    const there = await (await hub.client()).there()
    there.present('anna')
    const id = (await guest.untilContact('anna')) as ContactId
    const sent = guest.hubs.sendChat(id, 'hallo')
    await there.until('<body>hallo</body>')
    const [, message = ''] = /<message [^>]*id="([^"]*)"/.exec(there.received) ?? []
    there.send(
      `<message type='error' id='${message}' from='anna@${hub.domain}'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`,
    )
    await expect(sent).rejects.toMatchObject({ code: 'network.unreachable' })
  })

  test('signals reach hosts, and only those that are there', async () => {
    await using host = await HubHost.start()
    await using a = await HubGuest.start({ joined: [addressOf(host)] })
    await using b = await HubGuest.start({ joined: [addressOf(host)] })
    await a.untilSees(b.peer)
    expect([a.hubs.reaches(b.peer), a.hubs.reaches(a.peer), a.hubs.reaches(newIdentity().peer)]).toEqual([
      true,
      false,
      false,
    ])
    const got: string[] = []
    b.signals.handle('test', (peer, content) => got.push(`${peer} ${Buffer.from(content)}`))
    expect(a.signals.send(b.peer, 'test', Buffer.from('psst'))).toBe(true)
    await b.until(() => got.length > 0)
    expect(got).toEqual([`${a.peer} psst`])
    await b.hubs.stop()
    await a.until(() => !a.hubs.reaches(b.peer))
  })
})

describe('hosts at a hub', () => {
  test('tell each other their addresses, and what answers there is seen', async () => {
    await using host = await HubHost.start()
    const hosts = new FakeHosts()
    await using a = await HubGuest.start({ name: 'a', joined: [addressOf(host)], hosts, address: '192.168.50.1/24' })
    await using b = await HubGuest.start({ name: 'b', joined: [addressOf(host)], hosts, address: '192.168.50.2/24' })
    hosts.byUdp.set('192.168.50.1', a.peer)
    hosts.byTcp.set('192.168.50.2', b.peer)
    await a.until(() => a.log.of(b.peer).some(({ port }) => port > 0))
    await b.until(() => b.log.of(a.peer).some(({ port }) => port > 0))
    expect(b.log.of(a.peer)).toContainEqual({
      peer: a.peer,
      method: 'hub',
      interface: 'eth0',
      address: '192.168.50.1',
      port: 47800,
      name: 'host',
      proven: true,
    })
    expect([...a.notes.values(), ...b.notes.values()]).toEqual([])

    // The hub goes: what answers stays, the hub's own word does not.
    await host.hub.stop()
    await a.until(() => a.log.of(b.peer).every(({ port }) => port > 0))
    expect(a.log.of(b.peer)).toHaveLength(1)
    hosts.byTcp.clear()
    await a.until(() => a.log.of(b.peer).length === 0, 1000)
  })

  test('that are kept apart are told so, until they are not', async () => {
    await using host = await HubHost.start()
    const hosts = new FakeHosts()
    await using a = await HubGuest.start({ joined: [addressOf(host)], hosts, address: '192.168.50.1/24' })
    await using b = await HubGuest.start({ joined: [addressOf(host)], hosts, address: '192.168.50.2/24' })
    await a.until(() => (a.notes.get(b.peer) ?? '') !== '')
    expect(a.notes.get(b.peer)).toMatch(/^Seen only through the hub lanparty: .*client isolation/)
    hosts.byUdp.set('192.168.50.2', b.peer)
    await a.until(() => a.notes.get(b.peer) === '', 1000)
    expect(
      a.log
        .of(b.peer)
        .map(({ port }) => port)
        .sort(),
    ).toEqual([0, 47800])
    hosts.byUdp.clear()
    await a.until(() => (a.notes.get(b.peer) ?? '') !== '', 1000)
    await b.hubs.stop()
    await a.until(() => a.notes.get(b.peer) === '')
    expect(a.log.of(b.peer)).toEqual([])
  })

  test('tell again what changed', async () => {
    await using host = await HubHost.start()
    await using a = await HubGuest.start({ joined: [addressOf(host)], address: '192.168.50.1/24' })
    const hosts = new FakeHosts()
    await using b = await HubGuest.start({ joined: [addressOf(host)], hosts, address: '192.168.50.2/24' })
    await b.until(() => hosts.asked.some(({ address }) => address === '192.168.50.1'))
    hosts.byUdp.set('192.168.50.77', a.peer)
    const interfaces = [networkInterface('lo', ['127.0.0.1/8']), networkInterface('eth0', ['192.168.50.77/24'])]
    a.hubs.networkChanged({ interfaces, appeared: [], vanished: [], altered: ['eth0'], slept: 0 })
    await b.until(() => b.log.of(a.peer).some(({ address }) => address === '192.168.50.77'))
  })

  test('are not told to whom is blocked', async () => {
    await using host = await HubHost.start()
    const hosts = new FakeHosts()
    await using a = await HubGuest.start({ address: '192.168.50.1/24' })
    await using b = await HubGuest.start({ joined: [addressOf(host)], hosts, address: '192.168.50.2/24' })
    a.blocked.add(b.peer)
    a.hubs.join(addressOf(host))
    await b.untilSees(a.peer)
    await a.until(() => (a.refusals.snapshot()['policy.blocked'] ?? 0) > 0)
    expect([hosts.asked, a.hosts.asked]).toEqual([[], []])
  })
})

describe('a hub', () => {
  test('is joined once, however it is found', async () => {
    await using host = await HubHost.start()
    const { port } = host.hub
    await using guest = await HubGuest.start({ joined: [addressOf(host), ticketOf(host)] })
    const own = { peer: host.identity.peer, name: 'lanparty', port }
    guest.mdns.hears(own)
    guest.mdns.hears(own, '127.0.0.2')
    guest.hubs.join(`127.0.0.3:${port}`)
    await guest.until(() => guest.hubs.status().length === 1 && guest.hubs.status()[0]?.state === 'joined')
    expect(guest.hubs.status()).toMatchObject([
      { peer: host.identity.peer, name: 'lanparty', domain: 'hub-lanparty.local', port },
    ])
    expect(host.hub.counts).toMatchObject({ clients: 1, open: 1 })
    await guest.until(() => host.hub.people().length === 1)
    expect(guest.log.current).toEqual([])
  })

  test('that comes back is joined again', async () => {
    await using host = await HubHost.start()
    await using guest = await HubGuest.start({ joined: [addressOf(host)] })
    await guest.untilJoined()
    const carol = await host.person('Carol')
    await guest.untilContact('Carol')
    const { port } = host.hub
    await host.hub.stop()
    await guest.until(() => guest.hubs.status()[0]?.state === 'failed')
    expect([guest.contacts.list(), carol.socket.destroyed]).toEqual([[], true])
    await host.hub.start({ port })
    await guest.until(() => guest.hubs.status()[0]?.state === 'joined', 100)
    await host.person('Carol')
    await guest.untilContact('Carol')
  })

  test('that is not there is tried at once when the network changes', async () => {
    await using host = await HubHost.start()
    const { port } = host.hub
    await host.hub.stop()
    await using guest = await HubGuest.start({ joined: [`127.0.0.1:${port}`] })
    await guest.until(() => guest.hubs.status()[0]?.state === 'failed')
    expect(guest.hubs.states()[0]).toMatchObject({ method: 'hub', state: 'starting' })
    await host.hub.start({ port })
    guest.hubs.networkChanged({ interfaces: guest.interfaces, appeared: [], vanished: [], altered: [], slept: 0 })
    await guest.untilJoined()
    expect(guest.hubs.states()).toEqual([
      { method: 'hub', interface: '', state: 'active', detail: 'at the hub lanparty with 0 others' },
    ])
  })

  test('is refused where its key is another, and where its host is blocked', async () => {
    await using host = await HubHost.start()
    const { port } = host.hub
    const expected = newIdentity().peer
    const wrong = formatHubTicket({ peer: expected, addresses: [{ address: '127.0.0.1', port }], name: 'x' })
    await using guest = await HubGuest.start({ joined: [wrong] })
    await guest.until(() => guest.hubs.status()[0]?.state === 'failed')
    expect(guest.hubs.status()[0]).toMatchObject({ peer: expected, detail: expect.stringContaining('not ') })
    expect(guest.refusals.snapshot()).toEqual({ 'peer.wrong-key': 1 })
    guest.blocked.add(host.identity.peer)
    guest.hubs.join(ticketOf(host))
    await guest.until(() => guest.refusals.snapshot()['policy.blocked'] === 1)
    expect(host.hub.counts.clients).toBe(0)
  })

  test('of mDNS is joined by itself, or not, and its addresses are tried in turn', async () => {
    await using host = await HubHost.start()
    const own = { peer: host.identity.peer, name: 'lanparty', port: host.hub.port }
    await using guest = await HubGuest.start()
    guest.autoJoin = false
    guest.mdns.hears(own)
    expect(guest.hubs.status()).toEqual([])
    guest.autoJoin = true
    await using closed = await ScriptedHub.start()
    const { port } = closed.target
    await closed.stop()
    guest.mdns.hears({ ...own, port })
    await guest.until(() => guest.hubs.status()[0]?.state === 'failed')
    guest.mdns.hears(own)
    await guest.untilJoined()
    guest.mdns.loses('lanparty')
    expect(guest.hubs.status()).toHaveLength(1)
    await host.hub.stop()
    await guest.until(() => guest.hubs.status().length === 0)
  })

  test('of mDNS that comes and goes, or moves, makes nobody dial without end', async () => {
    await using guest = await HubGuest.start()
    const { peer } = newIdentity()
    for (let n = 0; n < 300; n++) {
      guest.mdns.hears({ peer, name: 'moving', port: 1 + n })
      guest.mdns.hears({ peer: newIdentity().peer, name: `new ${n}`, port: 1 })
      guest.mdns.loses(`new ${n}`)
    }
    expect(guest.refusals.snapshot()['peer.rate-limited']).toBe(600 - 64)
    guest.clock.advance(5000)
    guest.mdns.hears({ peer, name: 'moving', port: 999 })
    expect(guest.refusals.snapshot()['peer.rate-limited']).toBe(600 - 64)
  })

  test('that the user left is not brought back by mDNS, but by the user', async () => {
    await using host = await HubHost.start()
    const own = { peer: host.identity.peer, name: 'lanparty', port: host.hub.port }
    await using guest = await HubGuest.start({ joined: [ticketOf(host), addressOf(host)] })
    guest.mdns.hears(own)
    await guest.untilJoined()
    await guest.until(() => guest.hubs.status().length === 1)
    expect(() => guest.hubs.leave('another')).toThrow(expect.objectContaining({ code: 'local.no-hub' }))
    expect(guest.hubs.leave('lanparty')).toEqual(expect.arrayContaining([ticketOf(host)]))
    await guest.until(() => host.hub.counts.clients === 0)
    guest.mdns.hears(own)
    expect(guest.hubs.status()).toEqual([])
    guest.hubs.join(ticketOf(host))
    await guest.untilJoined()
    expect(guest.hubs.leave(`127.0.0.1:${host.hub.port}`)).toEqual([ticketOf(host)])
  })

  test('of this host is advertised to hosts and clients, and joined over loopback', async () => {
    const identity = newIdentity()
    await using host = await HubHost.start({ identity })
    await using guest = await HubGuest.start({ identity })
    await guest.hubs.advertise(host.hub)
    expect(guest.mdns.advertised).toEqual({
      'partyline-hub': {
        instance: `lanparty (${identity.peer.slice(0, 8)})`,
        host: 'hub-lanparty.local',
        port: host.hub.port,
        txt: { v: '1', id: identity.peer, name: 'lanparty', domain: 'hub-lanparty.local' },
      },
      'xmpps-client': { instance: 'lanparty', host: 'hub-lanparty.local', port: host.hub.port, txt: {} },
    })
    await guest.untilJoined()
    guest.mdns.hears({ peer: identity.peer, name: 'lanparty', port: host.hub.port })
    expect(guest.hubs.status()).toMatchObject([{ peer: identity.peer, address: '127.0.0.1', state: 'joined' }])
    await guest.hubs.advertise(undefined)
    expect([guest.mdns.advertised, guest.hubs.status()]).toEqual([{}, []])
    await guest.until(() => host.hub.counts.clients === 0)
  })

  test('given with no sense is refused, and hubs beyond the limits too', async () => {
    await using guest = await HubGuest.start({ joined: ['nonsense', 'hub.example.org'] })
    expect(guest.hubs.status()).toEqual([])
    expect(() => guest.hubs.join('hub.example.org')).toThrow(
      expect.objectContaining({ code: 'usage.invalid-argument' }),
    )
    for (let n = 1; n <= MAX_GIVEN; n++) guest.hubs.join(`127.0.1.${n}:1`)
    guest.hubs.join('127.0.1.1:1')
    expect(() => guest.hubs.join('127.0.2.1:1')).toThrow(expect.objectContaining({ code: 'local.limit' }))
    for (let n = 0; n < 50; n++) guest.mdns.hears({ peer: newIdentity().peer, name: `hub ${n}`, port: 1 })
    expect(guest.hubs.status()).toHaveLength(MAX_GIVEN + MAX_FOUND)
    expect(guest.refusals.snapshot()).toMatchObject({ 'peer.rate-limited': 50 - MAX_FOUND })
  })
})

describe('two hubs', () => {
  test('show one peer that is at both as one, and it stays while it is at one', async () => {
    await using first = await HubHost.start({ name: 'one' })
    await using second = await HubHost.start({ name: 'two' })
    const both = [addressOf(first), addressOf(second)]
    await using a = await HubGuest.start({ joined: both })
    await using b = await HubGuest.start({ joined: both })
    await a.untilJoined(2)
    await b.untilJoined(2)
    await a.until(() => a.hubs.status().every(({ people }) => people.length === 1))
    expect(a.log.of(b.peer)).toHaveLength(1)
    const got: string[] = []
    b.signals.handle('test', (_, content) => got.push(String(Buffer.from(content))))
    a.signals.send(b.peer, 'test', Buffer.from('once'))
    await b.until(() => got.length > 0)
    await first.hub.stop()
    await a.until(() => a.hubs.status().some(({ state }) => state === 'failed'))
    expect([a.log.of(b.peer).length, a.hubs.reaches(b.peer)]).toEqual([1, true])
    await second.hub.stop()
    await a.until(() => a.log.of(b.peer).length === 0)
    expect([a.hubs.reaches(b.peer), got]).toEqual([false, ['once']])
  })

  test('have one domain at a time', () => {
    const clock = new VirtualClock()
    const contacts = new Contacts(clock)
    const chat = new HubChat({ clock, logger: silentLogger, refusals: new Refusals(), contacts, onChat: () => {} })
    const at = { address: '127.0.0.1', port: 5223, interface: 'lo' }
    const shows = (hub: { domain: string }, domain: string): boolean => {
      hub.domain = domain
      const jid = `anna@${domain}`
      chat.there(hub as HubMembership, { jid, peer: undefined, name: 'anna', presence: AVAILABLE }, at)
      const shown = contacts.get(contactId(jid)) !== undefined
      contacts.remove(contactId(jid))
      return shown
    }
    const [greedy, honest] = [{ domain: '' }, { domain: '' }]
    for (const domain of ['hub-a.local', 'hub-b.local', 'hub-c.local']) expect(shows(greedy, domain)).toBe(true)
    expect(shows(honest, 'hub-c.local')).toBe(false)
    expect(shows(honest, 'hub-a.local')).toBe(true)
    expect(shows(greedy, 'hub-a.local')).toBe(false)
  })

  test('of one domain do not share their people: the first keeps it', async () => {
    await using first = await ScriptedHub.start()
    await using second = await ScriptedHub.start()
    await using guest = await HubGuest.start({ joined: [`127.0.0.1:${first.target.port}`] })
    const there = await (await first.client()).there()
    there.present('anna', '<status>the first</status>')
    const id = (await guest.untilContact('anna')) as ContactId
    guest.hubs.join(`127.0.0.1:${second.target.port}`)
    const impostor = await (await second.client()).there()
    impostor.present('anna', '<status>the second</status>').present('bob')
    impostor.send(`<message from='anna@${second.domain}/r' type='chat'><body>give me your PIN</body></message>`)
    await guest.until(() => guest.refusals.snapshot()['peer.impersonation'] === 3)
    impostor.present('anna', '', "type='unavailable'")
    await guest.until(() =>
      guest.hubs.status().some(({ people }) => people.length === 1 && people[0]?.jid.startsWith('bob')),
    )
    expect([guest.contacts.list().map((contact) => contact.id), guest.chat]).toEqual([[id], []])
    expect(guest.contacts.get(id)?.presence.text).toBe('the first')
    const sent = guest.hubs.sendChat(id, 'x')
    await there.until('<body>x</body>')
    expect(impostor.received).not.toContain('<body>')
    guest.clock.advance(2000)
    await sent
  })
})

describe('a hostile hub', () => {
  async function visit(script: Parameters<typeof ScriptedHub.start>[0] = {}) {
    const hub = await ScriptedHub.start(script)
    const guest = await HubGuest.start({ joined: [`127.0.0.1:${hub.target.port}`] })
    const there = await (await hub.client()).there()
    const cleanup = async () => {
      await guest.hubs.stop()
      await hub.stop()
    }
    return { hub, guest, there, [Symbol.asyncDispose]: cleanup }
  }

  test('cannot show people of other domains, people that look like hosts or like each other, or hosts that are none', async () => {
    await using one = await visit()
    const { guest, there, hub } = one
    const stranger = newIdentity().peer
    there.send(`<presence from='anna@h1/r'/><presence from='anna@hub-other.local'/><presence from='@@'/><presence/>`)
    there.present(stranger)
    there.present('anna', "<host xmlns='urn:partyline:host:0'/>")
    there.present('zoe\u034f')
    there.present('zoe', "<nick xmlns='http://jabber.org/protocol/nick'>Anna</nick>")
    expect(await guest.untilContact('zoe')).toBe(`xmpp:zoe@${hub.domain}`)
    expect([guest.contacts.list().length, guest.log.current]).toEqual([1, []])
    expect(guest.refusals.snapshot()).toEqual({ 'peer.impersonation': 7 })
  })

  test('cannot speak as a host, as somebody who is not there, or as us', async () => {
    await using one = await visit()
    const { guest, there, hub } = one
    const { peer } = newIdentity()
    there.present(peer, "<host xmlns='urn:partyline:host:0'/>").present('zoe')
    const says = (from: string) => there.send(`<message from='${from}' type='chat'><body>x</body></message>`)
    for (const from of [`${peer}@${hub.domain}/r`, `bob@${hub.domain}`, 'zoe@h1', there.jid, hub.domain, '@@'])
      says(from)
    says(`zoe@${hub.domain}/r`)
    await guest.until(() => guest.chat.length > 0)
    expect(guest.chat).toEqual([`xmpp:zoe@${hub.domain} x`])
    expect(guest.refusals.snapshot()).toEqual({ 'peer.impersonation': 1 })
  })

  test('cannot show more people than the limit', async () => {
    await using one = await visit()
    const { guest, there } = one
    for (let n = 0; n < MAX_PEOPLE + 50; n++) there.present(`p${n}`)
    await guest.until(() => (guest.refusals.snapshot()['peer.oversized'] ?? 0) >= 50)
    expect(guest.contacts.list()).toHaveLength(MAX_PEOPLE)
    await guest.hubs.stop()
    expect(guest.contacts.list()).toEqual([])
  })

  test('cannot send signals that are none, or as people', async () => {
    await using one = await visit()
    const { guest, there, hub } = one
    const { peer } = newIdentity()
    there.present(peer, "<host xmlns='urn:partyline:host:0'/>").present('zoe')
    const signals: Uint8Array[] = []
    guest.hubs.onSignal((sealed) => signals.push(sealed))
    const signal = (local: string, text: string) =>
      there.send(
        `<message from='${local}@${hub.domain}/r'><signal xmlns='urn:partyline:signal:0'>${text}</signal></message>`,
      )
    signal(peer, '')
    signal(peer, 'not base64!')
    signal(peer, 'A'.repeat(20_000))
    signal('zoe', 'AAAA')
    signal(peer, Buffer.from('sealed').toString('base64'))
    await guest.until(() => signals.length > 0)
    expect(signals.map(String)).toEqual([String(Buffer.from('sealed'))])
    expect(guest.refusals.snapshot()).toMatchObject({ 'peer.oversized': 1 })
  })

  test('cannot use up what others may bring of signals', async () => {
    await using one = await visit()
    const { guest, there, hub } = one
    const { peer } = newIdentity()
    there.present(peer, "<host xmlns='urn:partyline:host:0'/>")
    let count = 0
    guest.hubs.onSignal(() => count++)
    const signal = `<message from='${peer}@${hub.domain}/r'><signal xmlns='urn:partyline:signal:0'>AAAA</signal></message>`
    there.send(signal.repeat(3000))
    there.send(`<message from='${hub.domain}'/>`).present('zoe')
    await guest.untilContact('zoe')
    expect([count, guest.refusals.snapshot()['peer.rate-limited']]).toEqual([1000, 2000])
  })

  test('cannot flood with chat', async () => {
    await using one = await visit()
    const { guest, there, hub } = one
    there.present('zoe')
    for (let n = 0; n < 100; n++)
      there.send(`<message from='zoe@${hub.domain}/r' type='chat'><body>${n}</body></message>`)
    there.send(`<message from='zoe@${hub.domain}/r' type='chat'><body>${'x'.repeat(5000)}</body></message>`)
    await guest.until(() => guest.refusals.snapshot()['peer.oversized'] === 1)
    expect([guest.chat.length, guest.refusals.snapshot()['peer.rate-limited']]).toEqual([30, 70])
  })

  test('that sends what no stream holds is left, and tried again later', async () => {
    await using one = await visit()
    const { guest, there } = one
    there.present('zoe')
    await guest.untilContact('zoe')
    there.send('<!DOCTYPE lolz [<!ENTITY lol "lol">]>')
    await guest.until(() => guest.contacts.list().length === 0)
    expect(guest.hubs.status()).toMatchObject([{ state: 'failed', people: [] }])
    expect(guest.refusals.snapshot()).toEqual({ 'peer.bad-xml': 1 })
    guest.clock.advance(2000)
    await guest.untilJoined()
  })
})

test('nothing is told once it has stopped, and it can start anew', async () => {
  await using host = await HubHost.start()
  await using guest = await HubGuest.start({ joined: [addressOf(host)] })
  await guest.untilJoined()
  const carol = await host.person('Carol')
  await guest.untilContact('Carol')
  await Promise.all([guest.hubs.stop(), guest.hubs.stop()])
  await guest.hubs.stop()
  expect([guest.contacts.list(), guest.hubs.status(), guest.mdns.browsers]).toEqual([[], [], []])
  await carol.until('type="unavailable"')
  await guest.hubs.start({ peer: guest.peer, name: 'again', port: 47800 }, guest.interfaces, guest.log)
  await guest.untilContact('Carol')
})

test('this host is at its own hub again when the method starts anew', async () => {
  const identity = newIdentity()
  await using host = await HubHost.start({ identity })
  await using guest = await HubGuest.start({ identity })
  await guest.hubs.advertise(host.hub)
  await guest.untilJoined()
  await guest.hubs.stop()
  await guest.hubs.start({ peer: guest.peer, name: 'again', port: 47800 }, guest.interfaces, guest.log)
  await guest.untilJoined()
  await guest.hubs.advertise(undefined)
  await guest.hubs.stop()
  await guest.hubs.start({ peer: guest.peer, name: 'again', port: 47800 }, guest.interfaces, guest.log)
  expect(guest.hubs.status()).toEqual([])
})
