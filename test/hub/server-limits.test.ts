import { once } from 'node:events'
import { connect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { CLIENT_LIMITS } from '../../daemon/hub/client-stream.ts'
import { HubHost, PIN, type XmppClient } from './hub-host.ts'

describe('hostile clients of a hub', () => {
  it.each([
    [
      'speaks for somebody else',
      `<message from='bob@hub-lanparty.local' to='anna@hub-lanparty.local'/>`,
      'invalid-from',
      'peer.impersonation',
    ],
    [
      'speaks for the hub',
      `<iq from='hub-lanparty.local' to='anna@hub-lanparty.local/r' type='get' id='1'/>`,
      'invalid-from',
      'peer.impersonation',
    ],
    ['begins a stanza that does not end', `<message><body>${'x'.repeat(70_000)}`, 'policy-violation', 'peer.oversized'],
    ['nests without end', '<message>'.repeat(200), 'policy-violation', 'peer.oversized'],
    ['declares entities', `<!DOCTYPE x [<!ENTITY a 'ha'>]>`, 'restricted-xml', 'peer.bad-xml'],
    ['uses an entity of its own', `<message><body>&lol;</body></message>`, 'restricted-xml', 'peer.bad-xml'],
    ['comments', `<!-- x -->`, 'restricted-xml', 'peer.bad-xml'],
    ['gives instructions', `<?php x ?>`, 'restricted-xml', 'peer.bad-xml'],
    ['is not well-formed', `<message></presence>`, 'not-well-formed', 'peer.bad-xml'],
  ])('one that %s is refused, counted, and disturbs nobody', async (_what, text, condition, code) => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const eve = await host.person('Eve')
    await anna.until('<presence from="eve@')
    eve.send(text)
    await eve.until(`<${condition}`)
    await eve.closed
    expect(host.refusals.snapshot()).toEqual({ [code]: 1 })
    expect(await anna.until('type="unavailable"')).not.toContain('<message')
    await anna.settle()
  })

  it('one that writes no UTF-8 is refused', async () => {
    await using host = await HubHost.start()
    const eve = await host.person('Eve')
    eve.socket.write(Buffer.from([0x3c, 0x61, 0xff, 0xfe]))
    await eve.until(/<(bad-format|unsupported-encoding|not-well-formed) /)
    await eve.closed
    expect(host.refusals.snapshot()).toEqual({ 'peer.bad-xml': 1 })
  })

  it('one that opens a stream within its stream is refused', async () => {
    await using host = await HubHost.start()
    const eve = await host.person('Eve')
    eve.openOnly()
    await eve.closed
    expect(eve.received).toContain('<stream:error')
  })

  it('text in pieces of one byte is understood', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const bob = await host.person('Bob')
    for (const byte of Buffer.from(`<message to='anna@hub-lanparty.local'><body>Grüße &amp; 🎈</body></message>`))
      bob.socket.write(Buffer.from([byte]))
    await anna.until('<body>Grüße &amp; 🎈</body>')
  })

  it('one that sends too many stanzas is read more slowly, and loses none', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const bob = await host.person('Bob')
    await anna.until('<presence from="bob@')
    const count = 200
    for (let i = 0; i < count; i++) bob.send(`<message to='anna@hub-lanparty.local' id='n${i}'/>`)
    let came = (await anna.until('id="n90"')) + (await anna.settle())
    expect(came).not.toContain(`id="n${count - 1}"`)
    while (!came.includes(`id="n${count - 1}"`)) {
      host.clock.advance(1000)
      came += await anna.settle()
    }
    for (let i = 0; i < count; i++) expect(came).toContain(`id="n${i}"`)
    expect(host.refusals.snapshot()).toEqual({})
  })

  it('one that does not read is cut off, and twenty others chat on', async () => {
    const client = { ...CLIENT_LIMITS, bytes: { rate: 1e9, burst: 1e9 }, stanzas: { rate: 1e6, burst: 1e6 } }
    await using host = await HubHost.start({ limits: { client } })
    const slow = await host.person('Slow')
    slow.socket.pause()
    const others: XmppClient[] = []
    for (let i = 0; i < 20; i++) others.push(await host.person(`Other${i}`))
    const body = 'x'.repeat(32 * 1024)
    const [talker] = others
    while (host.refusals.snapshot()['peer.slow-reader'] === undefined) {
      talker?.send(`<message to='slow@hub-lanparty.local'><body>${body}</body></message>`)
      await talker?.settle()
    }
    await Promise.all(others.map((one) => one.until('type="unavailable" from="slow@')))
    for (const [i, one] of others.entries()) {
      const next = others[(i + 1) % others.length]
      one.send(`<message to='${next?.jid}'><body>to ${i}</body></message>`)
      await next?.until(`<body>to ${i}</body>`)
    }
    expect(host.refusals.snapshot()).toEqual({ 'peer.slow-reader': 1 })
    slow.socket.destroy()
  })
})

describe('silence', () => {
  it('is asked about after a minute, and ended half a minute later', async () => {
    await using host = await HubHost.start()
    const anna = await host.person('Anna')
    const bob = await host.person('Bob')
    await anna.until('<presence from="bob@')
    host.clock.advance(CLIENT_LIMITS.idle)
    await Promise.all([anna, bob].map((one) => one.until('<ping xmlns="urn:xmpp:ping"/>')))
    await anna.settle()
    host.clock.advance(CLIENT_LIMITS.answer)
    await bob.closed
    await anna.until(`<presence type="unavailable" from="${bob.jid}"`)
  })

  it('during handshake or log-in is ended after ten seconds', async () => {
    await using host = await HubHost.start()
    const [silent, half] = [await host.connectSilently(), await host.connect()]
    await half.open()
    expect(host.hub.counts.halfOpen).toBe(2)
    host.clock.advance(10_000)
    await Promise.all([once(silent, 'close'), half.closed])
    expect(host.refusals.snapshot()).toEqual({ 'peer.handshake-timeout': 2 })
    expect(host.hub.counts).toEqual({ clients: 0, halfOpen: 0, open: 0 })
  })
})

describe('how many', () => {
  it('half-open connections: others wait for their turn, and whoever is logged in notices nothing', async () => {
    await using host = await HubHost.start({ limits: { halfOpen: 8 } })
    const anna = await host.person('Anna')
    const flood = await Promise.all(Array.from({ length: 8 }, () => host.connectSilently()))
    while (host.hub.counts.halfOpen < 8) await anna.settle()
    const bob = host.person('Bob')
    while (host.hub.counts.halfOpen < 9) await anna.settle()
    await anna.settle()
    host.clock.advance(10_000)
    await bob
    await anna.until('<presence from="bob@')
    for (const one of flood) one.destroy()
  })

  it('connections from one address', async () => {
    await using host = await HubHost.start({ limits: { perAddress: 2 } })
    await host.person('Anna')
    await host.person('Bob')
    const third = await host.connectSilently()
    await once(third.resume(), 'close')
    expect(host.refusals.snapshot()).toEqual({ 'peer.too-many-links': 1 })
    expect(host.hub.counts.open).toBe(2)
  })

  it('clients', async () => {
    await using host = await HubHost.start({ limits: { clients: 2 } })
    await host.person('Anna')
    const bob = await host.person('Bob')
    const carla = await host.connect()
    await carla.open()
    expect(await carla.authenticate('Carla', PIN)).toContain('The hub is full')
    bob.send('</stream:stream>')
    await bob.closed
    while (host.hub.counts.clients > 1) await new Promise((resolve) => setImmediate(resolve))
    expect(await carla.authenticate('Carla', PIN)).toContain('<success')
  })

  it('two hundred hosts: each sees all, and each gets a message', async () => {
    await using host = await HubHost.start()
    const daemons = await Promise.all(Array.from({ length: 200 }, () => host.daemon()))
    expect(host.hub.people()).toHaveLength(200)
    for (const [i, one] of daemons.entries())
      one.send(`<message to='${daemons[(i + 1) % 200]?.jid}'><body>${i}</body></message>`)
    await Promise.all(
      daemons.map(async (one, i) => {
        const before = (i + 199) % 200
        const came = await one.until(`from="${daemons[before]?.jid}"><body>${before}</body>`)
        expect(came.match(/<body>/g)).toHaveLength(1)
      }),
    )
    expect(host.refusals.snapshot()).toEqual({})
  })
})

it('speaks TLS 1.3 alone', async () => {
  await using host = await HubHost.start()
  const socket = connect({ host: '127.0.0.1', port: host.hub.port, rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
  const [error] = await once(socket, 'error')
  expect(String(error.code)).toMatch(/PROTOCOL_VERSION|VERSION/)
  while (host.hub.counts.open > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(host.refusals.snapshot()).toEqual({ 'peer.wrong-protocol': 1 })
})
