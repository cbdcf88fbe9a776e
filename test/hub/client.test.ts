import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../daemon/clock.ts'
import type { PartylineError } from '../../daemon/errors.ts'
import { checkCredential } from '../../daemon/hub/credential.ts'
import { HubClient } from '../../daemon/hub/hub-client.ts'
import { makeCertificate } from '../../daemon/identity/certificate.ts'
import type { HostPort } from '../../daemon/types.ts'
import { MAX_UNSENT } from '../../daemon/xmpp/client-connection.ts'
import { xml } from '../../daemon/xmpp/stanzas.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { HubHost, newIdentity, XmppClient } from './hub-host.ts'
import { PLAIN, ScriptedHub } from './scripted-hub.ts'

const LOOPBACK = [networkInterface('lo', ['127.0.0.1/8', '::1/128'])]

const identity = newIdentity()
const open: HubClient[] = []

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.leave()))
})

function newClient(target: HostPort, options: Partial<ConstructorParameters<typeof HubClient>[0]> = {}) {
  const stanzas: string[] = []
  const { promise: closed, resolve } = Promise.withResolvers<PartylineError>()
  const client = new HubClient({
    identity,
    clock: systemClock,
    target,
    admit: () => {},
    onStanza: (stanza) => stanzas.push(stanza.toString()),
    onClosed: resolve,
    ...options,
  })
  open.push(client)
  return { client, stanzas, closed }
}

const codeOf = (failed: Promise<unknown>): Promise<string | undefined> =>
  failed.then(
    () => undefined,
    (error: PartylineError) => error.code,
  )

/** A client at a scripted hub, logged in and there. */
async function atScripted(hub: ScriptedHub, options: Parameters<typeof newClient>[1] = {}) {
  const one = newClient(hub.target, options)
  await one.client.connect()
  one.client.send(xml('presence'))
  return { ...one, there: await (await hub.client()).there() }
}

describe('a log-in', () => {
  test('proves the identity to a hub, whose own key is known by then', async () => {
    await using host = await HubHost.start()
    const admitted: string[] = []
    const { client } = newClient(
      { address: '127.0.0.1', port: host.hub.port },
      { admit: (...of) => void admitted.push(...of) },
    )
    await client.connect()
    expect(admitted).toEqual([expect.stringMatching(/^[a-z2-7]{52}$/), 'hub-lanparty.local'])
    expect(client.jid).toMatch(new RegExp(`^${identity.peer}@hub-lanparty.local/.+`))
    client.send(xml('presence'))
    const anna = await host.person('Anna')
    await client.deliver(
      xml('message', { to: 'anna@hub-lanparty.local', type: 'chat' }, xml('body', {}, 'schön & <gut>')),
      2000,
    )
    await anna.until('<body>schön &amp; &lt;gut&gt;</body>')
    await client.leave()
    await anna.until('type="unavailable"')
    expect(host.refusals.snapshot()).toEqual({})
  })

  test('is not even tried where the hub is not admitted', async () => {
    await using hub = await ScriptedHub.start()
    const { client } = newClient(hub.target, {
      admit: () => {
        throw new RangeError('not this one')
      },
    })
    expect(await codeOf(client.connect())).toBe('local.internal')
    await newClient(hub.target).client.connect()
    expect(hub.credentials).toHaveLength(1)
  })

  test('is of no use to a hub that hands it on to another', async () => {
    await using host = await HubHost.start()
    await using evil = await ScriptedHub.start({ domain: host.hub.domain })
    await atScripted(evil)
    const [, username = '', password = ''] = (await evil.client()).credential.split('\0')
    expect(username).toBe(identity.peer)
    const relay = await host.connect()
    await relay.open()
    expect(await relay.authenticate(username, password)).toContain('<not-authorized')
  })

  test('is good on its own connection only', async () => {
    await using hub = await ScriptedHub.start()
    await atScripted(hub)
    await atScripted(hub)
    const [first, second] = [await hub.client(0), await hub.client(1)]
    const certificate = first.socket.getCertificate() as { raw: Buffer }
    const [, , password = ''] = first.credential.split('\0')
    expect(checkCredential(identity.peer, password, certificate.raw, first.socket)).toBe(true)
    expect(checkCredential(identity.peer, password, certificate.raw, second.socket)).toBe(false)
  })

  test('takes SASL PLAIN from the first of the streams, whatever else is offered', async () => {
    const everything =
      `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>` +
      `<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism><inline><sm xmlns='urn:xmpp:sm:3'/></inline></authentication>` +
      `<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism><mechanism>ANONYMOUS</mechanism><mechanism>PLAIN</mechanism></mechanisms>` +
      `<sm xmlns='urn:xmpp:sm:3'/>`
    await using hub = await ScriptedHub.start({ offer: everything })
    const { there } = await atScripted(hub)
    expect(there.received).toContain('mechanism="PLAIN"')
    for (const other of ['SCRAM', 'ANONYMOUS', 'starttls', 'sasl:2', 'urn:xmpp:sm'])
      expect(there.received).not.toContain(other)
  })

  test.for([
    ['PLAIN is not offered', PLAIN.replace('PLAIN', 'SCRAM-SHA-1'), 'peer.malformed'],
    ['only no log-in is offered', PLAIN.replace('PLAIN', 'ANONYMOUS'), 'peer.malformed'],
  ] as const)('fails where %s', async ([, offer, code]) => {
    await using hub = await ScriptedHub.start({ offer })
    const { client } = newClient(hub.target)
    expect(await codeOf(client.connect())).toBe(code)
    expect((await hub.client()).credential).toBe('')
  })

  test.for([
    ['not-authorized', 'peer.not-authorized'],
    ['temporary-auth-failure', 'peer.busy'],
  ] as const)('that is refused with %s is told so', async ([condition, code]) => {
    const outcome = `<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><${condition}/><text>No&#9;one</text></failure>`
    await using hub = await ScriptedHub.start({ outcome })
    const { client } = newClient(hub.target)
    await expect(client.connect()).rejects.toMatchObject({ code, message: expect.stringMatching(/No one$/) })
  })

  test('into the address of somebody else is refused', async () => {
    await using hub = await ScriptedHub.start({ jid: () => `${newIdentity().peer}@hub-scripted.local/r` })
    const { client } = newClient(hub.target)
    expect(await codeOf(client.connect())).toBe('peer.malformed')
  })

  test.for([
    ['a domain that is no hub', 'alice.local', undefined],
    ['a key that is no identity', undefined, 'other key'],
    ['TLS 1.2', undefined, 'old'],
  ] as const)('is not tried at %s', async ([, certified, tls]) => {
    const { certPem, keyPem } = await makeCertificate(newIdentity())
    await using hub = await ScriptedHub.start({
      ...(certified && { certified }),
      ...(tls === 'other key' && { tls: { cert: certPem, key: keyPem } }),
      ...(tls === 'old' && { tls: { maxVersion: 'TLSv1.2' } }),
    })
    const { client } = newClient(hub.target)
    expect(await codeOf(client.connect())).toMatch(/^peer\.(bad-certificate|wrong-protocol)$/)
  })

  test('is never sent in plain text', async () => {
    const said: Buffer[] = []
    const server = createServer((socket) => {
      socket
        .on('error', () => {})
        .on('data', (bytes) => {
          said.push(bytes)
          socket.end(
            `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`,
          )
        })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { client } = newClient({ address: '127.0.0.1', port: (server.address() as { port: number }).port })
    expect(await codeOf(client.connect())).toMatch(/^(peer\.wrong-protocol|network\.unreachable)$/)
    expect(said[0]?.[0]).toBe(0x16)
    expect(Buffer.concat(said).includes('stream')).toBe(false)
    server.close()
  })

  test('where nobody answers ends in time', async () => {
    const clock = new VirtualClock()
    const server = createServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const accepted = once(server, 'connection')
    const { client } = newClient({ address: '127.0.0.1', port: (server.address() as { port: number }).port }, { clock })
    const failed = codeOf(client.connect())
    await accepted
    clock.advance(4000)
    expect(await failed).toBe('network.unreachable')
    server.close()
  })

  test('that a hub does not finish ends in time', async () => {
    const clock = new VirtualClock()
    await using hub = await ScriptedHub.start({ outcome: '' })
    const { client } = newClient(hub.target, { clock })
    const failed = codeOf(client.connect())
    await (await hub.client()).until('</auth>')
    clock.advance(10_000)
    expect(await failed).toBe('network.timeout')
  })
})

describe('what a hub sends', () => {
  test.for([
    ['an entity', '<!DOCTYPE x [<!ENTITY a "b">]>', 'peer.bad-xml'],
    ['elements that are not nested', '<a></b>', 'peer.bad-xml'],
    ['a comment', '<!-- -->', 'peer.bad-xml'],
    ['deep nesting', '<a>'.repeat(100), 'peer.oversized'],
    ['a stanza without an end', `<message><body>${'x'.repeat(70_000)}`, 'peer.oversized'],
    ['bytes that are no text', Buffer.from([0x3c, 0xff, 0xfe]), 'peer.bad-xml'],
    ['the end of the stream', '</stream:stream>', 'network.lost'],
    [
      'an error',
      "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
      'network.lost',
    ],
    [
      'that another connection has the address',
      "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
      'peer.not-authorized',
    ],
    [
      'to go elsewhere',
      "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>127.0.0.1:1</see-other-host></stream:error>",
      'network.lost',
    ],
  ] as const)('ends the connection: %s', async ([, bytes, code]) => {
    await using hub = await ScriptedHub.start()
    const { there, closed } = await atScripted(hub)
    there.socket.write(bytes)
    expect((await closed).code).toBe(code)
    await there.closed()
    expect(hub.connections).toBe(1)
  })

  test.for([
    [
      'addresses that are none',
      {
        offer: `${PLAIN}`,
        header:
          "<stream:stream from='@@@' to='//' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
      },
    ],
    [
      'an answer before a question',
      { outcome: "<iq type='result' id='x' from='@@'/><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl' from='@@'/>" },
    ],
    [
      'stanzas before the log-in',
      {
        offer: `${PLAIN}<message from='@@'/>`,
        outcome: "<message from='@'/><presence/><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
      },
    ],
  ] as const)('during the log-in harms nobody: %s', async ([, script]) => {
    await using hub = await ScriptedHub.start(script)
    const { stanzas, client } = await atScripted(hub)
    expect([client.isOpen, stanzas]).toEqual([true, []])
  })

  test('as a success that nobody asked for is no log-in', async () => {
    await using hub = await ScriptedHub.start({
      offer: "</stream:features><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><stream:features>",
    })
    const clock = new VirtualClock()
    const { client } = newClient(hub.target, { clock })
    const failed = codeOf(client.connect())
    await (await hub.client()).until('<stream:stream')
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(10_000)
    expect(await failed).toBe('network.timeout')
    expect((await hub.client()).credential).toBe('')
  })

  test('as a question is answered: ping, what we can do, and what we cannot', async () => {
    await using hub = await ScriptedHub.start()
    const { there } = await atScripted(hub)
    const ask = (id: string, query: string) =>
      there.send(`<iq type='get' id='${id}' from='anna@hub-scripted.local/r'>${query}</iq>`)
    ask('q1', "<ping xmlns='urn:xmpp:ping'/>")
    await there.until(`<iq type="result" from="${there.jid}" to="anna@hub-scripted.local/r" id="q1"/>`)
    ask('q2', "<query xmlns='http://jabber.org/protocol/disco#info'/>")
    await there.until('<feature var="urn:partyline:signal:0"/>')
    ask('q3', "<query xmlns='jabber:iq:version'/>")
    await there.until('<service-unavailable')
    ask('q4', '')
    await there.until('<bad-request')
    there.send("<iq type='error' id='q5'/><iq type='result' id='q6'/>")
    ask('q7', "<ping xmlns='urn:xmpp:ping'/>")
    await there.until('id="q7"')
    expect(there.received).not.toMatch(/id="q[56]"/)
  })

  test('as more questions than that is not answered, except those of the hub itself', async () => {
    await using hub = await ScriptedHub.start()
    const clock = new VirtualClock()
    const { there, client } = await atScripted(hub, { clock })
    const ping = (id: string, from: string) =>
      there.send(`<iq type='get' id='${id}' ${from}><ping xmlns='urn:xmpp:ping'/></iq>`)
    for (let n = 0; n < 50; n++) ping(`n${n}.`, `from='anna@hub-scripted.local/r'`)
    for (let n = 0; n < 50; n++) ping(`hub${n}.`, n < 25 ? '' : `from='hub-scripted.local'`)
    await there.until('id="hub49."')
    expect(there.received.match(/id="n\d+\."/g)).toHaveLength(40)
    expect(there.received.match(/id="hub\d+\."/g)).toHaveLength(50)
    expect([client.answer(xml('message')), client.send(xml('message'))]).toEqual([false, true])
    clock.advance(1000)
    for (let n = 50; n < 60; n++) ping(`n${n}.`, `from='anna@hub-scripted.local/r'`)
    ping('last', '')
    await there.until('id="last"')
    expect(there.received.match(/id="n\d+\."/g)).toHaveLength(45)
  })

  test('in many pieces, inside of characters too, is put together', async () => {
    await using hub = await ScriptedHub.start()
    const { there, stanzas } = await atScripted(hub)
    there.socket.setNoDelay(true)
    for (const byte of Buffer.from("<message from='anna@hub-scripted.local'><body>grüß 🎈</body></message>"))
      await new Promise((resolve) => there.socket.write(Buffer.from([byte]), resolve))
    there.send("<iq type='get' id='after' from='x'><ping xmlns='urn:xmpp:ping'/></iq>")
    await there.until('id="after"')
    expect(stanzas.join('')).toContain('grüß 🎈')
  })
})

describe('a connection', () => {
  test('asks a silent hub whether it is there, and gives it up', async () => {
    const clock = new VirtualClock()
    await using hub = await ScriptedHub.start()
    const { there, closed } = await atScripted(hub, { clock })
    clock.advance(30_000)
    await there.until('<ping xmlns="urn:xmpp:ping"/>')
    clock.advance(15_000)
    expect((await closed).code).toBe('network.timeout')
  })

  test('whose own address is gone ends at once', async () => {
    await using hub = await ScriptedHub.start()
    const { client, closed } = await atScripted(hub, { clock: new VirtualClock() })
    client.check([networkInterface('eth0', ['192.0.2.1/24'])])
    expect((await closed).code).toBe('network.lost')
  })

  test('that is doubted and answers stays', async () => {
    const clock = new VirtualClock()
    await using hub = await ScriptedHub.start()
    const { there, client, closed } = await atScripted(hub, { clock })
    client.check(LOOPBACK)
    await there.until('<ping')
    clock.advance(1)
    there.send("<presence from='anna@hub-scripted.local'/><iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
    await there.until('id="q"')
    clock.advance(4000)
    expect(client.isOpen).toBe(true)
    client.check(LOOPBACK)
    clock.advance(4000)
    expect((await closed).code).toBe('network.timeout')
  })

  test('tells what became of a message', async () => {
    await using host = await HubHost.start()
    const { client } = newClient({ address: '127.0.0.1', port: host.hub.port })
    await client.connect()
    client.send(xml('presence'))
    await host.person('Anna')
    const message = (local: string) =>
      xml('message', { to: `${local}@${host.hub.domain}`, type: 'chat' }, xml('body', {}, 'x'))
    expect(await codeOf(client.deliver(message('anna'), 2000))).toBeUndefined()
    expect(await codeOf(client.deliver(message('bob'), 2000))).toBe('network.unreachable')
    await client.leave()
    expect(await codeOf(client.deliver(message('anna'), 2000))).toBe('network.lost')
    expect(client.send(message('anna'))).toBe(false)
  })

  test('does not wait for ever for what became of a message, and says when it was lost', async () => {
    const clock = new VirtualClock()
    await using hub = await ScriptedHub.start()
    const { there, client } = await atScripted(hub, { clock })
    const first = codeOf(client.deliver(xml('message'), 2000))
    clock.advance(2000)
    expect(await first).toBeUndefined()
    const second = codeOf(client.deliver(xml('message'), 2000))
    there.socket.destroy()
    expect(await second).toBe('network.lost')
  })

  test('keeps no more than its limit for a hub that does not read', async () => {
    await using hub = await ScriptedHub.start()
    const { there, client } = await atScripted(hub)
    there.socket.pause()
    const stanza = xml('message', {}, 'x'.repeat(8192))
    let sent = 0
    while (client.send(stanza) && sent < 10_000) sent++
    expect(sent).toBeLessThan(5000)
    const waiting: Promise<string | undefined>[] = []
    for (let n = 0; n < 300; n++) waiting.push(codeOf(client.deliver(xml('message'), 100)))
    expect(await Promise.all(waiting)).toContain('peer.busy')
    expect(MAX_UNSENT).toBeLessThanOrEqual(1024 * 1024)
  })

  test('can be left at any moment', async () => {
    await using hub = await ScriptedHub.start()
    for (const moment of [0, 1, 2, 3, 5, 8, 13]) {
      const { client } = newClient(hub.target)
      const ended = codeOf(client.connect())
      for (let n = 0; n < moment; n++) await new Promise((resolve) => setImmediate(resolve))
      await client.leave()
      await client.leave()
      expect([undefined, 'network.lost', 'network.unreachable', 'local.internal']).toContain(await ended)
    }
  })
})

test('the scripted hub is one that clients of others understand', async () => {
  await using hub = await ScriptedHub.start()
  const socket = connect({ ...hub.target, host: hub.target.address, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const client = new XmppClient(socket, hub.domain)
  await client.logIn('anna', 'x')
  expect(client.jid).toBe(`anna@${hub.domain}/r`)
  socket.destroy()
})
