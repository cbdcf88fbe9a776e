import 'reflect-metadata'
import { KeyObject, randomBytes, webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { X509CertificateGenerator } from '@peculiar/x509'
import { describe, expect, test } from 'vitest'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { newKey, TlsHost, until } from './tls-host.ts'

const patience = (): AbortSignal => AbortSignal.timeout(10_000)

/** Unlike `once`, does not mind an error before. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()))

/** Dials with options of the test's own; ends when the connection does. */
async function intrude(host: TlsHost, options: ConnectionOptions): Promise<void> {
  const socket = connectTls({ rejectUnauthorized: false, ...options, host: host.at.address, port: host.at.port })
  socket.on('error', () => {}).resume()
  socket.on('end', () => socket.destroy())
  await closed(socket)
}

/** Sends bytes to the port; ends when the connection does. */
async function sendRaw(host: TlsHost, bytes: Buffer): Promise<void> {
  const socket = connectTcp(host.at.port, host.at.address, () => socket.write(bytes))
  socket.on('error', () => {}).resume()
  socket.on('end', () => socket.destroy())
  await closed(socket)
}

async function receives(socket: Duplex): Promise<Buffer> {
  return buffer(socket)
}

describe('a link', () => {
  test('proves both keys, over TLS 1.3 with a hybrid key exchange', async () => {
    await using a = await TlsHost.listening()
    await using b = await TlsHost.listening()
    const { near, far } = await a.linkTo(b)
    expect(near).toMatchObject({ peer: b.peer, dialled: true, carrier: 'tcp', group: 'X25519MLKEM768' })
    expect(far).toMatchObject({ peer: a.peer, dialled: false, carrier: 'tcp', cipher: near.cipher })
    expect(near.cipher).toBe('TLS_AES_128_GCM_SHA256')
    expect(near.remote).toEqual(far.local)
    expect(far.remote).toEqual(near.local)
    expect(a.refusals.snapshot()).toEqual({})
    expect(b.refusals.snapshot()).toEqual({})
  })

  test('shows an IPv4 peer on a dual-stack port by its IPv4 address, and takes IPv6 as well', async () => {
    await using a = await TlsHost.listening()
    await using b = await TlsHost.listening()
    const { far } = await a.linkTo(b)
    expect(far.remote.address).toBe('127.0.0.1')
    const v6 = await a.dial({ address: '::1', port: b.listener.port }, b.peer, patience())
    expect(v6.remote.address).toBe('::1')
    v6.destroy()
  })

  test.each(['near', 'far'] as const)(
    'is half-closed: the %s end stops writing and still receives 1 MiB',
    async (who) => {
      await using a = await TlsHost.listening()
      await using b = await TlsHost.listening()
      const link = await a.linkTo(b)
      const [first, second] = who === 'near' ? [link.near, link.far] : [link.far, link.near]
      const content = randomBytes(1 << 20)
      first.socket.end('last words')
      expect((await receives(second.socket)).toString()).toBe('last words')
      expect(second.socket.writable).toBe(true)
      second.socket.end(content)
      expect((await receives(first.socket)).equals(content)).toBe(true)
    },
  )
})

describe('a dialler', () => {
  test('refuses any key but the expected one, and its leaving is noticed at once', async () => {
    await using a = await TlsHost.listening()
    await using b = await TlsHost.listening()
    const { peer } = await newKey()
    await expect(a.dial(b.at, peer, patience())).rejects.toMatchObject({ code: 'peer.wrong-key' })
    await until(() => b.listener.counts.open === 0)
  })

  test('takes any identity when it expects none', async () => {
    await using a = await TlsHost.listening()
    await using b = await TlsHost.listening()
    expect((await a.dial(b.at, undefined, patience())).peer).toBe(b.peer)
  })

  test('tells a closed port from one that is no host', async () => {
    await using a = await TlsHost.listening()
    const other = createServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('SSH-2.0-OpenSSH_9.9\r\n'),
    )
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const target = { address: '127.0.0.1', port }
    await expect(a.dial(target, undefined, patience())).rejects.toMatchObject({ code: 'peer.wrong-protocol' })
    other.close()
    await once(other, 'close')
    await expect(a.dial(target, undefined, patience())).rejects.toMatchObject({ code: 'network.unreachable' })
  })

  test('lets go of a host that accepts and never answers when it is aborted', async () => {
    await using a = await TlsHost.listening()
    const mute = createServer(() => {})
    mute.listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const abort = new AbortController()
    const accepted = once(mute, 'connection') as Promise<[Socket]>
    const { port } = mute.address() as { port: number }
    const dialling = a.dial({ address: '127.0.0.1', port }, undefined, abort.signal)
    const [socket] = await accepted
    abort.abort()
    await expect(dialling).rejects.toMatchObject({ code: 'network.unreachable' })
    socket.on('error', () => {}).resume()
    await closed(socket)
    mute.close()
  })
})

describe('the port', () => {
  test('refuses what is not partyline/1 over TLS 1.3', async () => {
    await using host = await TlsHost.listening()
    const { certificate } = await newKey()
    const { certPem: cert, keyPem: key } = certificate
    const ours = tlsOptions(certificate)
    await intrude(host, { cert, key, maxVersion: 'TLSv1.2', ALPNProtocols: ['partyline/1'] })
    await intrude(host, { cert, key, ALPNProtocols: ['h2'] })
    await intrude(host, { cert, key, ecdhCurve: 'P-256', ALPNProtocols: ['partyline/1'] })
    const { ALPNProtocols: _, ...withoutAlpn } = ours
    await intrude(host, withoutAlpn)
    await sendRaw(host, Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'))
    await sendRaw(host, Buffer.from([22, 3, 1, 255, 255]))
    await sendRaw(host, Buffer.alloc(70_000, 22))
    expect(host.refusals.snapshot()).toEqual({ 'peer.wrong-protocol': 7 })
    await until(() => host.listener.counts.open === 0)
  })

  test('refuses a certificate that is no identity, or none at all', async () => {
    await using host = await TlsHost.listening()
    const { certificate } = await newKey()
    const { cert: _cert, key: _key, ...without } = tlsOptions(certificate)
    await intrude(host, without)
    await intrude(host, { ...without, sigalgs: undefined, ...(await ecdsaCertificate()) })
    await intrude(host, { ...without, ...(await signedByAnother()) })
    expect(host.refusals.snapshot()).toEqual({ 'peer.bad-certificate': 3 })
  })

  test('makes a full handshake with a client that brings a session from earlier', async () => {
    await using host = await TlsHost.listening()
    const { certificate, peer } = await newKey()
    const options = { ...tlsOptions(certificate), host: host.at.address, port: host.at.port }
    const first = connectTls(options)
    const [session] = (await once(first, 'session')) as [Buffer]
    expect((await host.accepted()).link.peer).toBe(peer)
    first.destroy()
    const second = connectTls({ ...options, session })
    await once(second, 'secureConnect')
    expect(second.isSessionReused()).toBe(false)
    expect((await host.accepted()).link.peer).toBe(peer)
    second.destroy()
  })

  test('cuts whoever does not finish the handshake in time', async () => {
    await using host = await TlsHost.listening({ handshake: 100 })
    await Promise.all([sendRaw(host, Buffer.alloc(0)), sendRaw(host, Buffer.from([22, 3, 1, 2, 0, 1, 0, 1]))])
    expect(host.refusals.snapshot()).toEqual({ 'peer.handshake-timeout': 2 })
    await until(() => host.listener.counts.open === 0 && host.listener.counts.halfOpen === 0)
  })

  test('forgets at once whoever leaves in the middle of the handshake, and counts no refusal', async () => {
    await using host = await TlsHost.listening()
    const socket = connectTcp(host.at.port, host.at.address, () => socket.end(Buffer.from([22, 3, 1, 2, 0, 1])))
    await closed(socket.resume())
    await until(() => host.listener.counts.open === 0)
    expect(host.refusals.snapshot()).toEqual({})
  })

  test('keeps the oldest half-open links and refuses the newest; 500 of them keep it from nobody for longer', async () => {
    await using host = await TlsHost.listening({ halfOpen: 8, perAddress: 1000, handshake: 400 })
    await using friend = await TlsHost.listening()
    const flood = Array.from({ length: 500 }, () => sendRaw(host, Buffer.from([22, 3, 1])))
    await until(() => (host.refusals.snapshot()['peer.too-many-links'] ?? 0) === 492)
    expect(host.listener.counts).toEqual({ open: 8, halfOpen: 8 })
    await Promise.all(flood)
    expect(host.refusals.snapshot()).toEqual({ 'peer.too-many-links': 492, 'peer.handshake-timeout': 8 })
    const { far, greeted } = await friend.linkTo(host)
    expect(host.listener.counts).toEqual({ open: 1, halfOpen: 1 })
    greeted()
    expect(host.listener.counts).toEqual({ open: 1, halfOpen: 0 })
    far.destroy()
    await until(() => host.listener.counts.open === 0)
  })

  test('bounds the links from one address, and frees the place of one that is gone', async () => {
    await using host = await TlsHost.listening({ perAddress: 2 })
    await using friend = await TlsHost.listening()
    const first = await friend.linkTo(host)
    await friend.linkTo(host)
    await expect(friend.dial(host.at, host.peer, patience())).rejects.toMatchObject({ code: 'network.unreachable' })
    expect(host.refusals.snapshot()).toEqual({ 'peer.too-many-links': 1 })
    first.far.destroy()
    await until(() => host.listener.counts.open === 1)
    await friend.linkTo(host)
    expect(host.listener.counts.open).toBe(2)
  })

  test('is another one if the wished one is taken, unless it is insisted on', async () => {
    await using taken = await TlsHost.listening()
    await using _other = await TlsHost.listening()
    const { port } = taken.listener
    await using third = await TlsHost.listening()
    await third.listener.stop()
    await expect(third.listener.listen(port, true)).rejects.toMatchObject({ code: 'local.port-taken' })
    expect(await third.listener.listen(port, false)).not.toBe(port)
  })
})

describe('a port that takes XMPP as well', () => {
  /** A host whose XMPP connections are collected. */
  async function hostWithXmpp(limits: Parameters<typeof TlsHost.listening>[0] = {}): Promise<[TlsHost, Socket[]]> {
    const streams: Socket[] = []
    return [await TlsHost.listening(limits, (socket) => streams.push(socket.on('error', () => {}))), streams]
  }

  test.each(['<', ' ', '\t', '\r', '\n'])(
    'gives a connection that begins with %j away, with all its bytes',
    async (first) => {
      const [host, streams] = await hostWithXmpp()
      await using _ = host
      const said = `${first}stream:stream to='ünï'>`
      const client = connectTcp(host.at.port, host.at.address, () => client.end(said))
      await until(() => streams.length === 1)
      const [stream] = streams as [Socket]
      expect(host.listener.counts).toEqual({ open: 1, halfOpen: 0 })
      expect((await receives(stream)).toString()).toBe(said)
      stream.end('<answer/>')
      expect((await receives(client)).toString()).toBe('<answer/>')
      await until(() => host.listener.counts.open === 0)
      expect(host.refusals.snapshot()).toEqual({})
    },
  )

  test('makes links as before, and carries them whole', async () => {
    const [host, streams] = await hostWithXmpp()
    await using _ = host
    await using friend = await TlsHost.listening()
    const { near, far, greeted } = await friend.linkTo(host)
    greeted()
    const content = randomBytes(1 << 22)
    near.socket.end(content)
    expect((await receives(far.socket)).equals(content)).toBe(true)
    far.socket.end(content)
    expect((await receives(near.socket)).equals(content)).toBe(true)
    await until(() => host.listener.counts.open === 0)
    expect(streams).toEqual([])
    expect(host.refusals.snapshot()).toEqual({})
  })

  test('makes a link of a handshake that comes byte by byte', async () => {
    const [host] = await hostWithXmpp()
    await using _ = host
    const slow = createServer((near) => {
      const far = connectTcp(host.at.port, host.at.address).setNoDelay(true)
      near
        .on('error', () => {})
        .on('data', (bytes) => {
          for (const byte of bytes) far.write(Buffer.of(byte))
        })
      far.on('error', () => {}).pipe(near)
    })
    slow.listen(0, '127.0.0.1')
    await once(slow, 'listening')
    await using friend = await TlsHost.listening()
    const { port } = slow.address() as { port: number }
    const [link] = await Promise.all([
      friend.dial({ address: '127.0.0.1', port }, host.peer, patience()),
      host.accepted(),
    ])
    expect(link.peer).toBe(host.peer)
    link.destroy()
    slow.close()
  })

  test('refuses who says nothing in time, and lets go at once of who leaves', async () => {
    const [host, streams] = await hostWithXmpp({ handshake: 100 })
    await using _ = host
    const [silent, leaving] = [connectTcp(host.at.port, host.at.address), connectTcp(host.at.port, host.at.address)]
    for (const socket of [silent, leaving]) socket.on('error', () => {}).resume()
    leaving.once('connect', () => leaving.end())
    await Promise.all([closed(silent.once('end', () => silent.destroy())), closed(leaving)])
    expect(host.refusals.snapshot()).toEqual({ 'peer.handshake-timeout': 1 })
    await until(() => host.listener.counts.open === 0 && host.listener.counts.halfOpen === 0)
    expect(streams).toEqual([])
  })

  test('leaves a stream alone after the time for handshakes, and counts it until it closes', async () => {
    const [host, streams] = await hostWithXmpp({ handshake: 50, perAddress: 1, halfOpen: 1 })
    await using _ = host
    const client = connectTcp(host.at.port, host.at.address, () => client.write('<'))
    await until(() => streams.length === 1)
    await sendRaw(host, Buffer.from('<'))
    expect(host.refusals.snapshot()).toEqual({ 'peer.too-many-links': 1 })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(streams[0]?.destroyed).toBe(false)
    client.destroy()
    streams[0]?.resume().once('end', () => streams[0]?.destroy())
    await until(() => host.listener.counts.open === 0)
    const again = connectTcp(host.at.port, host.at.address, () => again.write(' '))
    await until(() => streams.length === 2)
    again.destroy()
    expect(host.refusals.snapshot()).toEqual({ 'peer.too-many-links': 1 })
  })

  test('refuses what is neither', async () => {
    const [host] = await hostWithXmpp()
    await using _ = host
    await sendRaw(host, Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await sendRaw(host, Buffer.alloc(16))
    expect(host.refusals.snapshot()).toEqual({ 'peer.wrong-protocol': 2 })
  })
})

/** A self-signed certificate with a key that is not Ed25519. */
async function ecdsaCertificate(): Promise<{ cert: string; key: string }> {
  const keys = await generate({ name: 'ECDSA', namedCurve: 'P-256' })
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const certificate = await X509CertificateGenerator.createSelfSigned({ ...VALID, keys, signingAlgorithm }, provider)
  return { cert: certificate.toString('pem'), key: pem(keys.privateKey) }
}

/** An Ed25519 certificate that another key has signed. */
async function signedByAnother(): Promise<{ cert: string; key: string }> {
  const [{ publicKey, privateKey }, authority] = await Promise.all([generate('Ed25519'), generate('Ed25519')])
  const certificate = await X509CertificateGenerator.create(
    { ...VALID, subject: 'CN=x', issuer: 'CN=ca', publicKey, signingKey: authority.privateKey },
    provider,
  )
  return { cert: certificate.toString('pem'), key: pem(privateKey) }
}

const VALID = {
  name: 'CN=x',
  notBefore: new Date('2000-01-01T00:00:00Z'),
  notAfter: new Date('9999-12-31T23:59:59Z'),
  signingAlgorithm: 'Ed25519',
}
const provider = webcrypto as Parameters<typeof X509CertificateGenerator.create>[1]

const generate = async (algorithm: 'Ed25519' | webcrypto.EcKeyGenParams): Promise<webcrypto.CryptoKeyPair> =>
  (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair

const pem = (key: webcrypto.CryptoKey): string =>
  KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString()
