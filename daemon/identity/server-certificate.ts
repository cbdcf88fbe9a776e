import { createHash, hkdfSync, webcrypto } from 'node:crypto'
import { p256 } from '@noble/curves/nist.js'
import { type Certificate, NOT_AFTER, NOT_BEFORE, serialOf, serverExtensions } from './certificate.ts'
import type { Identity } from './key.ts'
import { X509CertificateGenerator } from './x509.ts'

/** What a key is derived for, so that it is good for nothing else. */
const PURPOSE = 'partyline tls p-256 1'
/** Bytes of a key's seed: 64 bits more than the group has, so that all keys are alike probable (FIPS 186-5, A.2.1). */
const SEED = 48

/**
 * A self-signed certificate of a P-256 key that follows from the identity, for TLS clients that know no Ed25519, phones among them. It is
 * the same each time (RFC 6979), so that whoever trusts its fingerprint is not asked again.
 */
export async function makeServerCertificate(identity: Identity, names: readonly string[]): Promise<Certificate> {
  const secret = deriveKey(identity)
  const [x, y] = coordinates(p256.getPublicKey(secret, false))
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const jwk = { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') }
  const privateJwk = { ...jwk, d: Buffer.from(secret).toString('base64url') }
  const publicKey = await webcrypto.subtle.importKey('jwk', jwk, algorithm, true, ['verify'])
  const privateKey = await webcrypto.subtle.importKey('jwk', privateJwk, algorithm, true, ['sign'])
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialOf(identity.peer, ['p-256', ...names]),
      name: `CN=${names[0] ?? identity.peer}`,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      keys: { privateKey, publicKey },
      extensions: await serverExtensions(publicKey, names),
    },
    signingWith(secret) as Parameters<typeof X509CertificateGenerator.createSelfSigned>[1],
  )
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey)).toString('base64')
  const lines = pkcs8.match(/.{1,64}/g) ?? []
  return {
    certPem: certificate.toString('pem'),
    keyPem: ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n'),
  }
}

/** 1 to the order of the group less 1. */
function deriveKey(identity: Identity): Uint8Array {
  // The seed is the end of it (RFC 8410 section 7).
  const der = identity.privateKey.export({ format: 'der', type: 'pkcs8' })
  const seed = Buffer.from(hkdfSync('sha256', der.subarray(-32), Buffer.alloc(0), PURPOSE, SEED))
  const order = p256.Point.Fn.ORDER
  const scalar = (BigInt(`0x${seed.toString('hex')}`) % (order - 1n)) + 1n
  return p256.Point.Fn.toBytes(scalar)
}

/** Of a key in its uncompressed form (SEC 1 section 2.3.3). */
function coordinates(key: Uint8Array): [Buffer, Buffer] {
  return [Buffer.from(key.subarray(1, 33)), Buffer.from(key.subarray(33))]
}

/** Node's WebCrypto draws a number at random for each ECDSA signature; this one takes it from key and message. */
function signingWith(secret: Uint8Array): object {
  const { subtle } = webcrypto
  const sign = async (
    _algorithm: unknown,
    _key: unknown,
    data: ArrayBuffer | ArrayBufferView,
  ): Promise<ArrayBuffer> => {
    const bytes = ArrayBuffer.isView(data)
      ? Buffer.from(data.buffer, data.byteOffset, data.byteLength)
      : Buffer.from(data)
    const digest = createHash('sha256').update(bytes).digest()
    return Uint8Array.from(p256.sign(digest, secret, { prehash: false })).buffer
  }
  return new Proxy(webcrypto, {
    get: (_, name) => {
      if (name !== 'subtle') return Reflect.get(webcrypto, name)
      return new Proxy(subtle, {
        get: (_subtle, what) => {
          if (what === 'sign') return sign
          const value: unknown = Reflect.get(subtle, what)
          return typeof value === 'function' ? value.bind(subtle) : value
        },
      })
    },
  })
}
