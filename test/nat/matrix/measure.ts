import { median } from '../../bench/statistics.ts'
import { Lab } from '../../lab/lab.ts'
import { type Cell, NETWORKS, type NetworkName } from './cells.ts'
import { trustServers } from './partyline.ts'
import { type Measured, summary } from './results.ts'
import type { Attempt, MeetingPlace, Subject } from './subject.ts'

interface MeasureOptions {
  readonly cells: readonly Cell[]
  readonly subjects: readonly Subject[]
  /** Attempts in each cell with a relay; without one there is one attempt. */
  readonly runs: number
  /** Those of each subject unless told. */
  readonly relays?: readonly boolean[]
  readonly onMeasured: (measured: Measured) => void
}

/** Measures cells, in one lab for each network, subjects one after the other in each cell. */
export async function measure(options: MeasureOptions): Promise<readonly Measured[]> {
  const all: Measured[] = []
  const told = { ...options, onMeasured: (one: Measured) => all.push(one) && options.onMeasured(one) }
  for (const network of Object.keys(NETWORKS) as NetworkName[]) {
    const cells = options.cells.filter((cell) => cell.network === network)
    if (cells.length > 0) await measureNetwork(network, { ...told, cells })
  }
  return all
}

async function measureNetwork(network: NetworkName, { cells, subjects, ...options }: MeasureOptions): Promise<void> {
  for (const subject of subjects) {
    await using lab = await natLab(network)
    await using place = await subject.meet(lab)
    for (const cell of cells) {
      await arrange(lab, cell)
      for (const relay of options.relays ?? subject.relays) {
        const attempts = await attemptAll(lab, place, cell, relay, relay ? options.runs : 1)
        const about = { cell: cell.id, subject: subject.name, relay }
        options.onMeasured(summary(about, attempts, (attempt) => isExpected(cell, relay, attempt)))
      }
    }
  }
}

/** A lab with the STUN and TURN server that the subjects use. */
async function natLab(network: NetworkName): Promise<Lab> {
  const { topology, options } = NETWORKS[network]
  const lab = await Lab.up(topology, options)
  try {
    await lab.svc('srv', 'coturn', 'lt', '443')
    trustServers(lab)
    return lab
  } catch (error) {
    await lab.down()
    throw error
  }
}

/** Makes the routers those of a cell. */
async function arrange(lab: Lab, { routers }: Cell): Promise<void> {
  await Promise.all(Object.entries(routers).map(([router, kind]) => lab.nat(router, kind)))
}

async function attemptAll(
  lab: Lab,
  place: MeetingPlace,
  cell: Cell,
  relay: boolean,
  runs: number,
): Promise<readonly Attempt[]> {
  const attempts: Attempt[] = []
  for (let run = 0; run < runs; run++) {
    await Promise.all(Object.keys(cell.routers).map((router) => lab.forget(router)))
    await using ends = await place.start(cell.hosts, relay)
    const attempt = await ends.connect((route) => isBest(cell, route))
    attempts.push(attempt)
    // Patience is long, and what failed fails again.
    if (!attempt.connected) break
  }
  return attempts
}

/** Whether there is no better route to wait for. */
function isBest({ expected }: Cell, route: string): boolean {
  if (expected.way === 'lan') return route === 'lan'
  return expected.way === 'none' || ['lan', 'direct', 'mapped', 'punched'].includes(route)
}

/** Whether an attempt ended as the theory has it. */
function isExpected(cell: Cell, relay: boolean, attempt: Attempt): boolean {
  if (cell.expected.way === 'none' && !relay) return !attempt.connected
  if (!attempt.connected) return false
  return cell.expected.way === 'none' ? attempt.last === 'relay' : isBest(cell, attempt.last)
}

/** How far the homes of a network are from each other and back, in ms: the median of some pings. */
export async function roundTrip(): Promise<number> {
  await using lab = await natLab('homes')
  await lab.nat('ra', 'none')
  await lab.nat('rb', 'none')
  const { stdout } = await lab.exec('a1', ['ping', '-c', '11', '-i', '0.05', '192.168.2.11'])
  // The first one has two questions for a hardware address in it.
  return median([...stdout.matchAll(/time=([\d.]+)/g)].slice(1).map(([, ms]) => Number(ms)))
}
