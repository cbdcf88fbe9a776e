import { X509Certificate } from 'node:crypto'
import { type Certificate, makeCertificate } from '../identity/certificate.ts'
import type { Identity } from '../identity/key.ts'
import { makeServerCertificate } from '../identity/server-certificate.ts'
import type { PeerId } from '../types.ts'

/** A hub's certificates, both for its domain and the host's name in mDNS. */
export interface HubCertificates {
  /** Of the identity's own key: what hosts know the hub by. */
  readonly host: Certificate & {
    /** The certificate, DER. */
    readonly der: Uint8Array
  }
  /** What people's clients see, of which many know no Ed25519. */
  readonly people: Certificate & {
    /** SHA-256 of it, upper-case hexadecimal with colons, as clients and `openssl x509 -fingerprint` show it. */
    readonly fingerprint: string
  }
}

/**
 * The hub's domain: `hub-` and the name's letters and digits, below `local`, which no DNS server answers for. US-ASCII, so that every
 * client compares it alike; a name without any such character gives way to the start of the peer id.
 */
export function hubDomain(name: string, peer: PeerId): string {
  const slug = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '')
  return `hub-${slug || peer.slice(0, 8)}.local`
}

export async function makeHubCertificates(identity: Identity, domain: string): Promise<HubCertificates> {
  const names = [domain, `partyline-${identity.peer.slice(0, 16)}.local`]
  const [host, people] = await Promise.all([makeCertificate(identity, names), makeServerCertificate(identity, names)])
  return {
    host: { ...host, der: new X509Certificate(host.certPem).raw },
    people: { ...people, fingerprint: new X509Certificate(people.certPem).fingerprint256 },
  }
}
