import { randomUUID, webcrypto } from 'node:crypto'
import 'reflect-metadata'
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const LONG_AGO = new Date('2001-01-01T00:00:00Z')
/** As the package types it. */
const CRYPTO = webcrypto as Parameters<typeof X509CertificateGenerator.create>[1]
const FAR_AWAY = new Date('2101-01-01T00:00:00Z')

/** A certificate and its key, PEM. */
export interface Certified {
  readonly cert: string
  readonly key: string
}

/** An authority that certifies whatever a test wants. */
export class Authority {
  readonly #own: X509Certificate
  readonly #keys: webcrypto.CryptoKeyPair

  private constructor(own: X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#own = own
    this.#keys = keys
  }

  static async make(): Promise<Authority> {
    const keys = await newKeys()
    const own = await X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: '01',
        name: `CN=Authority ${randomUUID()}`,
        notBefore: LONG_AGO,
        notAfter: FAR_AWAY,
        signingAlgorithm: ECDSA,
        keys,
        extensions: [new BasicConstraintsExtension(true, undefined, true)],
      },
      CRYPTO,
    )
    return new Authority(own, keys)
  }

  /** What those have who trust it, PEM. */
  get pem(): string {
    return this.#own.toString('pem')
  }

  async certify(domain: string, notAfter = FAR_AWAY): Promise<Certified> {
    const keys = await newKeys()
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: '02',
        subject: 'CN=A server',
        issuer: this.#own.subject,
        notBefore: LONG_AGO,
        notAfter,
        signingAlgorithm: ECDSA,
        signingKey: this.#keys.privateKey,
        publicKey: keys.publicKey,
        extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: domain }])],
      },
      CRYPTO,
    )
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
    return {
      cert: certificate.toString('pem'),
      key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
    }
  }
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ECDSA, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>
