import type { ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Milliseconds, PeerId } from '../../../daemon/types.ts'
import { Lab } from '../../lab/lab.ts'
import type { Cost, News, Order } from './protocol.ts'

const WORKER = new URL('./worker.ts', import.meta.url).pathname
const STUN = '10.99.0.10,10.99.0.11'
const TURN = 'turn:alice:wonder@10.99.0.10'
const PATIENCE: Milliseconds = 60_000
/** How long it is counted what keeping all paths costs. */
const UPKEEP: Milliseconds = 5000

/** First 16 bits of what goes to servers, and to peers. */
const COUNTERS = {
  'binding requests to servers': 'ip daddr { 10.99.0.10, 10.99.0.11 } udp dport 3478 @th,64,16 0x0001',
  'allocate requests': 'udp dport 3478 @th,64,16 0x0003',
  'permission requests': 'udp dport 3478 @th,64,16 0x0008',
  'channel bind requests': 'udp dport 3478 @th,64,16 0x0009',
  'checks sent': 'udp dport != 3478 @th,64,16 0x0001',
  'checks relayed': 'udp dport 3478 @th,64,2 1 @th,96,16 0x0001',
} as const
/** From the server: it has made an allocation. */
const ALLOCATED = 'udp sport 3478 @th,64,16 0x0103'

type Counter = keyof typeof COUNTERS | 'allocations'

/** What it took to connect one host with a number of peers at once. */
export interface CrowdFigures {
  readonly peers: number
  /** Peers with a link at both ends. */
  readonly connected: number
  readonly reasons: readonly string[]
  /** Peers by the way their link went at first, and by the way it goes once better ones have been found. */
  readonly routes: Readonly<Record<string, number>>
  readonly settled: Readonly<Record<string, number>>
  /** Until half and all of them had links at both ends. */
  readonly half: Milliseconds
  readonly all: Milliseconds
  /** On the wire of the one host, from its start until all were connected. */
  readonly counted: Readonly<Record<Counter, number>>
  /** The same a second, once all were connected. */
  readonly upkeep: Readonly<Record<Counter, number>>
  /** Of the process of the one host. */
  readonly sockets: number
  /** Memory that each connected peer adds there, in KiB. */
  readonly memory: number
  /** Processor time there, for each peer. */
  readonly cpu: Milliseconds
}

/** A process of hosts in the lab. */
class Hosts {
  peers: readonly PeerId[] = []
  readonly #child: ChildProcess
  readonly #waiting: ((cost: Cost) => void)[] = []
  #log = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-4000)
    })
  }

  /** `onNews` is told of all that is not an answer. */
  static async start(lab: Lab, at: string, count: number, turn: string, onNews: (news: News) => void): Promise<Hosts> {
    const folder = join(lab.folder, `crowd-${at}`)
    mkdirSync(folder, { recursive: true })
    const hosts = new Hosts(lab.spawn(at, [process.execPath, WORKER, `${count}`, folder, STUN, turn]))
    const ready = Promise.withResolvers<void>()
    hosts.#child.once('close', () => ready.reject(new Error(`the hosts on ${at} ended: ${hosts.#log}`)))
    if (!hosts.#child.stdout) throw new Error('unreachable: it has an output')
    createInterface(hosts.#child.stdout).on('line', (line) => {
      const news = JSON.parse(line) as News
      if (news.kind === 'report') return hosts.#waiting.shift()?.(news)
      if (news.kind !== 'ready') return onNews(news)
      hosts.peers = news.peers
      ready.resolve()
    })
    await ready.promise
    return hosts
  }

  order(order: Order): void {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`)
  }

  cost(): Promise<Cost> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.order({ kind: 'report' })
    })
  }
}

/** Counts packets of one host by what they are, where they leave it and come in. */
async function count(lab: Lab, at: string): Promise<void> {
  const rules = Object.entries(COUNTERS).map(([name, match]) => `    ${match} counter name "${nameOf(name)}"`)
  const names = [...Object.keys(COUNTERS), 'allocations'].map((name) => `  counter ${nameOf(name)} { }`)
  const chain = (hook: string, lines: readonly string[]): string[] => [
    `  chain ${hook}s {`,
    `    type filter hook ${hook} priority 0`,
    ...lines,
    '  }',
  ]
  const inwards = [`    ${ALLOCATED} counter name "${nameOf('allocations')}"`]
  await lab.nft(
    at,
    ['table inet crowd {', ...names, ...chain('output', rules), ...chain('input', inwards), '}'].join('\n'),
  )
}

const nameOf = (counter: string): string => counter.replaceAll(' ', '_')

async function counted(lab: Lab, at: string): Promise<Record<Counter, number>> {
  const { stdout } = await lab.exec(at, ['nft', '-j', 'list', 'counters', 'table', 'inet', 'crowd'])
  const listed = JSON.parse(stdout) as { nftables: { counter?: { name: string; packets: number } }[] }
  const found = new Map(listed.nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])))
  const entries = [...Object.keys(COUNTERS), 'allocations'].map((name) => [name, found.get(nameOf(name)) ?? 0])
  return Object.fromEntries(entries) as Record<Counter, number>
}

/**
 * One host behind a home router, and so many peers behind another: all of them wish for a link at once. Each peer is whole, with a key and a
 * port of its own, but they share a process; signals go from process to process at once, so no signaller slows them down.
 */
export async function measureCrowd(peers: number): Promise<CrowdFigures> {
  await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
  await lab.svc('srv', 'coturn', 'lt')
  await count(lab, 'a1')
  const done = Promise.withResolvers<void>()
  const ends = new Map<PeerId, Set<'here' | 'there'>>()
  const times: Milliseconds[] = []
  const routes: Record<string, number> = {}
  /** The route to each peer now. */
  const ways = new Map<PeerId, string>()
  const punched = Promise.withResolvers<void>()
  const goes = (peer: PeerId, route: string): void => {
    ways.set(peer, route)
    if ([...ways.values()].filter((way) => way === 'punched').length === peers) punched.resolve()
  }
  const reasons = new Set<string>()
  let began = 0
  const linked = (peer: PeerId, end: 'here' | 'there', route: string): void => {
    const known = ends.get(peer) ?? new Set()
    if (known.has(end)) return
    ends.set(peer, known.add(end))
    if (end === 'here') routes[route] = (routes[route] ?? 0) + 1
    if (known.size === 2 && times.push(performance.now() - began) === peers) done.resolve()
  }
  const one: Hosts = await Hosts.start(lab, 'a1', 1, TURN, (news) => {
    if (news.kind === 'signal') crowd.order(news)
    if (news.kind === 'failed') reasons.add(news.reason)
    if (news.kind === 'link') linked(news.peer, 'here', news.route)
    if (news.kind === 'link' || news.kind === 'moved') goes(news.peer, news.route)
  })
  const crowd: Hosts = await Hosts.start(lab, 'b1', peers, '', (news) => {
    if (news.kind === 'signal') one.order(news)
    if (news.kind === 'link') linked(news.self, 'there', news.route)
  })
  const [self] = one.peers
  if (!self) throw new Error('unreachable: there is one')
  const before = await one.cost()
  began = performance.now()
  one.order({ kind: 'look', self, peers: crowd.peers })
  const late = setTimeout(() => {
    done.resolve()
    punched.resolve()
  }, PATIENCE)
  await done.promise
  await punched.promise
  clearTimeout(late)
  const total = await counted(lab, 'a1')
  const after = await one.cost()
  await new Promise((resolve) => setTimeout(resolve, UPKEEP))
  const later = await counted(lab, 'a1')
  const upkeep = Object.fromEntries(
    Object.entries(later).map(([name, packets]) => [name, ((packets - total[name as Counter]) * 1000) / UPKEEP]),
  ) as Record<Counter, number>
  return {
    peers,
    connected: times.length,
    reasons: [...reasons],
    routes,
    settled: Object.fromEntries([...Map.groupBy(ways.values(), (way) => way)].map(([way, all]) => [way, all.length])),
    half: Math.round(times[Math.ceil(peers / 2) - 1] ?? Number.POSITIVE_INFINITY),
    all: Math.round(times[peers - 1] ?? Number.POSITIVE_INFINITY),
    counted: total,
    upkeep,
    sockets: after.sockets,
    memory: Math.round((after.rss - before.rss) / 1024 / peers),
    cpu: (after.cpu - before.cpu) / peers,
  }
}
