import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type {
  Announcement,
  DiscoveryEvents,
  DiscoveryMethod,
  DiscoveryState,
} from '../../daemon/discovery/discovery.ts'
import type { Advertisement } from '../../daemon/discovery/mdns/mdns-service.ts'
import type { ErrorCode } from '../../daemon/errors.ts'
import type { NetworkChange, NetworkInterface } from '../../daemon/network/network.ts'
import type { DiscoveryName, PeerId, Presence, Sighting } from '../../daemon/types.ts'
import type { Contact } from '../../daemon/xmpp/contacts.ts'
import type { LanInstance } from '../../daemon/xmpp/lan-roster.ts'
import type { Lab } from '../lab/lab.ts'
import type { SuiteHost } from './method-suite.ts'
import { SightingLog } from './sighting-log.ts'
import type { Command } from './worker.ts'

const WORKER = new URL('./worker.ts', import.meta.url).pathname

type Line =
  | { event: 'hello'; announcement: Announcement; interfaces: readonly NetworkInterface[] }
  | { event: 'seen'; sighting: Sighting }
  | { event: 'gone'; peer: PeerId; method: DiscoveryName; interface: string; address?: string }
  | { event: 'started'; states: readonly DiscoveryState[] }
  | { event: 'states'; states: readonly DiscoveryState[]; refused: Partial<Record<ErrorCode, number>>; self: string }
  | { event: 'contact'; contact: Contact; change: 'changed' | 'gone' }
  | { event: 'presence'; peer: PeerId; presence: Presence }
  | { event: 'found'; instance?: LanInstance }
  | { event: 'detached' }
  | { event: 'stopped' }

/** A method of the lab, by the name that its sightings have. */
export type LabKind = 'mdns' | 'beacon' | 'xmpp'

/** A discovery method that runs on a host of the lab, in a process of its own. */
export class LabMethod implements DiscoveryMethod {
  readonly name: DiscoveryName
  readonly #child: ChildProcess
  readonly #waiting = new Map<Line['event'], (line: Line) => void>()
  #events: DiscoveryEvents | undefined
  #states: readonly DiscoveryState[] = []
  #errors = ''
  readonly #watchers = new Set<() => void>()
  /** The plain clients that are there. */
  readonly contacts = new Map<string, Contact>()
  /** What each host told of its presence, the last last. */
  readonly presences: { readonly peer: PeerId; readonly presence: Presence }[] = []

  private constructor(name: DiscoveryName, child: ChildProcess) {
    this.name = name
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-20_000)
    })
    if (!child.stdout) throw new Error('the worker has no output')
    createInterface(child.stdout).on('line', (line) => this.#take(JSON.parse(line) as Line))
    child.once('exit', () => {
      for (const resolve of this.#waiting.values()) resolve({ event: 'stopped' })
    })
  }

  /** A method on a host of the lab, not started yet. */
  static async create(lab: Lab, host: string, kind: LabKind, name: string, port = 47800): Promise<LabHost> {
    const child = lab.spawn(host, [process.execPath, WORKER, kind, String(port), name])
    const method = new LabMethod(kind, child)
    const hello = await method.#next('hello')
    if (hello.event !== 'hello') throw new Error(`the worker on ${host} did not start: ${method.#errors}`)
    return { method, announcement: hello.announcement, interfaces: hello.interfaces }
  }

  /** What it logged so far. */
  get log(): string {
    return this.#errors
  }

  async start(announcement: Announcement, interfaces: readonly NetworkInterface[], events: DiscoveryEvents) {
    this.#events = events
    await this.#ask({ do: 'start', announcement, interfaces }, 'started')
  }

  async stop(): Promise<void> {
    await this.#ask({ do: 'stop' }, 'stopped')
  }

  networkChanged(change: NetworkChange): void {
    this.#send({ do: 'change', change })
  }

  renamed(name: string): void {
    this.#send({ do: 'rename', name })
  }

  /** As of the last answer. */
  states(): readonly DiscoveryState[] {
    return this.#states
  }

  /** What it says of itself now. */
  async look(): Promise<Extract<Line, { event: 'states' }>> {
    const line = await this.#ask({ do: 'states' }, 'states')
    if (line.event !== 'states') throw new Error(`the worker ended: ${this.#errors}`)
    return line
  }

  setPresence(presence: Presence): void {
    this.#send({ do: 'presence', presence })
  }

  async lookUp(instance: string): Promise<LanInstance | undefined> {
    const line = await this.#ask({ do: 'look-up', instance }, 'found')
    return line.event === 'found' ? line.instance : undefined
  }

  /** Advertises another service of the same host. */
  attach(advertisement: Advertisement): void {
    this.#send({ do: 'attach', advertisement })
  }

  async detach(): Promise<void> {
    await this.#ask({ do: 'detach' }, 'detached')
  }

  /** Resolves as soon as `condition` holds for the contacts and presences; looked at after each change. */
  until(condition: (method: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const watcher = (): void => {
        if (!condition(this)) return
        this.#watchers.delete(watcher)
        resolve()
      }
      this.#watchers.add(watcher)
      watcher()
    })
  }

  /** SIGKILL: no goodbye. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async #ask(command: Command, answer: Line['event']): Promise<Line> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return { event: 'stopped' }
    const line = this.#next(answer)
    this.#send(command)
    return line
  }

  #send(command: Command): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  #next(event: Line['event']): Promise<Line> {
    const earlier = this.#waiting.get(event)
    return new Promise((resolve) =>
      this.#waiting.set(event, (line) => {
        earlier?.(line)
        resolve(line)
      }),
    )
  }

  #take(line: Line): void {
    if (line.event === 'seen') this.#events?.seen(line.sighting)
    if (line.event === 'gone') this.#events?.gone(line.peer, line.method, line.interface, line.address)
    if (line.event === 'contact' && line.change === 'gone') this.contacts.delete(line.contact.id)
    else if (line.event === 'contact') this.contacts.set(line.contact.id, line.contact)
    if (line.event === 'presence') this.presences.push(line)
    for (const watcher of [...this.#watchers]) watcher()
    if (line.event === 'started' || line.event === 'states') this.#states = line.states
    const resolve = this.#waiting.get(line.event)
    this.#waiting.delete(line.event)
    resolve?.(line)
  }
}

export interface LabHost extends SuiteHost {
  readonly method: LabMethod
}

/** Starts a method on a host, and what it tells. */
export async function startOn(
  lab: Lab,
  host: string,
  kind: LabKind,
  name = `name of ${host}`,
): Promise<LabHost & { readonly peer: PeerId; readonly log: SightingLog }> {
  const started = await LabMethod.create(lab, host, kind, name)
  const log = new SightingLog()
  await started.method.start(started.announcement, started.interfaces, log)
  return { ...started, peer: started.announcement.peer, log }
}
