import type { Packet } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import { ownHost } from '../../daemon/discovery/mdns/record.ts'
import type { Contact } from '../../daemon/xmpp/contacts.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { type LabMethod, startOn } from './lab-method.ts'
import { LabObserver, recordsIn } from './lab-observer.ts'
import type { Seen } from './mdns-observer.ts'

const missing = labMissing(['avahi-daemon', 'avahi-publish', 'avahi-browse'])
const TYPE = '_presence._tcp.local'

/** What an independent responder publishes. */
const publish = (lab: Lab, host: string, instance: string, ...txt: string[]) =>
  lab.spawn(host, ['avahi-publish', '-s', instance, '_presence._tcp', '5298', 'txtvers=1', ...txt])

async function untilContact(
  method: LabMethod,
  instance: string,
  condition = (_: Contact): boolean => true,
): Promise<Contact> {
  const found = (): Contact | undefined => {
    const contact = method.contacts.get(`xmpp:${instance}`)
    return contact && condition(contact) ? contact : undefined
  }
  await method.until(() => found() !== undefined)
  return found() as Contact
}

const untilNoContact = (method: LabMethod, instance: string): Promise<void> =>
  method.until(({ contacts }) => !contacts.has(`xmpp:${instance}`))

/** When an instance was announced with a TXT that holds a string. */
const announcements = (seen: readonly Seen[], instance: string, text: string): readonly Seen[] =>
  seen.filter(({ answers }) =>
    answers.some(
      ({ type, name, ttl, data }) =>
        type === 'TXT' && name === `${instance}.${TYPE}` && ttl > 0 && (data as string[]).includes(text),
    ),
  )

const saysGoodbye = (seen: readonly Seen[], instance: string): boolean =>
  seen.some((packet) =>
    recordsIn(packet).some(({ type, data, ttl }) => type === 'PTR' && data === `${instance}.${TYPE}` && ttl === 0),
  )

/** Records of an instance as another host would announce them. */
function recordsOf(instance: string, host: string, ...txt: string[]): Packet {
  const name = `${instance}.${TYPE}`
  return {
    type: 'response',
    answers: [
      { type: 'PTR', name: TYPE, ttl: 4500, data: name },
      { type: 'SRV', name, ttl: 120, data: { port: 5298, target: host } },
      { type: 'TXT', name, ttl: 4500, data: txt },
    ],
  }
}

describe.skipIf(missing)(`presence in the lab${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('shows in avahi, and avahi in the roster, until each says goodbye', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    await lab.svc('h2', 'avahi')
    const { method, peer } = await startOn(lab, 'h1', 'xmpp', 'Annas Küche')
    const alice = publish(lab, 'h2', 'alice@h2', 'nick=Alice', 'status=away', 'msg=grüße')
    const contact = await untilContact(method, 'alice@h2')
    expect(contact).toMatchObject({ name: 'Alice', presence: { show: 'away', text: 'grüße' } })
    for (const sighting of contact.sightings)
      expect(sighting).toMatchObject({ method: 'xmpp', interface: 'eth0', port: 5298 })
    const dotted = publish(lab, 'h2', 'john.doe@h2', 'status=dnd')
    expect(await untilContact(method, 'john.doe@h2')).toMatchObject({ name: 'john.doe', presence: { show: 'busy' } })
    for (const instance of ['john.doe@h2', 'alice@h2'])
      expect((await method.lookUp(instance))?.addresses).toContainEqual({
        address: '192.168.50.2',
        port: 5298,
        interface: 'eth0',
      })
    expect(await method.lookUp('nobody@h2')).toBeUndefined()

    const browse = async (): Promise<string> =>
      (await lab.exec('h2', ['avahi-browse', '-rpt', '_presence._tcp'])).stdout
    const line = (await browse())
      .split('\n')
      .find((one) => one.startsWith('=') && one.includes('Annas-Kuche') && one.includes('192.168.50.1'))
    expect(line).toContain(`;${ownHost(peer)};192.168.50.1;47800;`)
    for (const text of ['txtvers=1', 'nick=Annas', 'status=avail', 'hash=sha-1', 'port.p2pj=47800', `pl.id=${peer}`])
      expect(line).toContain(`"${text}`)

    alice.kill('SIGTERM')
    await untilNoContact(method, 'alice@h2')
    expect([...method.contacts.keys()]).toEqual(['xmpp:john.doe@h2'])
    dotted.kill('SIGTERM')
    await untilNoContact(method, 'john.doe@h2')
    await method.stop()
    await expect.poll(browse, { timeout: 5000 }).not.toContain('Annas-Kuche')
  })

  test('is asked for three times, announced, changed without a goodbye and twice, and taken back', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const ear = await LabObserver.start(lab, 'h3', '192.168.50.3')
    const [a, b] = [await startOn(lab, 'h1', 'xmpp', 'anna'), await startOn(lab, 'h2', 'xmpp', 'bob')]
    const first = await ear.until((seen) => announcements(seen, 'anna@h1', 'status=avail')[0])
    const probes = ear.seen.filter(({ questions }) =>
      questions.some(({ name, type }) => name === `anna@h1.${TYPE}` && type === 'ANY'),
    )
    expect(probes).toHaveLength(3)
    expect(first.at - (probes[0]?.at ?? 0)).toBeGreaterThan(700)
    const txt = first.answers.find(({ type }) => type === 'TXT')
    expect(txt?.data).toEqual(expect.objectContaining({ 0: 'txtvers=1' }))

    await b.log.untilSees(a.peer)
    a.method.setPresence({ show: 'busy', text: 'beim Essen' })
    await b.method.until(({ presences }) =>
      presences.some(({ peer, presence }) => peer === a.peer && presence.text !== ''),
    )
    expect(b.method.presences.at(-1)).toEqual(
      expect.objectContaining({ presence: { show: 'busy', text: 'beim Essen' } }),
    )
    const [once, twice] = await ear.until((seen) => {
      const told = announcements(seen, 'anna@h1', 'status=dnd')
      return told.length > 1 && told
    })
    expect((twice?.at ?? 0) - (once?.at ?? 0)).toBeGreaterThan(900)
    expect((twice?.at ?? 0) - (once?.at ?? 0)).toBeLessThan(2000)
    for (const record of once?.answers ?? []) expect(record.flush).toBe(record.type !== 'PTR')
    expect(saysGoodbye(ear.seen, 'anna@h1')).toBe(false)
    expect(b.log.of(a.peer)).not.toEqual([])

    await a.method.stop()
    await ear.until((seen) => saysGoodbye(seen, 'anna@h1'))
    await b.log.untilGone(a.peer)
  })

  test('is defended quickly under its own name, and answers who asks for everyone at leisure', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const ear = await LabObserver.start(lab, 'h2', '192.168.50.2')
    await startOn(lab, 'h1', 'xmpp', 'anna')
    await ear.until((seen) => announcements(seen, 'anna@h1', 'status=avail').length > 1)
    /** Time between two answers to questions for all there is of a name. */
    const pause = async (name: string): Promise<number> => {
      const answered = (seen: readonly Seen[]) =>
        seen.filter(
          ({ answers: [one, ...more], additionals }) =>
            additionals.length === 0 && one?.name === name && more.every((other) => other.name === name),
        )
      const before = answered(ear.seen).length
      const next = (count: number): Promise<Seen> => {
        ear.send({ type: 'query', questions: [{ name, type: 'ANY' as never }] })
        return ear.until((seen) => answered(seen)[before + count])
      }
      const [first, second] = [await next(0), await next(1)]
      return second.at - first.at
    }
    expect(await pause(`anna@h1.${TYPE}`)).toBeLessThan(900)
    expect(await pause(TYPE)).toBeGreaterThan(900)
  })

  test('takes another name where somebody has it, before it is announced and later', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    await lab.svc('h2', 'avahi')
    const ear = await LabObserver.start(lab, 'h3', '192.168.50.3')
    for (const name of ['anna@h1', 'anna-1@h1']) {
      const browser = lab.spawn('h2', ['avahi-publish', '-s', name, '_presence._tcp', '5298', 'txtvers=1'])
      await ear.until((seen) => announcements(seen, name, 'txtvers=1').length > 0)
      expect(browser.exitCode).toBeNull()
    }
    const a = await startOn(lab, 'h1', 'xmpp', 'anna')
    await ear.until((seen) => announcements(seen, 'anna-2@h1', `pl.id=${a.peer}`).length > 0)
    for (const name of ['anna@h1', 'anna-1@h1']) expect(announcements(ear.seen, name, `pl.id=${a.peer}`)).toEqual([])
    expect((await a.method.look()).self).toBe('anna-2@h1')
    expect([...a.method.contacts.keys()].sort()).toEqual(['xmpp:anna-1@h1', 'xmpp:anna@h1'])

    ear.send(recordsOf('anna-2@h1', 'thief.local', 'txtvers=1'))
    await ear.until((seen) => announcements(seen, 'anna-3@h1', `pl.id=${a.peer}`).length > 0)
    expect(saysGoodbye(ear.seen, 'anna-2@h1')).toBe(true)
  })

  test('keeps two hosts of one name apart, which start at once', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const hosts = await Promise.all([1, 2, 3].map(() => startOn(lab, 'h1', 'xmpp', 'twin')))
    const other = await startOn(lab, 'h2', 'xmpp', 'ear')
    for (const { peer } of hosts) await other.log.untilSees(peer)
    await expect
      .poll(async () => (await Promise.all(hosts.map(({ method }) => method.look()))).map(({ self }) => self).sort(), {
        timeout: 10_000,
      })
      .toEqual(['twin-1@h1', 'twin-2@h1', 'twin@h1'])
    for (const { peer } of hosts) expect(other.log.of(peer)).not.toEqual([])
    expect(other.method.contacts.size).toBe(0)
  })

  test('of one person on two networks is one entry', async () => {
    await using lab = await Lab.up('lan-multi')
    await lab.svc('h1', 'avahi')
    const [both, one] = [await startOn(lab, 'h2', 'xmpp'), await startOn(lab, 'h3', 'xmpp')]
    const alice = publish(lab, 'h1', 'alice@h1', 'status=avail')
    const seenOn = ({ sightings }: Contact) => new Set(sightings.map((sighting) => sighting.interface))
    await untilContact(both.method, 'alice@h1', (contact) => seenOn(contact).size === 2)
    await untilContact(one.method, 'alice@h1')
    expect([...both.method.contacts.keys()]).toEqual(['xmpp:alice@h1'])
    for (const { interface: on, address } of both.method.contacts.get('xmpp:alice@h1')?.sightings ?? [])
      expect(address).toMatch(on === 'eth0' ? /^192\.168\.50\.|^fd00:50:|%eth0$/ : /^192\.168\.51\.|^fd00:51:|%eth1$/)

    await lab.link('h2', 'down', 'eth1')
    await untilContact(both.method, 'alice@h1', (contact) => seenOn(contact).size === 1)
    alice.kill('SIGTERM')
    await untilNoContact(both.method, 'alice@h1')
    await untilNoContact(one.method, 'alice@h1')
  })

  test('is read from records that come one by one, and from a TXT alone', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const { method } = await startOn(lab, 'h1', 'xmpp')
    const mouth = await LabObserver.start(lab, 'h2', '192.168.50.2')
    const { answers = [] } = recordsOf('carol@h2', 'h2.local', 'txtvers=1', 'status=avail', 'msg=hi')
    for (const answer of answers) mouth.send({ type: 'response', answers: [answer] })
    await untilContact(method, 'carol@h2', ({ presence }) => presence.text === 'hi')
    const [, , changed] = recordsOf('carol@h2', 'h2.local', 'txtvers=1', 'status=dnd').answers ?? []
    if (changed) mouth.send({ type: 'response', answers: [changed] })
    await untilContact(method, 'carol@h2', ({ presence }) => presence.show === 'busy' && presence.text === '')
  })

  test('is the newest, also where texts of several lines differ in the last only', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const { method } = await startOn(lab, 'h1', 'xmpp')
    const mouth = await LabObserver.start(lab, 'h2', '192.168.50.2')
    for (const last of ['one', 'two']) {
      mouth.send(recordsOf('carol@h2', 'h2.local', 'txtvers=1', `msg=at lunch\n${last}`))
      await untilContact(method, 'carol@h2', ({ presence }) => presence.text === `at lunch ${last}`)
    }
  })

  test('shares its sockets with a service that comes later, under another host name, and outlives it', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const ear = await LabObserver.start(lab, 'h3', '192.168.50.3')
    const a = await startOn(lab, 'h1', 'xmpp', 'anna')
    await ear.until((seen) => announcements(seen, 'anna@h1', 'status=avail')[0])
    const ask = (name: string, type: 'A' | 'PTR'): void => ear.send({ type: 'query', questions: [{ name, type }] })
    const answered = (name: string, since: number, data: string): Promise<true> =>
      ear.until((seen) =>
        seen
          .slice(since)
          .some((packet) =>
            packet.answers.some((record) => record.name === name && record.ttl > 0 && record.data === data),
          ),
      )
    const sockets = async (): Promise<number> => {
      const { stdout } = await lab.exec('h1', ['cat', '/proc/net/udp', '/proc/net/udp6'])
      return stdout.split('\n').filter((line) => line.includes(':14E9 ')).length
    }
    const before = await sockets()
    a.method.attach({ instance: 'party', port: 5223, txt: { v: '1' }, host: 'hub-abc.local' })
    await ear.until((seen) =>
      seen.some((packet) => packet.answers.some(({ data }) => data === 'party._partyline-hub._tcp.local')),
    )
    expect(await sockets()).toBe(before)
    ask('hub-abc.local', 'A')
    await answered('hub-abc.local', ear.seen.length, '192.168.50.1')

    await a.method.detach()
    const gone = await ear.until((seen) => seen.find((packet) => packet.answers.some(({ ttl }) => ttl === 0)))
    expect(new Set(gone.answers.map(({ name }) => name))).toEqual(
      new Set(['_partyline-hub._tcp.local', 'party._partyline-hub._tcp.local', 'hub-abc.local']),
    )
    ask(ownHost(a.peer), 'A')
    await answered(ownHost(a.peer), ear.seen.length, '192.168.50.1')
    ask('_services._dns-sd._udp.local', 'PTR')
    await answered('_services._dns-sd._udp.local', ear.seen.length, TYPE)
    expect(saysGoodbye(ear.seen, 'anna@h1')).toBe(false)
  })
})
