import { createHash, X509Certificate as NodeCertificate, randomBytes, webcrypto } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Extension } from '@peculiar/x509'
import writeFileAtomic from 'write-file-atomic'
import type { PeerId } from '../types.ts'
import type { Identity } from './key.ts'
import { isPeerId, peerIdFromKey } from './peer-id.ts'

/** A certificate and its key, as `node:tls` takes them. */
export interface Certificate {
  readonly certPem: string
  readonly keyPem: string
}

// Hosts on a LAN without internet have no reliable clock (one without a battery starts in 1970): the certificate is valid at
// any time they may believe it is.
export const NOT_BEFORE = new Date('1970-01-01T00:00:00Z')
export const NOT_AFTER = new Date('9999-12-31T23:59:59Z')

/**
 * The certificate in a file, if it is one of this identity; else a new one, kept there for the next start: what makes one takes longer to
 * load than the daemon to start. It is public, and made again whenever it is missing.
 */
export async function loadCertificate(identity: Identity, file: string): Promise<Certificate> {
  const keyPem = keyPemOf(identity)
  const certPem = await readFile(file, 'utf8').catch(() => '')
  if (isCertificateOf(identity, certPem)) return { certPem, keyPem }
  const made = await makeCertificate(identity)
  await writeFileAtomic(file, `${made.certPem}\n`, { mode: 0o600 }).catch(() => {})
  return made
}

function isCertificateOf({ peer }: Identity, pem: string): boolean {
  try {
    const certificate = new NodeCertificate(pem)
    return peerIdFromCertificate(certificate) === peer && certificate.validToDate.getTime() === NOT_AFTER.getTime()
  } catch {
    return false
  }
}

const keyPemOf = ({ privateKey }: Identity): string => privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/**
 * A self-signed X.509 certificate of the identity's Ed25519 key (RFC 8410). With DNS names it is for clients
 * that check these (RFC 9525), and the same each time, so that whoever trusts its fingerprint is not asked again.
 */
export async function makeCertificate(identity: Identity, names: readonly string[] = []): Promise<Certificate> {
  const { X509CertificateGenerator } = await import('./x509.ts')
  const pkcs8 = identity.privateKey.export({ type: 'pkcs8', format: 'der' })
  const jwk = identity.privateKey.export({ format: 'jwk' })
  const privateKey = await webcrypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), 'Ed25519', false, ['sign'])
  const publicKey = await webcrypto.subtle.importKey(
    'jwk',
    { kty: 'OKP', crv: 'Ed25519', x: jwk.x ?? '' },
    'Ed25519',
    true,
    ['verify'],
  )
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: names.length > 0 ? serialOf(identity.peer, names) : randomBytes(16).toString('hex'),
      name: `CN=${identity.peer}`,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: 'Ed25519',
      keys: { privateKey, publicKey },
      extensions: names.length > 0 ? await serverExtensions(publicKey, names) : [],
    },
    webcrypto as Parameters<typeof X509CertificateGenerator.createSelfSigned>[1],
  )
  return {
    certPem: certificate.toString('pem'),
    keyPem: keyPemOf(identity),
  }
}

/** A positive serial number of 16 bytes that follows from what is certified. */
export function serialOf(peer: PeerId, names: readonly string[]): string {
  const digest = createHash('sha256')
    .update([peer, ...names].join(' '))
    .digest()
    .subarray(0, 16)
  digest[0] = ((digest[0] ?? 0) & 0x7f) | 0x40
  return digest.toString('hex')
}

/** What strict clients want of a server's certificate (RFC 5280 sections 4.2.1.1, 4.2.1.2, 4.2.1.6 and 4.2.1.9). */
export async function serverExtensions(publicKey: webcrypto.CryptoKey, names: readonly string[]): Promise<Extension[]> {
  const x509 = await import('./x509.ts')
  const keyId = createHash('sha256')
    .update(new Uint8Array(await webcrypto.subtle.exportKey('spki', publicKey)))
    .digest('hex')
    .slice(0, 40)
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.SubjectKeyIdentifierExtension(keyId),
    new x509.AuthorityKeyIdentifierExtension(keyId),
    new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
  ]
}

/**
 * Whose identity a certificate is: the peer id of its Ed25519 key, if it is signed by that same key. That the sender holds the
 * key is proven by TLS itself (RFC 8446 section 4.4.3), not here.
 */
export function peerIdFromCertificate(certificate: NodeCertificate): PeerId | undefined {
  try {
    const { publicKey } = certificate
    if (publicKey.asymmetricKeyType !== 'ed25519' || !certificate.verify(publicKey)) return undefined
    const { x } = publicKey.export({ format: 'jwk' })
    const peer = peerIdFromKey(Buffer.from(x ?? '', 'base64url'))
    return isPeerId(peer) ? peer : undefined
  } catch {
    return undefined
  }
}
