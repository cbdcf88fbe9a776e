import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Packet } from 'dns-packet'
import type { Lab } from '../lab/lab.ts'
import type { Seen, SeenRecord } from './mdns-observer.ts'

const OBSERVER = new URL('./mdns-observer.ts', import.meta.url).pathname

/** What an independent ear on a host of the lab hears of mDNS over IPv4, and what it says. */
export class LabObserver {
  readonly seen: Seen[] = []
  readonly #child: ChildProcess
  readonly #watchers = new Set<() => void>()

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(lab: Lab, host: string, address: string): Promise<LabObserver> {
    const child = lab.spawn(host, [process.execPath, OBSERVER, address])
    if (!child.stdout) throw new Error('the observer has no output')
    const observer = new LabObserver(child)
    const lines = createInterface(child.stdout)
    await once(lines, 'line')
    lines.on('line', (line) => {
      observer.seen.push(JSON.parse(line) as Seen)
      for (const watcher of [...observer.#watchers]) watcher()
    })
    return observer
  }

  send(packet: Packet): void {
    this.#child.stdin?.write(`${JSON.stringify(packet)}\n`)
  }

  /** Resolves to what `find` finds, as soon as it does; looked at after each packet. */
  until<T>(find: (seen: readonly Seen[]) => T | undefined | false): Promise<T> {
    return new Promise((resolve) => {
      const watcher = (): void => {
        const found = find(this.seen)
        if (found === undefined || found === false) return
        this.#watchers.delete(watcher)
        resolve(found)
      }
      this.#watchers.add(watcher)
      watcher()
    })
  }
}

/** The records of a packet. */
export const recordsIn = ({ answers, additionals }: Seen): readonly SeenRecord[] => [...answers, ...additionals]
