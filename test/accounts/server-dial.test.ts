import { createServer } from 'node:net'
import { beforeAll, describe, expect, test } from 'vitest'
import { dialServer } from '../../daemon/accounts/server-dial.ts'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import { Authority, type Certified } from './authority.ts'
import { XmppServer } from './xmpp-server.ts'

const DOMAIN = 'example.org'
let authority: Authority
let certificate: Certified
beforeAll(async () => {
  authority = await Authority.make()
  certificate = await authority.certify(DOMAIN)
})

/** What dialling a server comes to. */
async function dial(server: Pick<XmppServer, 'port'>, start: 'direct' | 'starttls', ca = authority.pem) {
  const signal = AbortSignal.timeout(5000)
  const socket = await dialServer({ host: '127.0.0.1', port: server.port, start }, { domain: DOMAIN, ca, signal })
  const { authorized } = socket
  socket.destroy()
  return authorized
}

describe.each(['direct', 'starttls'] as const)('a server with TLS (%s)', (start) => {
  test('is connected to when its certificate is for the domain', async () => {
    await using server = await XmppServer.start({ domain: DOMAIN, certificate, start })
    expect(await dial(server, start)).toBe(true)
    // Nothing was said without TLS but what asks for it.
    expect(server.plain.replace(/<\?xml.*?\?>|<stream:stream [^>]*>|<starttls [^>]*>/g, '')).toBe('')
  })

  test.each([
    ['is for another domain', () => authority.certify('example.com'), 'the certificate is not for example.org'],
    ['has expired', () => authority.certify(DOMAIN, new Date('2010-01-01T00:00:00Z')), 'has expired'],
    [
      'is signed by an authority that nobody knows',
      async () => (await Authority.make()).certify(DOMAIN),
      'is signed by an authority that is not known here',
    ],
  ])('is left when its certificate %s', async (_, make, why) => {
    await using server = await XmppServer.start({ domain: DOMAIN, certificate: await make(), start })
    await expect(dial(server, start)).rejects.toMatchObject({
      code: 'peer.bad-certificate',
      message: expect.stringContaining(why),
    })
  })

  test('is trusted by nobody who was not told of its authority', async () => {
    await using server = await XmppServer.start({ domain: DOMAIN, certificate, start })
    await expect(dial(server, start, '')).rejects.toMatchObject({ code: 'peer.bad-certificate' })
  })
})

describe('a server that is asked for TLS', () => {
  test.each([
    ['offers none', { offer: '<mechanisms/>' }, 'offers no TLS'],
    ['says no', { proceed: `<failure xmlns='${NS.tls}'/>` }, 'does not begin TLS'],
    ['has more to say before it begins', { proceed: `<proceed xmlns='${NS.tls}'/><message/>` }, 'does not begin TLS'],
    ['speaks no XML', { instead: '220 mail.example.org ESMTP\r\n' }, 'does not speak XMPP'],
    ['names entities', { instead: `<!DOCTYPE a [<!ENTITY b 'c'>]>` }, 'does not speak XMPP'],
    [
      'never comes to an end',
      { instead: `<stream:stream xmlns:stream='x'><a>${'a'.repeat(1 << 20)}` },
      'does not speak XMPP',
    ],
  ])('and %s is left', async (_, script, why) => {
    await using server = await XmppServer.start({ domain: DOMAIN, certificate, start: 'starttls', ...script })
    await expect(dial(server, 'starttls')).rejects.toMatchObject({
      code: 'peer.wrong-protocol',
      message: expect.stringContaining(why),
    })
    expect(server.plain).not.toContain('<auth')
  })

  test('and hangs up is left', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    await expect(dial({ port }, 'starttls')).rejects.toMatchObject({ code: 'network.lost' })
    server.close()
  })

  test('and is silent is left when time is up', async () => {
    await using server = await XmppServer.start({ domain: DOMAIN, certificate, start: 'starttls', instead: '' })
    const late = new AbortController()
    const place = { host: '127.0.0.1', port: server.port, start: 'starttls' } as const
    const dialling = dialServer(place, { domain: DOMAIN, ca: '', signal: late.signal })
    setTimeout(() => late.abort(), 50)
    await expect(dialling).rejects.toMatchObject({ code: 'network.unreachable' })
  })
})

test('a server that speaks no TLS at all is left, and one that is not there', async () => {
  await using server = await XmppServer.start({ domain: DOMAIN, certificate, start: 'starttls', instead: '<hello/>' })
  await expect(dial(server, 'direct')).rejects.toMatchObject({ code: 'peer.wrong-protocol' })
  const port = server.port
  await server.stop()
  await expect(dial({ port }, 'direct')).rejects.toMatchObject({ code: 'network.unreachable' })
})
