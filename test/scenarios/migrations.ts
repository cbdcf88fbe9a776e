import { Lab } from '../lab/lab.ts'
import { guestsAt, openMeeting, trustServers } from '../nat/matrix/partyline.ts'
import type { Gap } from '../nat/matrix/results.ts'
import type { Guest } from './party.ts'
import { Beats, Numbered, Pouring } from './traffic.ts'

/** Bytes of the transfer. */
const TRANSFER = 200e6
/** How much of it, and how many messages, have to come before and after each change. */
const SOME = 10e6
const MESSAGES = 200
/** How long a session may take to get to another path. */
const PATIENCE = 60_000

const DELAY = 'delay=5'
const wire = [`ra:${DELAY}`, `rb:${DELAY}`]

/** How a session travels: its route, and the address of the other end that is used, where ICE knows one. */
interface Way {
  readonly route: string
  readonly to: string
}

interface Step {
  readonly name: string
  act(lab: Lab): Promise<void>
  /** Whether this is where it has to go. */
  isThere(way: Way): boolean
}

/** What may happen to the network of a session, and what the session has to make of it. */
interface Migration {
  readonly topology: Parameters<typeof Lab.up>[0]
  readonly options: Parameters<typeof Lab.up>[1]
  /** Before the session begins. */
  prepare(lab: Lab): Promise<void>
  begins(way: Way): boolean
  readonly steps: readonly Step[]
}

const A_HOME = ['10.99.0.1', '10.99.0.2']
const V6 = ['fd00:1::/64', 'fd00:2::/64']
const isRelayed = ({ route }: Way): boolean => route === 'relay'
const isPunched = ({ route }: Way): boolean => route === 'punched'
const isLan = ({ route }: Way): boolean => route === 'lan'
const isOverIPv6 = ({ route, to }: Way): boolean => route !== 'relay' && to.includes('[')

/** By what happens. */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  'a hole that was closed opens, and closes again': {
    topology: 'nat-pair',
    options: { wire },
    prepare: (lab) => lab.block('ra', A_HOME),
    begins: isRelayed,
    steps: [
      {
        name: 'relay to direct: the router lets the hole be punched',
        act: (lab) => lab.unblock('ra'),
        isThere: isPunched,
      },
      {
        name: 'direct to relay: the router closes the hole',
        act: (lab) => lab.block('ra', A_HOME),
        isThere: isRelayed,
      },
    ],
  },
  'IPv6 comes up, and IPv4 goes': {
    topology: 'nat-pair',
    options: { wire, ip: '46' },
    prepare: (lab) => lab.block('ra', V6),
    begins: (way) => !isRelayed(way) && !isOverIPv6(way),
    steps: [
      {
        name: 'IPv4 to IPv6: IPv6 works from now on, and IPv4 no longer',
        act: async (lab) => {
          await lab.unblock('ra')
          await lab.block('ra', A_HOME)
        },
        isThere: isOverIPv6,
      },
    ],
  },
  'a host moves from one home to another': {
    topology: 'nat-pair',
    options: { wire: [...wire, `rc:${DELAY}`], c: 'eim-rnd' },
    prepare: async () => {},
    begins: isPunched,
    steps: [
      { name: 'one NAT to another: the host moves home', act: (lab) => lab.move('a1', 'lanc'), isThere: isPunched },
    ],
  },
  'the LAN cable is pulled while there is an internet path, and plugged in again': {
    topology: 'two-homes',
    options: { wire },
    prepare: async () => {},
    begins: isLan,
    steps: [
      { name: 'LAN to internet: the cable is pulled', act: (lab) => lab.link('a1', 'down'), isThere: isPunched },
      { name: 'internet to LAN: the cable is back', act: (lab) => lab.link('a1', 'up'), isThere: isLan },
    ],
  },
}

/** Runs one, with traffic of every sort both ways. Rejects when anything was lost, doubled or late, or the session ended. */
export async function migrate({ topology, options, prepare, begins, steps }: Migration): Promise<readonly Gap[]> {
  await using lab = await Lab.up(topology, options)
  await lab.svc('srv', 'coturn', 'lt', '443')
  trustServers(lab)
  await prepare(lab)
  const { hub, ticket } = await openMeeting(lab)
  const [a, b] = await guestsAt(lab, ['a1', 'b1'], ticket, true)
  const route = new Routes(a, b)
  await a.client.call('sessions.open', { peer: b.id })
  await route.until(begins)

  const events = await a.client.events(['sessions'])
  const ends: string[] = []
  const taken: string[] = []
  const listening = (async () => {
    for await (const { name, params } of events) {
      if (name === 'sessions.closed') ends.push(JSON.stringify(params))
      if (name === 'sessions.changed') taken.push(params.to ?? 'none')
    }
  })()
  const pouring = await Pouring.between(a, b)
  const flows = [await Numbered.between(a, b), await Numbered.between(b, a)]
  const beats = [await Beats.between(a, b), await Beats.between(b, a)]
  const goesOn = async (): Promise<void> => {
    const more = pouring.bytes + SOME
    await Promise.all([pouring.until(more), ...flows.map((flow) => flow.goesOn(MESSAGES))])
  }

  const gaps: Gap[] = []
  for (const step of steps) {
    const before = performance.now()
    await goesOn()
    const usual = Math.max(...beats.map((beat) => beat.longestGap(before)))
    taken.length = 0
    const from = (await route.now()).route
    const since = performance.now()
    const bytes = pouring.bytes
    const messages = total(flows)
    await step.act(lab)
    await route.until(step.isThere)
    await goesOn()
    gaps.push({
      name: step.name,
      routes: [from, ...taken.filter((to, i) => to !== (taken[i - 1] ?? from))],
      longest: Math.max(...beats.map((beat) => beat.longestGap(since))),
      usual,
      bytes: pouring.bytes - bytes,
      messages: total(flows) - messages,
    })
  }
  for (const beat of beats) beat.end()
  await pouring.until(TRANSFER)
  for (const flow of [...flows, pouring]) await flow.end()
  await events.return?.()
  await listening
  if (ends.length > 0) throw new Error(`the session has ended: ${ends.join(', ')}`)
  await Promise.all([a.leave(), b.leave(), hub.leave()])
  return gaps
}

const total = (flows: readonly Numbered[]): number => flows.reduce((sum, flow) => sum + flow.received.length, 0)

/** How the session of one guest to another travels. */
class Routes {
  readonly #from: Guest
  readonly #to: Guest

  constructor(from: Guest, to: Guest) {
    this.#from = from
    this.#to = to
  }

  async now(): Promise<Way> {
    const { client } = this.#from
    const sessions = await client.call('sessions.list', {})
    const paths = await client.call('sessions.paths', { peer: this.#to.id })
    const route = sessions.find(({ peer }) => peer === this.#to.id)?.route ?? ''
    return { route, to: paths.find(({ used }) => used)?.to ?? '' }
  }

  /** Resolves when it is as wanted. Rejects with what was tried when it does not get there. */
  async until(isThere: (way: Way) => boolean): Promise<void> {
    const late = performance.now() + PATIENCE
    for (;;) {
      const way = await this.now()
      if (isThere(way)) return
      if (performance.now() > late) throw new Error(await this.#why(way))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async #why(way: Way): Promise<string> {
    const paths = await this.#from.client.call('sessions.paths', { peer: this.#to.id })
    return `still ${JSON.stringify(way)}: ${JSON.stringify(paths, undefined, 1)}\n${this.#from.daemon.log().slice(-6000)}`
  }
}
