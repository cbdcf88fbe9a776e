/** The DNS-SD services (RFC 6763 section 7) that this program knows. */
export type ServiceType = 'partyline' | 'presence' | 'partyline-hub' | 'xmpps-client'

/** Longest instance name in bytes (RFC 6763 section 4.1.1). */
export const MAX_LABEL = 63

/** `_partyline._tcp.local` */
export function serviceName(type: ServiceType): string {
  return `_${type}._tcp.local`
}

/**
 * The instance in a full name, `anna` of `anna._partyline._tcp.local`: at most 63 readable bytes, which may hold dots. Undefined for what is
 * no instance of the service.
 */
export function instanceLabel(fqdn: string, name: string): string | undefined {
  const label = fqdn.slice(0, -name.length - 1)
  const isOne =
    fqdn.toLowerCase().endsWith(`.${name}`) && Buffer.byteLength(label) <= MAX_LABEL && /^[^\p{C}\uFFFD]+$/u.test(label)
  return isOne ? label : undefined
}
