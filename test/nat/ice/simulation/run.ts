import { formatTransport, type TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import type { Milliseconds } from '../../../../daemon/types.ts'
import type { IcePeer } from './ice-peer.ts'
import { IceWorld } from './ice-world.ts'
import { bestPath, worse } from './oracle.ts'
import { type Fault, qualityIn, type Scenario } from './scenario.ts'

/** Time until the best path is to be in use: from the moment both look for one, and from the end of a fault. */
const FIRST_SETTLE: Milliseconds = 30_000
const SETTLE: Milliseconds = 60_000
/** Where so much is lost that the best path falls silent for a moment by chance, it is looked at again. */
const LOOKS = 3
const LOOK_AGAIN: Milliseconds = 10_000
/** Time from the exchange of descriptions until it is said that there is no way. */
const GIVE_UP: Milliseconds = 10_000
/** Times that an end may tell of another path in the time after one change. */
const MOST_SELECTIONS = 8
/** The agent allows itself 50 checks a second of what is unproven, five more at once, and what keeps up paths comes on top. */
const MOST_CHECKS_A_SECOND = 80
/** Checks to one address from which nothing comes, in that time. */
const MOST_TO_SILENT = 30

/** A world with these hosts, all of which look for each other. */
export function worldOf(scenario: Scenario): IceWorld {
  const { seed, spec, weather, signals, restarts, controls, lateness } = scenario
  const world = new IceWorld({ seed, spec, quality: qualityIn(weather), signals, restarts })
  const { timeline } = world.internet
  for (const [a, b] of pairsOf(world)) {
    world.host(a).connect(b, controls[0])
    timeline.after(lateness, () => world.host(b).connect(a, controls[1]))
  }
  return world
}

function pairsOf(world: IceWorld): (readonly [number, number])[] {
  return world.hosts.flatMap((_, a) => world.hosts.slice(a + 1).map((_, next) => [a, a + 1 + next] as const))
}

/** Makes it happen, and waits until it is over. */
function suffer(world: IceWorld, fault: Fault): void {
  const { internet } = world
  switch (fault.kind) {
    case 'reboot':
      return internet.reboot(fault.home, fault.renumber)
    case 'move':
      for (const [host, places] of fault.moves) world.move(host, places)
      return
    case 'sleep':
      internet.host(fault.host).sleep(fault.duration)
      return world.advance(fault.duration)
    case 'unplug': {
      const places = internet.spec.hosts[fault.host]?.places ?? []
      world.move(fault.host, [])
      world.advance(fault.duration)
      return world.move(fault.host, places)
    }
    case 'relay-gone':
      internet.setRelay(false)
      world.advance(fault.duration)
      return internet.setRelay(true)
    case 'blackout': {
      const link = internet.link(fault.host)
      const { quality } = link
      link.quality = { ...quality, loss: 1 }
      world.advance(fault.duration)
      link.quality = quality
    }
  }
}

/** Runs it; what went wrong, in sentences. */
export function problemsOf(scenario: Scenario): string[] {
  const world = worldOf(scenario)
  const problems: string[] = []
  const watch = (when: string, settle: Milliseconds): void => {
    const before = world.hosts.flatMap(({ peers }) => peers.map((peer) => new Before(peer)))
    world.advance(settle)
    let found = pathProblems(world)
    for (let look = 1; look < LOOKS && found.length > 0; look++) {
      world.advance(LOOK_AGAIN)
      found = pathProblems(world)
    }
    const spent = before.flatMap((one) => one.problems())
    problems.push(...[...found, ...spent].map((what) => `${when}: ${what}`))
  }
  world.advance(scenario.lateness)
  watch('at first', FIRST_SETTLE)
  problems.push(...slowFailures(world))
  scenario.faults.forEach((fault, index) => {
    suffer(world, fault)
    watch(`after fault ${index + 1}, ${fault.kind}`, SETTLE)
  })
  world.close()
  return problems
}

/** What an agent had done before a time, to see what it does after. */
class Before {
  readonly #peer: IcePeer
  readonly #selections: number
  readonly #checks: number

  constructor(peer: IcePeer) {
    this.#peer = peer
    this.#selections = peer.selections.length
    this.#checks = peer.checks.total
  }

  problems(): string[] {
    const { checks, selections } = this.#peer
    const told = selections.length - this.#selections
    const perSecond = checks.mostWithin(1000, this.#checks)
    const toSilent = checks.mostToSilent(this.#checks)
    return [
      ...(told > MOST_SELECTIONS ? [`a path that flaps, ${told} times`] : []),
      ...(perSecond > MOST_CHECKS_A_SECOND ? [`${perSecond} checks in a second`] : []),
      ...(toSilent > MOST_TO_SILENT ? [`${toSilent} checks to an address that says nothing`] : []),
    ]
  }
}

/** One direction of a pair of hosts at the time of a look at it. */
interface Direction {
  readonly from: number
  readonly to: number
  /** The path in use when datagrams were sent. */
  readonly path: TransportAddress | undefined
  /** Datagrams that had come to the other end before. */
  readonly heard: number
}

/** Sends datagrams both ways between all hosts, and tells what is wrong with the paths they took. */
function pathProblems(world: IceWorld): string[] {
  const directions = pairsOf(world)
    .flatMap(([a, b]) => [[a, b] as const, [b, a] as const])
    .map(([from, to]): Direction => {
      const path = world.peer(from, to).agent.selected?.to
      return { from, to, path, heard: world.peer(to, from).heard.length }
    })
  for (let count = 0; count < 8; count++) {
    for (const { from, to } of directions) world.host(from).sendData(to)
    world.advance(50)
  }
  world.advance(1000)
  return directions.flatMap((direction) => {
    const problem = problemOf(world, direction)
    return problem ? [`${direction.from} to ${direction.to} ${problem}`] : []
  })
}

function problemOf(world: IceWorld, { from, to, path, heard }: Direction): string | undefined {
  const { internet } = world
  const best = bestPath(internet.spec, from, to)
  if (!best) {
    if (path) return `uses ${formatTransport(path)}, though there is no way`
    const { selections, failures } = world.peer(from, to)
    const last = selections.findLast((one) => one.path)?.at ?? 0
    const isTold = failures.some(({ at, what }) => at >= last && what !== '')
    return isTold ? undefined : 'does not say that there is no way'
  }
  if (!path) return `has no path, though there is one (${best})`
  const seen = world.peer(to, from).heard.slice(heard).at(-1)
  if (!seen) return `uses ${formatTransport(path)}, by which nothing arrives (best: ${best})`
  const found = worse(internet.classOf(path), internet.classOf(seen))
  if (found === best) return undefined
  return `uses ${formatTransport(path)}, seen as ${formatTransport(seen)} (${found}), best is ${best}`
}

function slowFailures(world: IceWorld): string[] {
  return pairsOf(world).flatMap(([a, b]) => {
    if (bestPath(world.internet.spec, a, b)) return []
    return [world.peer(a, b), world.peer(b, a)].flatMap(({ describedAt = 0, failures }) => {
      const took = (failures[0]?.at ?? Number.POSITIVE_INFINITY) - describedAt
      return took > GIVE_UP ? [`said only after ${took} ms that there is no way (${a}, ${b})`] : []
    })
  })
}
