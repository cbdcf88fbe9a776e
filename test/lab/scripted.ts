import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { eventually } from './patience.ts'

/** Something a scripted program told by itself. */
export interface Told {
  readonly event: string
  readonly [key: string]: unknown
}

/** A program that takes commands and gives answers and events as JSON lines. */
export class Scripted {
  readonly #child: ChildProcess
  readonly #told: Told[] = []
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #calls = 0
  #complaints = ''

  constructor(child: ChildProcess) {
    this.#child = child
    if (!child.stdout || !child.stderr) throw new Error('the program has no output')
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-10_000)
    })
    child.stdin?.on('error', () => {})
    createInterface(child.stdout).on('line', (line) => this.#take(JSON.parse(line)))
    child.once('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the program ended: ${this.#complaints}`))
      this.#waiting.clear()
    })
  }

  /** Makes the program do something, and gives its result. */
  call(command: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const waiter = Promise.withResolvers<unknown>()
    if (this.#child.exitCode !== null) waiter.reject(new Error(`the program has ended: ${this.#complaints}`))
    else this.#waiting.set(++this.#calls, waiter)
    this.#child.stdin?.write(`${JSON.stringify({ id: this.#calls, do: command, ...params })}\n`)
    return waiter.promise
  }

  /** Everything it told so far, oldest first. */
  get told(): readonly Told[] {
    return this.#told
  }

  /** Resolves to the first thing it told, or will tell, that is so. */
  until(what: string, condition: (told: Told) => boolean): Promise<Told> {
    return eventually(
      what,
      () => this.#told.find(condition),
      () => `${this.#told.map((told) => JSON.stringify(told)).join('\n')}\n${this.#complaints}`,
    )
  }

  /** Resolves when the program has ended. */
  async ended(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }

  /** Tells the program that there are no more commands, at which it leaves. */
  async end(): Promise<void> {
    this.#child.stdin?.end()
    await this.ended()
  }

  #take(line: Told | { readonly id: number; readonly result?: unknown; readonly error?: string }): void {
    if ('event' in line) {
      this.#told.push(line as Told)
      return
    }
    const waiter = this.#waiting.get(line.id)
    this.#waiting.delete(line.id)
    if (line.error === undefined) waiter?.resolve(line.result)
    else waiter?.reject(new Error(line.error))
  }
}
