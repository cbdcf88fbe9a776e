import { cleanPresenceText } from '../../clean-text.ts'
import { cleanName } from '../../identity/host-name.ts'
import { isPeerId } from '../../identity/peer-id.ts'
import type { PeerId, Presence, Show } from '../../types.ts'

/** Longest TXT record that is read, in bytes (RFC 6763 section 6.2). */
const MAX_TXT = 1300
/** Most strings of one. */
const MAX_STRINGS = 64
/** Longest value that one string of a TXT record holds beside its key, in bytes. */
const MAX_STRING = 255
/** Longest instance, in bytes; the numbers of clashes are added to it. */
const MAX_INSTANCE = 63

/** Entity capabilities (XEP-0115), as they stand in a TXT record. */
export interface Caps {
  readonly node: string
  readonly hash: string
  readonly ver: string
}

/** What a host tells of itself by XEP-0174. */
export interface PresenceRecord {
  readonly name: string
  readonly presence: Presence
  /** Of a Partyline host: its id, and its port for links. */
  readonly host: { readonly peer: PeerId; readonly port: number } | undefined
}

const STATUS: Readonly<Record<Show, string>> = { available: 'avail', away: 'away', busy: 'dnd' }

/**
 * The TXT record of this host (XEP-0174 section 3), in its order. Nothing in it says who its user is, but the name they gave the host and what
 * they said with their presence.
 */
export function presenceTxt(
  { name, presence, caps }: { readonly name: string; readonly presence: Presence; readonly caps: Caps },
  { peer, port }: { readonly peer: PeerId; readonly port: number },
): Record<string, string> {
  const fits = (key: string, value: string): string => cutTo(value, MAX_STRING - key.length - 1)
  return {
    txtvers: '1',
    nick: fits('nick', name),
    status: STATUS[presence.show],
    ...(presence.text === '' ? {} : { msg: fits('msg', presence.text) }),
    node: fits('node', caps.node),
    hash: caps.hash,
    ver: caps.ver,
    'port.p2pj': String(port),
    'pl.id': peer,
    'pl.port': String(port),
  }
}

/** The instance of a host, `name@machine` in US-ASCII; after a clash `name-1@machine`. */
export function presenceInstance(name: string, machine: string, clashes: number): string {
  const suffix = clashes === 0 ? '' : `-${clashes}`
  const place = slug(machine).slice(0, 30)
  return `${slug(name).slice(0, MAX_INSTANCE - place.length - suffix.length - 1)}${suffix}@${place}`
}

/**
 * Reads the strings of a TXT record, `key=value` each (RFC 6763 section 6.4: the first of a key counts, keys know no case). Undefined for what no
 * client would write. Never throws, whatever it holds.
 */
export function readPresence(instance: string, strings: unknown): PresenceRecord | undefined {
  if (!Array.isArray(strings) || strings.length > MAX_STRINGS) return undefined
  const pairs = new Map<string, string>()
  let size = 0
  for (const string of strings) {
    if (!(string instanceof Uint8Array)) return undefined
    size += string.length + 1
    if (size > MAX_TXT) return undefined
    const text = decode(string)
    const at = text?.indexOf('=') ?? -1
    const key = text?.slice(0, at < 0 ? undefined : at).toLowerCase()
    if (text === undefined || key === undefined || key === '' || pairs.has(key)) continue
    pairs.set(key, at < 0 ? '' : text.slice(at + 1))
  }
  const [user = ''] = instance.split('@')
  const full = `${pairs.get('1st') ?? ''} ${pairs.get('last') ?? ''}`
  const name = [pairs.get('nick') ?? '', full, user, instance].map(cleanName).find((candidate) => candidate !== '')
  if (name === undefined) return undefined
  const status = pairs.get('status')?.toLowerCase()
  const show = (Object.keys(STATUS) as Show[]).find((candidate) => STATUS[candidate] === status) ?? 'available'
  const host = readHost(pairs.get('pl.id'), pairs.get('pl.port'))
  if (host === 'damaged') return undefined
  return { name, presence: { show, text: cleanPresenceText(pairs.get('msg') ?? '') }, host }
}

function readHost(
  peer: string | undefined,
  port: string | undefined,
): { peer: PeerId; port: number } | 'damaged' | undefined {
  if (peer === undefined) return undefined
  const number = /^\d{1,5}$/.test(port ?? '') ? Number(port) : 0
  return isPeerId(peer) && number > 0 && number < 65536 ? { peer, port: number } : 'damaged'
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** Letters, digits and hyphens of US-ASCII; `host` where nothing is left. */
function slug(text: string): string {
  const plain = text
    .normalize('NFKD')
    .replace(/[^\p{ASCII}]/gu, '')
    .replace(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return plain.slice(0, MAX_INSTANCE) || 'host'
}

function cutTo(text: string, bytes: number): string {
  let cut = ''
  let size = 0
  for (const character of text) {
    size += Buffer.byteLength(character)
    if (size > bytes) break
    cut += character
  }
  return cut
}
