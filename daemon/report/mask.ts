import { isIP, isIPv6 } from 'node:net'
import { EVENTS, METHODS } from '../../ipc/methods.ts'
import { SETTINGS } from '../config/settings.ts'
import { FINDINGS } from '../doctor/finding-codes.ts'
import { ERRORS } from '../errors.ts'
import { plainAddress, scopeOf } from '../network/addresses.ts'

/** What is told apart, and how it is called in the place of what it was. */
type Kind = 'peer' | 'name' | 'account' | 'host' | 'mac' | 'private' | 'global' | 'link-local'

/** Something that is known to be nobody else's business. */
export interface Known {
  readonly kind: 'peer' | 'name' | 'account' | 'host'
  readonly text: string
}

const TICKET = /partyline:[a-z2-7][a-z2-7\s]{20,}/gi
const LOGIN = /\b(turns?:|stuns?:)[^\s"'@]+@/gi
const PEER = /\b[a-z2-7]{52}\b/g
const ACCOUNT = /\b[^\s"'<>@,;:=/()[\]{}]{1,64}@[a-z0-9.-]{1,253}\b/gi
const MAC = /\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/gi
/** What may be an address: `isIP` has the last word. A zone belongs to it. */
const IPV4 = /(?<!\d)(?<!\d\.)\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)/g
const IPV6 = /(?<![0-9a-f:.])(?:[0-9a-f]{0,4}:){2,8}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4})(?:%[\w.-]+)?/gi
/** Hashes, keys and secrets: nothing of that length is of use to whoever reads a report. */
const SECRET = /(?<![\w+/-])(?=[\w+/-]*\d)(?=[\w+/-]*[a-z])[a-z0-9+/_-]{24,}={0,2}/gi
/** Names of hosts: what has dots, letters at the end, and is none of our own words, a type of service or a file. */
const HOST = /(?<![\w.-])(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}(?![\w-])/gi
const FILE = /\.(?:[cm]?[jt]s|json|sock|html?|conf|service|log|md)$/i
const WORDS: ReadonlySet<string> = new Set(
  [METHODS, EVENTS, ERRORS, SETTINGS, FINDINGS].flatMap((table) => Object.keys(table)),
)
const isHost = (name: string): boolean => !WORDS.has(name) && !FILE.test(name)

/** The same for everybody, and of use. */
const COMMON = new Set(['0.0.0.0', '255.255.255.255', '::', '239.255.255.250'])

const isCommon = (address: string): boolean =>
  COMMON.has(address) || scopeOf(address) === 'loopback' || /^(?:22[4-9]|23\d)\.|^ff0/i.test(address)

/**
 * Replaces what tells of people and networks by words that say what it was, the same word for the same thing: `<private-1>`, `<peer-2>`. Of
 * addresses it is left how far they reach. Whoever reads the result can follow what happened, and learns neither who nor where.
 */
export class Mask {
  readonly #labels = new Map<string, string>()
  readonly #counts = new Map<Kind, number>()
  readonly #known: readonly { readonly pattern: RegExp; readonly label: string }[]

  /** `known`: what is somebody's, the longest first to be found; `home`: folders that tell who the user is. */
  constructor(known: readonly Known[], home: readonly string[] = []) {
    const places = home.filter((one) => one.length > 1).map((text) => ({ text, label: '<home>' }))
    const named = known
      .filter(({ text }) => text.trim() !== '')
      .map(({ kind, text }) => ({ text, label: this.#label(kind, text) }))
    this.#known = [...places, ...named]
      .toSorted((a, b) => b.text.length - a.text.length)
      .map(({ text, label }) => ({ pattern: wordOf(text), label }))
  }

  /** A text, masked. */
  text(text: string): string {
    let masked = text.replace(TICKET, '<ticket>').replace(LOGIN, '$1<login>@')
    for (const { pattern, label } of this.#known) masked = masked.replace(pattern, label)
    return masked
      .replace(PEER, (peer) => this.#label('peer', peer))
      .replace(ACCOUNT, (account) =>
        account.startsWith('<') ? account : this.#label('account', account.toLowerCase()),
      )
      .replace(MAC, (mac) => this.#label('mac', mac.toLowerCase()))
      .replace(SECRET, '<secret>')
      .replace(IPV6, (address) => this.#address(address))
      .replace(IPV4, (address) => this.#address(address))
      .replace(HOST, (name) => (isHost(name) ? this.#label('host', name.toLowerCase()) : name))
  }

  /** A value as JSON has it, with every string in it masked; names of its parts as well, unless they are ours. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value)
    if (Array.isArray(value)) return value.map((one) => this.value(one))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) => [
        /^[a-z]+$/i.test(key) || WORDS.has(key) ? key : this.text(key),
        this.value(part),
      ]),
    )
  }

  #address(text: string): string {
    const [bare = '', zone] = text.split('%')
    if (isIP(bare) === 0) return text
    const address = plainAddress(bare)
    if (isCommon(address)) return text
    const scope = scopeOf(address)
    const label = this.#label(scope === 'loopback' ? 'private' : scope, address)
    return isIPv6(bare) && zone !== undefined ? `${label}%${zone}` : label
  }

  #label(kind: Kind, text: string): string {
    const known = this.#labels.get(`${kind} ${text}`)
    if (known) return known
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    const label = `<${kind}-${count}>`
    this.#labels.set(`${kind} ${text}`, label)
    return label
  }
}

/** Wherever the text stands by itself, not as a part of a word. */
function wordOf(text: string): RegExp {
  const literal = text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`(?<![\\p{L}\\p{N}_<])${literal}(?![\\p{L}\\p{N}_>])`, 'giu')
}
