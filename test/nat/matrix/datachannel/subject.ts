import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Lab } from '../../../lab/lab.ts'
import { type Attempt, type Ends, type MeetingPlace, PATIENCE, SERVER, type Subject } from '../subject.ts'
import type { Candidate, EndOptions, IceServer, Order, Told } from './worker.ts'

const WORKER = new URL('./worker.ts', import.meta.url).pathname
const SIGNALS = '10.99.0.20'

const { address: hostname, port, tlsPort, user: username, password } = SERVER
const STUN = `stun:${hostname}:${port}`
const relayAt = (relayType: NonNullable<IceServer['relayType']>): IceServer => {
  return { hostname, port: relayType === 'TurnTls' ? tlsPort : port, username, password, relayType }
}

/** `node-datachannel`: libdatachannel with libjuice, which gathers for each connection and has TURN over UDP only. */
export const nodeDatachannel: Subject = {
  name: 'node-datachannel',
  // Where it cannot connect it takes 40 s to say so.
  relays: [true],
  meet: async (lab) => {
    const relay = new Worker(lab, 'pub', ['relay'])
    await relay.tells('ready')
    const place: MeetingPlace = {
      start: (hosts, hasRelay) => DatachannelEnds.start(lab, hosts, hasRelay),
      [Symbol.asyncDispose]: () => relay.stop(),
    }
    return place
  },
}

/** A worker of `worker.ts` on a host. */
class Worker {
  readonly #child: ChildProcess
  readonly #told: Told[] = []
  #wake = Promise.withResolvers<void>()
  #errors = ''

  constructor(lab: Lab, host: string, args: readonly string[]) {
    this.#child = lab.spawn(host, [process.execPath, WORKER, ...args])
    if (this.#child.stdout) {
      createInterface(this.#child.stdout).on('line', (line) => {
        this.#told.push(JSON.parse(line) as Told)
        this.#wake.resolve()
      })
    }
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-2000)
    })
    this.#child.once('exit', () => this.#wake.resolve())
  }

  order(order: Order): void {
    this.#told.length = 0
    this.#child.stdin?.write(`${order}\n`)
  }

  /** The next of these that it tells; undefined when none comes in time. */
  async tells<E extends Told['event']>(...events: readonly E[]): Promise<Extract<Told, { event: E }> | undefined> {
    const isIt = (told: Told): told is Extract<Told, { event: E }> => (events as readonly string[]).includes(told.event)
    const late = AbortSignal.timeout(PATIENCE)
    const lateness = new Promise<void>((resolve) => late.addEventListener('abort', () => resolve()))
    for (;;) {
      const found = this.#told.find(isIt)
      if (found || late.aborted) return found
      if (this.#child.exitCode !== null) throw new Error(`the worker has ended: ${this.#errors}`)
      this.#wake = Promise.withResolvers()
      await Promise.race([this.#wake.promise, lateness])
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }
}

class DatachannelEnds implements Ends {
  readonly #from: Worker
  readonly #to: Worker

  private constructor(from: Worker, to: Worker) {
    this.#from = from
    this.#to = to
  }

  static async start(lab: Lab, [from, to]: readonly [string, string], hasRelay: boolean): Promise<Ends> {
    const relays = hasRelay ? (['TurnUdp', 'TurnTcp', 'TurnTls'] as const).map(relayAt) : []
    const options: EndOptions = { signals: SIGNALS, servers: [STUN, ...relays] }
    const ends = [from, to].map((host) => new Worker(lab, host, ['end', JSON.stringify(options)])) as [Worker, Worker]
    for (const end of ends) if (!(await end.tells('ready'))) throw new Error('a worker did not start')
    return new DatachannelEnds(...ends)
  }

  async connect(): Promise<Attempt> {
    this.#from.order('connect')
    const told = await this.#from.tells('connected', 'failed')
    this.#from.order('close')
    if (told?.event !== 'connected')
      return { connected: false, ms: told?.ms ?? PATIENCE, reason: told?.reason ?? 'no connection, and no word why' }
    const route = routeOf(told.local, told.remote)
    return { connected: true, ms: told.ms, first: route, last: route }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#from.stop(), this.#to.stop()])
  }
}

const isNear = (a: string, b: string): boolean => a.split('.').slice(0, 3).join() === b.split('.').slice(0, 3).join()

function routeOf(local: Candidate, remote: Candidate): string {
  if (local.type === 'relay' || remote.type === 'relay') return 'relay'
  if (local.type === 'host' && remote.type === 'host') return isNear(local.address, remote.address) ? 'lan' : 'direct'
  return local.type === 'host' || remote.type === 'host' ? 'direct' : 'punched'
}
