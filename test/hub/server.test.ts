import { once } from 'node:events'
import { connect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { checkCredential, makeCredential } from '../../daemon/hub/credential.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { HubHost, newHub, newIdentity, PIN } from './hub-host.ts'

describe('a hub', () => {
  it('serves hosts by their key and people by the PIN, and shows everyone to everyone', async () => {
    await using host = await HubHost.start()
    const identity = newIdentity()
    const daemon = await host.daemon(identity)
    expect(daemon.jid).toBe(`${identity.peer}@hub-lanparty.local/r`)
    const anna = await host.person('Anna')
    expect(anna.jid).toBe('anna@hub-lanparty.local/r')
    await daemon.until(`<item jid="anna@hub-lanparty.local" name="Anna" subscription="both"/>`)
    await daemon.until(
      `<presence from="${anna.jid}" to="${daemon.jid}"><nick xmlns="http://jabber.org/protocol/nick">Anna</nick>`,
    )
    anna.send(`<message to='${identity.peer}@hub-lanparty.local' type='chat'><body>grüß dich 🎈</body></message>`)
    await daemon.until(`from="${anna.jid}"><body>grüß dich 🎈</body></message>`)
    expect(host.hub.people().map(({ name, kind }) => [name, kind])).toEqual([
      ['Anna', 'chat'],
      [`host-${identity.peer.slice(0, 4)}`, 'host'],
    ])
    expect(host.hub.counts).toEqual({ clients: 2, halfOpen: 0, open: 2 })
    anna.send('</stream:stream>')
    await daemon.until(`<presence type="unavailable" from="${anna.jid}"`)
    expect(host.changes).toBeGreaterThan(0)
  })

  it('is served by @xmpp/client', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const { domain, port, certificatePem } = host.hub
    // The package has no types, and takes no authority for the certificate.
    const { client, xml } = await import('@xmpp/client' as string)
    const bob = client({ service: `xmpps://127.0.0.1:${port}`, domain, username: 'Bob', password: PIN })
    const Tls = bob.transports.find(({ name }: { name: string }) => name === 'ConnectionTLS')
    class Trusting extends Tls {
      socketParameters(): object {
        return { host: '127.0.0.1', port, ca: certificatePem, servername: domain }
      }
    }
    bob.transports = [Trusting]
    bob.on('error', () => {})
    await bob.start()
    await bob.send(xml('presence'))
    await anna.until('<presence from="bob@')
    await bob.send(xml('message', { to: 'anna@hub-lanparty.local', type: 'chat' }, xml('body', {}, 'hi')))
    await anna.until('<body>hi</body>')
    await bob.stop()
    await anna.until('type="unavailable"')
  })

  it('shows a certificate that stays the same, for its domain and key', async () => {
    const identity = newIdentity()
    const fingerprints: string[] = []
    for (const _start of [1, 2]) {
      const hub = newHub({
        identity,
        clock: { now: () => 0, wall: () => 0, after: () => ({ cancel: () => {} }) },
        refusals: new Refusals(),
        limits: { clients: 1, perAddress: 1 },
        name: 'Café',
      })
      await hub.start({ port: 0 })
      fingerprints.push(hub.fingerprint)
      const socket = connect({
        host: '127.0.0.1',
        port: hub.port,
        ca: hub.certificatePem,
        servername: hub.domain,
        ALPNProtocols: ['xmpp-client'],
      })
      await once(socket, 'secureConnect')
      expect([hub.domain, socket.authorized, socket.alpnProtocol, socket.getProtocol()]).toEqual([
        'hub-cafe.local',
        true,
        'xmpp-client',
        'TLSv1.3',
      ])
      expect(socket.getPeerX509Certificate()?.fingerprint256).toBe(hub.fingerprint)
      socket.destroy()
      await hub.stop()
      await hub.stop()
    }
    expect(fingerprints[0]).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
    expect(fingerprints[1]).toBe(fingerprints[0])
  })

  it('shows people a key that clients without Ed25519 know, and hosts the key that names it', async () => {
    await using host = await HubHost.start()
    const keyOf = ({ socket }: Awaited<ReturnType<HubHost['connect']>>) =>
      socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType
    expect(keyOf(await host.connect())).toBe('ec')
    expect(keyOf(await host.connect({ sigalgs: 'ecdsa_secp256r1_sha256' }))).toBe('ec')
    expect(keyOf(await host.connectAsHost())).toBe('ed25519')
  })

  it('takes another port where its own is in use', async () => {
    await using first = await HubHost.start()
    await using second = await HubHost.start()
    await second.hub.stop()
    await second.hub.start({ port: first.hub.port })
    expect(second.hub.port).not.toBe(first.hub.port)
    expect(second.hub.port).toBeGreaterThan(0)
  })

  it('says goodbye when it stops, and keeps nobody', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const stopped = host.hub.stop()
    await anna.until(/<system-shutdown .*<\/stream:stream>/s)
    await stopped
    await anna.closed
    expect([host.hub.people(), host.hub.port, host.hub.counts.clients]).toEqual([[], 0, 0])
  })

  it('gives a message for somebody who just left back', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const bob = await host.person('Bob')
    bob.socket.destroy()
    await anna.until('type="unavailable"')
    anna.send(`<message to='${bob.jid}' id='m1'><body>still there?</body></message>`)
    expect(await anna.until('</message>')).toContain('<service-unavailable')
  })
})

describe('log-in', () => {
  it('offers PLAIN alone, and a new id for each stream', async () => {
    await using host = await HubHost.start()
    const anna = await host.connect()
    const offer = await anna.open()
    expect(offer.match(/<mechanism>.*?<\/mechanism>/g)).toEqual(['<mechanism>PLAIN</mechanism>'])
    await anna.authenticate('Anna', PIN)
    const ids = [offer, await anna.open()].map((text) => / id="([0-9a-f]{32})"/.exec(text)?.[1])
    expect(new Set(ids).size).toBe(2)
    expect(ids).not.toContain(undefined)
  })

  it('takes the response apart from the request', async () => {
    await using host = await HubHost.start()
    const anna = await host.connect()
    await anna.open()
    await anna.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>`).until('<challenge')
    const plain = Buffer.from(`\0anna\0${PIN}`).toString('base64')
    anna.send(`<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>${plain}</response>`)
    await anna.until('<success')
  })

  it('refuses a wrong PIN, a changed one, and a nickname that is none, and ends the stream after three', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    host.hub.setPin('314159')
    const client = await host.connect()
    await client.open()
    expect(await client.authenticate('Bob', PIN)).toContain('<not-authorized/>')
    expect(await client.authenticate('Bob <b>', '314159')).toContain('<not-authorized/>')
    expect(await client.authenticate('Bob', '')).toContain('<not-authorized/>')
    await client.until('<policy-violation')
    await client.closed
    expect(host.refusals.snapshot()).toEqual({ 'peer.not-authorized': 3 })
    await anna.settle()
  })

  it('lets nobody search for the PIN: five wrong ones a minute', async () => {
    await using host = await HubHost.start()
    const tryOnce = async (pin: string): Promise<string> => {
      const client = await host.connect()
      await client.open()
      return await client.authenticate('Eve', pin)
    }
    for (let i = 0; i < 5; i++) expect(await tryOnce(String(100_000 + i))).toContain('<not-authorized/>')
    expect(await tryOnce(PIN)).toContain('<temporary-auth-failure/>')
    expect(host.refusals.snapshot()).toEqual({ 'peer.not-authorized': 5, 'peer.rate-limited': 1 })
    host.clock.advance(60_000)
    expect(await tryOnce(PIN)).toContain('<success')
  })

  it('lets no address come and go without end', async () => {
    await using host = await HubHost.start({ limits: { perAddress: 2 } })
    const comeAndGo = async (): Promise<void> => {
      const anna = await host.person('Anna')
      anna.socket.destroy()
      while (host.hub.counts.open > 0) await new Promise((resolve) => setImmediate(resolve))
    }
    for (let times = 0; times < 4; times++) await comeAndGo()
    await expect(comeAndGo()).rejects.toThrow('Too many log-ins')
    expect(host.refusals.snapshot()).toEqual({ 'peer.rate-limited': 1 })
    host.clock.advance(30_000)
    await comeAndGo()
  })

  it('takes a proof on the connection it was made for alone', async () => {
    await using host = await HubHost.start()
    await using other = await HubHost.start({ name: 'other' })
    const identity = newIdentity()
    const mine = await host.connectAsHost()
    const proof = makeCredential(identity, mine.socket)
    for (const one of [await host.connectAsHost(), await other.connectAsHost()]) {
      await one.open()
      expect(await one.authenticate(proof.username, proof.password)).toContain('<not-authorized/>')
    }
    await mine.open()
    expect(await mine.authenticate(newIdentity().peer, proof.password)).toContain('<not-authorized/>')
    expect(await mine.authenticate(proof.username, 'nonsense')).toContain('<not-authorized/>')
    expect(await mine.authenticate(proof.username, proof.password)).toContain('<success')
  })

  it('takes no proof on a connection that is over', async () => {
    await using host = await HubHost.start()
    const identity = newIdentity()
    const { socket } = await host.connectAsHost()
    const certificate = socket.getPeerX509Certificate()
    const { password } = makeCredential(identity, socket, certificate)
    const check = () => checkCredential(identity.peer, password, certificate?.raw ?? new Uint8Array(), socket)
    expect(check()).toBe(true)
    socket.destroy()
    expect(check()).toBe(false)
  })

  it('replaces the connection of a host that comes again', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const identity = newIdentity()
    const before = await host.daemon(identity)
    await anna.until(`<presence from="${before.jid}"`)
    const after = await host.daemon(identity)
    await before.until('<conflict')
    await before.closed
    await anna.until(`<presence type="unavailable" from="${before.jid}"`)
    await anna.until(`<presence from="${after.jid}"`)
    await after.settle()
    expect(host.hub.people()).toHaveLength(2)
  })

  it('leaves a nickname to whoever has it and answers', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const other = await host.connect()
    await other.open()
    other.sendAuth('ANNA', PIN)
    await anna.until('<ping xmlns="urn:xmpp:ping"/>')
    anna.send(' ')
    expect(await other.until('</failure>')).toContain('Somebody else has this nickname')
    await anna.settle()
  })

  it('gives a nickname to the next when its owner no longer answers', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const other = await host.connect()
    await other.open()
    other.sendAuth('anna', PIN)
    await anna.until('<ping xmlns="urn:xmpp:ping"/>')
    host.clock.advance(5000)
    await other.until('<success')
    await anna.until('<conflict')
    await other.bind()
    await other.appear()
    expect(host.hub.people()).toHaveLength(1)
  })

  it.each([
    ['a stanza before it', `<message to='anna@hub-lanparty.local'><body>x</body></message>`, 'not-authorized'],
    ['a request before it', `<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>`, 'not-authorized'],
    ['STARTTLS', `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`, 'not-authorized'],
    ['the answer to STARTTLS', `<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`, 'not-authorized'],
    [
      'another mechanism',
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>`,
      'invalid-mechanism',
    ],
    [
      'no log-in at all',
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AAAA</auth>`,
      'malformed-request',
    ],
    [
      'too much before it',
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${'A'.repeat(20_000)}`,
      'policy-violation',
    ],
  ])('is refused with %s', async (_what, text, condition) => {
    await using host = await HubHost.start()
    const client = await host.connect()
    await client.open()
    expect(await client.send(text).until(`<${condition}`)).not.toContain('<success')
  })

  it.each([
    ['unbound', `<message to='anna@hub-lanparty.local'/>`, 'not-authorized'],
    [
      'an unknown stanza',
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>`,
      'unsupported-stanza-type',
    ],
  ])('and binding come before stanzas: %s', async (_what, text, condition) => {
    await using host = await HubHost.start()
    const client = await host.connect()
    await client.open()
    await client.authenticate('Bob', PIN)
    await client.open()
    await client.send(text).until(`<${condition}`)
    await client.closed
  })

  it('is not looked at behind what ended the stream', async () => {
    await using host = await HubHost.start()
    const client = await host.connect()
    await client.open()
    client.socket.cork()
    client.send(`<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>`).sendAuth('Bob', '000000')
    client.socket.uncork()
    await client.until('<not-authorized')
    await client.closed
    expect(host.refusals.snapshot()).toEqual({})
  })

  it('is for this domain alone', async () => {
    await using host = await HubHost.start()
    const client = await host.connect()
    const answer = await client.openOnly('elsewhere.org').until('</stream:stream>')
    expect(answer).toContain('from="hub-lanparty.local"')
    expect(answer).toContain('<host-unknown')
  })
})
