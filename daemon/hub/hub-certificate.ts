import { X509Certificate } from 'node:crypto'
import { type Certificate, makeCertificate } from '../identity/certificate.ts'
import type { Identity } from '../identity/key.ts'
import type { PeerId } from '../types.ts'

/** A hub's certificate as its users see it. */
export interface HubCertificate extends Certificate {
  /** The certificate, DER. */
  readonly der: Uint8Array
  /** SHA-256 of it, upper-case hexadecimal with colons, as clients and `openssl x509 -fingerprint` show it. */
  readonly fingerprint: string
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

/** The certificate of a hub: the identity's own key, for the hub's domain and the host's name in mDNS. */
export async function makeHubCertificate(identity: Identity, domain: string): Promise<HubCertificate> {
  const names = [domain, `partyline-${identity.peer.slice(0, 16)}.local`]
  const certificate = await makeCertificate(identity, names)
  const x509 = new X509Certificate(certificate.certPem)
  return { ...certificate, der: x509.raw, fingerprint: x509.fingerprint256 }
}
