import { BlockList, isIP } from 'node:net'

/** A packet that a stranger on a network of ours would send to this host. */
export interface StrangerPacket {
  readonly transport: 'tcp' | 'udp'
  readonly port: number
  /** The interface it comes in on, and this host's address there. */
  readonly interface: string
  readonly to: string
}

/** Where a packet filter stops such a packet. */
export interface Drop extends StrangerPacket {
  readonly family: string
  readonly table: string
  readonly chain: string
}

type Json = Readonly<Record<string, unknown>>

interface Chain extends Json {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly policy?: string
}

interface Ruleset {
  readonly inputs: readonly Chain[]
  readonly rules: ReadonlyMap<string, readonly (readonly Json[])[]>
  readonly sets: ReadonlyMap<string, readonly unknown[]>
}

/** What a chain does with a packet; `unclear`: it depends on what is not understood here. */
type Fate = 'accept' | 'drop' | 'unclear'
/** Whether something is so; undefined where that is not known. */
type Maybe = boolean | undefined

const MAX_JUMPS = 16
/** Most rules that are looked at for one packet. */
const MAX_RULES = 20_000
/** Expressions that decide nothing. */
const IDLE: ReadonlySet<string> = new Set(['counter', 'log', 'limit', 'quota', 'mangle', 'notrack', 'set', 'ct helper'])

/**
 * Which packets nftables drops for certain, from what `nft -j list ruleset` prints (libnftables-json(5)). Rules that ask for what is not known here
 * count neither way: whether those let the packet in stays unclear, and is not told.
 */
export function droppedPackets(listing: unknown, packets: readonly StrangerPacket[]): Drop[] {
  const ruleset = readRuleset(listing)
  return packets.flatMap((packet) => {
    const family = isIP(packet.to) === 6 ? 'ip6' : 'ip'
    const dropper = ruleset.inputs
      .filter((chain) => chain.family === 'inet' || chain.family === family)
      .find((chain) => new Walk(ruleset, packet).through(chain) === 'drop')
    return dropper ? [{ ...packet, family: dropper.family, table: dropper.table, chain: dropper.name }] : []
  })
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null
const keyOf = (family: unknown, table: unknown, name: unknown): string => `${family} ${table} ${name}`

function readRuleset(listing: unknown): Ruleset {
  const objects = isObject(listing) && Array.isArray(listing.nftables) ? listing.nftables.filter(isObject) : []
  const inputs: Chain[] = []
  const rules = new Map<string, Json[][]>()
  const sets = new Map<string, readonly unknown[]>()
  for (const { chain, rule, set } of objects) {
    if (isObject(chain) && chain.hook === 'input' && chain.type === 'filter') inputs.push(chain as Chain)
    if (isObject(set) && Array.isArray(set.elem)) sets.set(keyOf(set.family, set.table, set.name), set.elem)
    if (!isObject(rule) || !Array.isArray(rule.expr)) continue
    const key = keyOf(rule.family, rule.table, rule.chain)
    const list = rules.get(key) ?? []
    list.push(rule.expr.filter(isObject))
    rules.set(key, list)
  }
  return { inputs, rules, sets }
}

/** One packet on its way through the chains of one hook. */
class Walk {
  readonly #ruleset: Ruleset
  readonly #packet: StrangerPacket
  #left = MAX_RULES
  #isUnclear = false

  constructor(ruleset: Ruleset, packet: StrangerPacket) {
    this.#ruleset = ruleset
    this.#packet = packet
  }

  through(chain: Chain): Fate {
    const fate = this.#visit(chain, chain.name, 0) ?? (chain.policy === 'drop' ? 'drop' : 'accept')
    return this.#isUnclear || this.#left <= 0 ? 'unclear' : fate
  }

  /** Undefined where the chain ends without a verdict. */
  #visit(table: Chain, name: string, depth: number): 'accept' | 'drop' | undefined {
    if (depth > MAX_JUMPS) return undefined
    for (const rule of this.#ruleset.rules.get(keyOf(table.family, table.table, name)) ?? []) {
      if (this.#left-- <= 0) return undefined
      const verdict = this.#verdict(rule, table)
      if (!verdict) continue
      if ('accept' in verdict) return 'accept'
      if ('drop' in verdict || 'reject' in verdict) return 'drop'
      if ('return' in verdict) return undefined
      const to = verdict.jump ?? verdict.goto
      if (!isObject(to)) continue
      const fate = this.#visit(table, String(to.target), depth + 1)
      if (fate || 'goto' in verdict) return fate
    }
    return undefined
  }

  /** What a rule does with the packet, if it is for it. */
  #verdict(rule: readonly Json[], table: Chain): Json | undefined {
    let isSure = true
    for (const expression of rule) {
      const [kind = ''] = Object.keys(expression)
      if (IDLE.has(kind)) continue
      if (kind === 'match') {
        const isMet = this.#match(expression.match, table)
        if (isMet === false) return undefined
        isSure &&= isMet === true
      } else if (kind === 'vmap') {
        const verdict = this.#mapped(expression.vmap, table)
        if (verdict === undefined || !isSure) this.#isUnclear = true
        return isSure && verdict ? verdict : undefined
      } else if (['accept', 'drop', 'reject', 'return', 'jump', 'goto'].includes(kind)) {
        if (isSure) return expression
        this.#isUnclear = true
        return undefined
      } else isSure = false
    }
    return undefined
  }

  /** The verdict of a verdict map; an empty one where it has none for the packet. */
  #mapped(vmap: unknown, table: Chain): Json | undefined {
    if (!isObject(vmap)) return undefined
    const value = this.#value(vmap.key)
    const pairs = this.#elements(vmap.data, table)
    if (value === undefined || !pairs) return undefined
    for (const pair of pairs) {
      if (!Array.isArray(pair)) return undefined
      const [key, verdict] = pair
      const isMet = this.#equals(value, key, table)
      if (isMet === undefined) return undefined
      if (isMet) return isObject(verdict) ? verdict : undefined
    }
    return {}
  }

  #match(match: unknown, table: Chain): Maybe {
    if (!isObject(match)) return undefined
    const { left, right, op } = match
    const kind = this.#transportOf(left)
    if (kind !== undefined && kind !== this.#packet.transport) return false
    const value = this.#value(left)
    if (value === undefined || (op !== '==' && op !== '!=' && op !== 'in')) return undefined
    const isMet = this.#equals(value, right, table)
    return isMet === undefined ? undefined : (op !== '!=') === isMet
  }

  /** A rule about ports of TCP is for no UDP packet. */
  #transportOf(left: unknown): string | undefined {
    const payload = isObject(left) ? left.payload : undefined
    if (!isObject(payload)) return undefined
    return ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp'].find((one) => one === payload.protocol)
  }

  /** What the packet has there; undefined where that is not known. */
  #value(left: unknown): string | number | undefined {
    if (!isObject(left)) return undefined
    const { transport, port, to, interface: on } = this.#packet
    const is6 = isIP(to) === 6
    const { payload, meta, ct, fib } = left
    if (isObject(ct)) return ct.key === 'state' ? 'new' : undefined
    if (isObject(fib)) return fib.result === 'type' && String(fib.flags) === 'daddr' ? 'local' : undefined
    if (isObject(meta)) {
      const known: Readonly<Record<string, string>> = {
        l4proto: transport,
        nfproto: is6 ? 'ipv6' : 'ipv4',
        protocol: is6 ? 'ip6' : 'ip',
        iifname: on,
        iif: on,
        pkttype: 'host',
      }
      return known[String(meta.key)]
    }
    if (!isObject(payload)) return undefined
    const { protocol, field } = payload
    if (field === 'dport' && (protocol === transport || protocol === 'th')) return port
    if ((field === 'protocol' || field === 'nexthdr') && protocol === (is6 ? 'ip6' : 'ip')) return transport
    // A neighbour's address is on the same network as ours, which is what rules about networks ask for.
    if ((field === 'saddr' || field === 'daddr') && protocol === (is6 ? 'ip6' : 'ip')) return to
    return undefined
  }

  #equals(value: string | number, right: unknown, table: Chain): Maybe {
    const elements = this.#elements(right, table)
    if (elements) {
      const answers = elements.map((one) => this.#equals(value, one, table))
      return answers.includes(true) ? true : answers.includes(undefined) ? undefined : false
    }
    if (typeof right === 'string' || typeof right === 'number') return sameText(String(value), String(right))
    if (!isObject(right)) return undefined
    if (isObject(right.elem)) return this.#equals(value, right.elem.val, table)
    if (Array.isArray(right.range) && typeof value === 'number') {
      const [first, last] = right.range.map(Number)
      return first !== undefined && last !== undefined && first <= value && value <= last
    }
    return isObject(right.prefix) ? isWithin(String(value), right.prefix) : undefined
  }

  /** The members of a set, named or not; undefined for what is none. */
  #elements(right: unknown, { family, table }: Chain): readonly unknown[] | undefined {
    if (Array.isArray(right)) return right
    if (isObject(right) && Array.isArray(right.set)) return right.set
    if (typeof right !== 'string' || !right.startsWith('@')) return undefined
    return this.#ruleset.sets.get(keyOf(family, table, right.slice(1))) ?? []
  }
}

/** Names of interfaces may end in `*`. */
function sameText(value: string, wanted: string): boolean {
  return wanted.endsWith('*') ? value.startsWith(wanted.slice(0, -1)) : value === wanted
}

function isWithin(address: string, { addr, len }: Json): Maybe {
  if (isIP(address) === 0 || isIP(String(addr)) === 0) return undefined
  if (isIP(address) !== isIP(String(addr))) return false
  try {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const network = new BlockList()
    network.addSubnet(String(addr), Number(len), family)
    return network.check(address, family)
  } catch {
    return undefined
  }
}
