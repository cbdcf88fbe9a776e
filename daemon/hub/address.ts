import { foldLocal } from './login.ts'

/** Longest part of an address, in bytes of UTF-8 (RFC 7622 section 3.1). */
const MAX_PART = 1023

/** An XMPP address (RFC 7622), its local part and domain as they are compared. */
export interface Address {
  readonly local: string
  readonly domain: string
  readonly resource: string
}

/** Undefined where a text is no address. */
export function parseAddress(text: string): Address | undefined {
  const slash = text.indexOf('/')
  const bare = slash < 0 ? text : text.slice(0, slash)
  const resource = slash < 0 ? '' : text.slice(slash + 1)
  const at = bare.indexOf('@')
  const local = at < 0 ? '' : foldLocal(bare.slice(0, at))
  const domain = bare.slice(at + 1).toLowerCase()
  if (domain === '' || (at >= 0 && local === '') || (slash >= 0 && resource === '')) return undefined
  return [local, domain, resource].every((part) => Buffer.byteLength(part) <= MAX_PART)
    ? { local, domain, resource }
    : undefined
}

/** `local@domain` of `local@domain/resource`. */
export function bareOf(jid: string): string {
  return jid.split('/', 1)[0] ?? ''
}
