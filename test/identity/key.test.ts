import { spawn } from 'node:child_process'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeCertificate, peerIdFromCertificate } from '../../daemon/identity/certificate.ts'
import { identityOf, loadOrCreateIdentity, verifySignature } from '../../daemon/identity/key.ts'
import { keyFromPeerId } from '../../daemon/identity/peer-id.ts'
import type { PeerId } from '../../daemon/types.ts'

let folder: string
let file: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'identity-'))
  file = join(folder, 'identity.key')
})
afterEach(() => rmSync(folder, { recursive: true }))

const pemOf = (type: 'ed25519' | 'x25519'): string =>
  (type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519')).privateKey
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()

describe('the identity key', () => {
  test('is created once, mode 0600, and is the same ever after', async () => {
    const created = await loadOrCreateIdentity(file)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/)
    expect(readdirSync(folder)).toEqual(['identity.key'])
    expect((await loadOrCreateIdentity(file)).peer).toBe(created.peer)
  })

  test('is one key when several ask for it at once', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateIdentity(file)))
    expect(new Set(all.map(({ peer }) => peer)).size).toBe(1)
    expect(readdirSync(folder)).toEqual(['identity.key'])
  })

  test.each([0o640, 0o604, 0o660, 0o644])('is refused when others may use it: mode %o', async (mode) => {
    const before = pemOf('ed25519')
    writeFileSync(file, before)
    chmodSync(file, mode)
    await expect(loadOrCreateIdentity(file)).rejects.toMatchObject({
      code: 'local.identity-exposed',
      hint: `Run: chmod 600 ${file}`,
    })
    expect(readFileSync(file, 'utf8')).toBe(before)
  })

  test.each([
    ['nothing', ''],
    ['something else', 'hello'],
    ['half a key', pemOf('ed25519').slice(0, 60)],
    ['a key of another type', pemOf('x25519')],
  ])('is refused and left as it is when the file holds %s', async (_, text) => {
    writeFileSync(file, text, { mode: 0o600 })
    await expect(loadOrCreateIdentity(file)).rejects.toMatchObject({
      code: 'local.identity-damaged',
      message: expect.stringContaining(file),
    })
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  test('is not made where its place is no file, or has no folder', async () => {
    mkdirSync(file, { mode: 0o700 })
    await expect(loadOrCreateIdentity(file)).rejects.toMatchObject({ code: 'local.file' })
    await expect(loadOrCreateIdentity(join(folder, 'none', 'key'))).rejects.toMatchObject({ code: 'local.file' })
  })

  test('is whole or absent after kill -9 at any moment of its creation', async () => {
    const module = new URL('../../daemon/identity/key.ts', import.meta.url).href
    const script = `import { loadOrCreateIdentity } from ${JSON.stringify(module)}
      console.log('go'); for (let i = 0; ; i++) await loadOrCreateIdentity(process.argv[1] + '/' + i)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    while (readdirSync(folder).length < 20) await new Promise((resolve) => setImmediate(resolve))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const keys = readdirSync(folder).filter((name) => /^\d+$/.test(name))
    for (const name of keys) expect((await loadOrCreateIdentity(join(folder, name))).peer).toHaveLength(52)
  })
})

describe('a signature', () => {
  const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
  const other = identityOf(generateKeyPairSync('ed25519').privateKey)
  const bytes = Buffer.from('content')

  test('holds for its peer and its bytes only', () => {
    const signature = identity.sign(bytes)
    expect(signature).toHaveLength(64)
    expect(verifySignature(identity.peer, bytes, signature)).toBe(true)
    expect(verifySignature(other.peer, bytes, signature)).toBe(false)
    expect(verifySignature(identity.peer, Buffer.from('Content'), signature)).toBe(false)
  })

  test('that is none is false, never an exception', () => {
    for (const wrong of [new Uint8Array(), new Uint8Array(63), new Uint8Array(64), new Uint8Array(65)])
      expect(verifySignature(identity.peer, bytes, wrong)).toBe(false)
    expect(verifySignature('nobody' as PeerId, bytes, identity.sign(bytes))).toBe(false)
  })
})

describe('the certificate', () => {
  const identity = identityOf(generateKeyPairSync('ed25519').privateKey)

  test('carries the identity key, names the peer and is valid on any clock', async () => {
    const { certPem, keyPem } = await makeCertificate(identity)
    const certificate = new X509Certificate(certPem)
    expect(certificate.subject).toBe(`CN=${identity.peer}`)
    expect(certificate.issuer).toBe(certificate.subject)
    expect(certificate.validFromDate.getTime()).toBe(0)
    expect(certificate.validToDate.getUTCFullYear()).toBe(9999)
    expect(certificate.checkPrivateKey(identity.privateKey)).toBe(true)
    expect(keyPem).toContain('PRIVATE KEY')
    expect(peerIdFromCertificate(certificate)).toBe(identity.peer)
    expect(Buffer.from(keyFromPeerId(identity.peer))).toEqual(
      certificate.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32),
    )
  })

  test('has another serial number each time', async () => {
    const [a, b] = await Promise.all([makeCertificate(identity), makeCertificate(identity)])
    expect(new X509Certificate(a.certPem).serialNumber).not.toBe(new X509Certificate(b.certPem).serialNumber)
  })

  test('is nobody when its signature is not by its own key', async () => {
    const { certPem } = await makeCertificate(identity)
    const der = Buffer.from(new X509Certificate(certPem).raw)
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1)
    expect(peerIdFromCertificate(new X509Certificate(der))).toBeUndefined()
  })

  test('is nobody when its key is of another kind', () => {
    expect(peerIdFromCertificate(new X509Certificate(ECDSA))).toBeUndefined()
  })
})

/** Self-signed with a P-256 key, by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other -days 36500`. */
const ECDSA = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUcKjTsPYDajcvDrCV4AwWU2x7LcMwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTIzMDQ0MzU4WhgPMjEyNjEwMzAwNDQz
NThaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
KckKlE0FI6RaqxKsFIOSDZsHpep1belacZMN1yq2+Pnf7DvAFWAi6G/cOdK0OLup
e0rp/VdxHApG2cutNNOloKNTMFEwHQYDVR0OBBYEFOX/8Yni8hDw+pQN1ZWjznHg
XKg0MB8GA1UdIwQYMBaAFOX/8Yni8hDw+pQN1ZWjznHgXKg0MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAPl1s05sI29h98jgv7vgQVPJ7SJ2aMk8
2JlSB/iTLs+uAiARPdDHjMv1IqepiYGnAP/Q9+ySaAd4JCST+uR02HZrKA==
-----END CERTIFICATE-----
`
