import { describe, expect, test } from 'vitest'
import type { HubStatus } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { PROFANITY_NEEDS, Profanity } from '../lab/profanity.ts'
import { SLIXMPP_NEEDS, Slixmpp } from '../lab/slixmpp.ts'
import { Guest } from './party.ts'

const missing = labMissing([...PROFANITY_NEEDS, ...SLIXMPP_NEEDS, 'openssl', 'ss'])
const HUB = '192.168.50.1'

/** A hub on h1, and the daemons on these hosts, which have joined it. */
async function openHub(lab: Lab, ...hosts: readonly string[]) {
  const host = await Guest.join(lab, 'h1')
  const { domain, port, certificate } = (await host.json(['hub', 'start', '--name', 'lanparty'])) as HubStatus
  const { pin } = (await host.json(['hub', 'pin'])) as { pin: string }
  const guests = await Promise.all(hosts.map((name) => Guest.join(lab, name)))
  for (const guest of guests) await guest.untilJoined()
  const account = (nick: string, password = pin, caFile = certificate) => ({
    address: HUB,
    port,
    jid: `${nick}@${domain}`,
    password,
    caFile,
  })
  return { host, guests, domain, port, certificate, account }
}

/** The sockets that listen on a host, as `tcp 5223`. */
async function openPorts(lab: Lab, host: string): Promise<readonly string[]> {
  const { stdout } = await lab.exec(host, ['ss', '-Hltnu'])
  const sockets = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  return [...new Set(sockets.map(([kind, , , , local]) => `${kind} ${local?.split(':').at(-1)}`))].sort()
}

describe.skipIf(missing)(`a hub${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('serves Profanity, slixmpp and daemons: everyone sees and reaches everyone', async () => {
    await using lab = await Lab.up('lan', { n: 5 })
    const { host, guests, domain, certificate, account } = await openHub(lab, 'h2', 'h3')
    const [a, b] = guests as [Guest, Guest]

    const anna = await Profanity.start(lab, 'h4', account('anna'))
    await anna.trust(certificate)
    await anna.loggedIn()
    const bob = Slixmpp.start(lab, 'h5', account('bob'))
    await bob.loggedIn()
    for (const guest of [host, a, b]) {
      await anna.sees(guest.id)
      await bob.untilSees(`${guest.id}@${domain}`)
      await guest.untilContact('anna')
      const contact = await guest.untilContact('bob')
      expect(contact).toMatchObject({ id: `xmpp:bob@${domain}`, proven: false, route: null })
      expect([...new Set(contact.sightings.map(({ method }) => method))]).toEqual(['hub'])
    }
    const roster = await bob.roster()
    expect(roster.find(({ jid }) => jid === `${a.id}@${domain}`)).toMatchObject({ name: 'h2', subscription: 'both' })
    expect((await host.client.call('hub.status', {})).people.map(({ name }) => name).sort()).toEqual(
      expect.arrayContaining(['anna', 'bob']),
    )

    await anna.send('bob', 'Grüße & <Küsse> 你好')
    expect(await bob.receives('Grüße & <Küsse> 你好')).toBe(`anna@${domain}`)
    await bob.send(`anna@${domain}`, 'zurück: ёжик')
    await anna.reads('bob', 'zurück: ёжик')

    await bob.send(`${a.id}@${domain}`, 'hallo h2, schön')
    expect(await a.hears('hallo h2, schön')).toMatchObject({ peer: `xmpp:bob@${domain}`, encrypted: false, via: 'hub' })
    const answer = await a.client.call('chat.send', { peer: `xmpp:bob@${domain}`, text: 'grüß dich, bob' })
    expect(answer).toMatchObject({ encrypted: false, via: 'hub' })
    expect(await bob.receives('grüß dich, bob')).toBe(`${a.id}@${domain}`)
    await anna.send(b.id, 'hallo h3')
    expect(await b.hears('hallo h3')).toMatchObject({ peer: `xmpp:anna@${domain}`, via: 'hub' })
    await b.client.call('chat.send', { peer: 'anna', text: 'grüß dich, anna' })
    await anna.reads(b.id, 'grüß dich, anna')

    await a.json(['presence', 'away', 'beim Essen'])
    await bob.until(
      'h2 is away',
      (told) => told.event === 'presence' && told.type === 'away' && told.text === 'beim Essen',
    )
    await bob.presence('dnd', 'zu tun')
    await a.untilContact('bob', ({ presence }) => presence.show === 'busy' && presence.text === 'zu tun')

    expect(await bob.ping(domain)).toBeGreaterThan(0)
    expect((await bob.disco(domain)).identities).toEqual([['server', 'im', 'lanparty']])
    await bob.vcard(`anna@${domain}`)

    await anna.quit()
    for (const guest of [a, b]) await guest.untilNoContact('anna')
    await bob.send(`anna@${domain}`, 'bist du noch da?')
    const returned = await bob.until(
      'the message comes back',
      (told) => told.event === 'message' && told.type === 'error',
    )
    expect(returned).toMatchObject({ from: `anna@${domain}`, condition: 'service-unavailable' })

    await host.json(['hub', 'stop'])
    await bob.until('is logged out', ({ event }) => event === 'disconnected')
    for (const guest of [host, a, b]) {
      await guest.untilNoContact('bob')
      await guest.untilHub(({ running, hubs }) => !running && !hubs.some((hub) => hub.state === 'joined'))
    }
    const again = (await host.json(['hub', 'start', '--name', 'lanparty'])) as HubStatus
    expect(again.people.filter(({ kind }) => kind === 'chat')).toEqual([])
    for (const guest of [host, a, b]) expect(guest.daemon.log()).not.toMatch(/DeprecationWarning|\[DEP\d+\]/)
  }, 180_000)

  test('refuses a wrong PIN and a nickname in use, and is refused where its certificate is another', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const { host, account } = await openHub(lab)
    const anna = Slixmpp.start(lab, 'h2', account('anna'))
    await anna.loggedIn()
    const impostor = Slixmpp.start(lab, 'h3', account('anna'))
    expect(await impostor.refused()).toBe('failed_auth')
    const guesser = Slixmpp.start(lab, 'h3', account('mallory', '000000'))
    expect(await guesser.refused()).toBe('failed_auth')
    const elsewhere = `${lab.folder}/elsewhere.pem`
    const make = ['openssl', 'req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', '/dev/null', '-out', elsewhere]
    const name = account('anna').jid.split('@').at(-1)
    await lab.exec('h3', [...make, '-subj', '/CN=elsewhere', '-addext', `subjectAltName=DNS:${name}`])
    const careful = Slixmpp.start(lab, 'h3', account('carol', undefined, elsewhere))
    expect(await careful.refused()).toBe('untrusted')
    const misled = Slixmpp.start(lab, 'h3', { ...account('carol'), jid: 'carol@hub-another.local' })
    expect(await misled.refused()).toBe('untrusted')

    const { refused } = await host.client.call('daemon.status', {})
    expect(refused['peer.not-authorized']).toBe(2)
    expect(await anna.ping(String(name))).toBeGreaterThan(0)
  }, 90_000)

  test("opens its own port and none beside the daemon's", async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const host = await Guest.join(lab, 'h1')
    const before = await openPorts(lab, 'h1')
    const { daemon } = host
    expect(before).toEqual([`tcp ${daemon.port}`, 'udp 47799', `udp ${daemon.port}`, 'udp 5353'].sort())
    const { port } = (await host.json(['hub', 'start', '--name', 'lanparty'])) as HubStatus
    const guest = await Guest.join(lab, 'h2')
    await guest.untilJoined()
    expect(await openPorts(lab, 'h1')).toEqual([...before, `tcp ${port}`].sort())
    await host.json(['hub', 'stop'])
    expect(await openPorts(lab, 'h1')).toEqual(before)
  })
})
