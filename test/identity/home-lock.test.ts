import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acquireHomeLock } from '../../daemon/identity/home-lock.ts'

let folder: string
let file: string
const workers: Worker[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'))
  file = join(folder, 'daemon.lock')
})
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.kill()
  rmSync(folder, { recursive: true })
})

/** A process that takes and releases the lock when told. */
class Worker {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.child = child
    this.#lines = lines
  }

  static async start(): Promise<Worker> {
    const script = fileURLToPath(new URL('./lock-worker.ts', import.meta.url))
    const child = spawn(process.execPath, [script, file], { stdio: ['pipe', 'pipe', 'inherit'] })
    const worker = new Worker(child, createInterface(child.stdout)[Symbol.asyncIterator]())
    workers.push(worker)
    await worker.#next()
    return worker
  }

  tell(word: 'acquire' | 'release'): Promise<string> {
    this.child.stdin?.write(`${word}\n`)
    return this.#next()
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
  }

  async #next(): Promise<string> {
    const { value } = await this.#lines.next()
    return String(value)
  }
}

/** The lock of a process that is no more. */
const staleLock = (): string =>
  JSON.stringify({ pid: 2 ** 22 + 1, started: '1', since: '2026-01-01T00:00:00.000Z', token: 'stale' })

describe('the lock of a home', () => {
  test('refuses a second daemon, naming process and time of the first', async () => {
    const lock = await acquireHomeLock(file)
    const since = JSON.parse(readFileSync(file, 'utf8')).since
    await expect(acquireHomeLock(file)).rejects.toMatchObject({
      code: 'local.already-running',
      message: `process ${process.pid} uses this home since ${since} (${file})`,
    })
    await lock.release()
  })

  test('is free again after release, which is safe to call twice', async () => {
    const first = await acquireHomeLock(file)
    await first.release()
    const second = await acquireHomeLock(file)
    await first.release()
    await expect(acquireHomeLock(file)).rejects.toMatchObject({ code: 'local.already-running' })
    await second.release()
    expect(readdirSync(folder)).toEqual([])
  })

  test.each([
    ['of a process that died', staleLock()],
    ['of no process', 'not even JSON'],
    ['left empty', ''],
  ])('is taken over when it is %s', async (_, text) => {
    writeFileSync(file, text)
    const lock = await acquireHomeLock(file)
    expect(JSON.parse(readFileSync(file, 'utf8')).pid).toBe(process.pid)
    await lock.release()
    expect(readdirSync(folder)).toEqual([])
  })

  test('is taken over when somebody died while taking it over', async () => {
    writeFileSync(file, staleLock())
    writeFileSync(`${file}.takeover`, staleLock())
    const lock = await acquireHomeLock(file)
    await lock.release()
    expect(readdirSync(folder)).toEqual([])
  })

  test.runIf(process.platform === 'linux')('is taken over when another process has the number now', async () => {
    writeFileSync(file, JSON.stringify({ pid: process.pid, started: '1', since: 'once', token: 'old' }))
    await (await acquireHomeLock(file)).release()
  })

  test('is taken over after kill -9, and refused before', async () => {
    const holder = await Worker.start()
    expect(await holder.tell('acquire')).toBe('held')
    await expect(acquireHomeLock(file)).rejects.toMatchObject({
      message: expect.stringContaining(`process ${holder.child.pid} `),
    })
    await holder.kill()
    await (await acquireHomeLock(file)).release()
  })

  test('goes to exactly one of several processes that start at once, free or stale', async () => {
    const rivals = await Promise.all([Worker.start(), Worker.start(), Worker.start()])
    for (let round = 0; round < 100; round++) {
      if (round % 2 === 0) writeFileSync(file, staleLock())
      const answers = await Promise.all(rivals.map((rival) => rival.tell('acquire')))
      expect(answers.toSorted()).toEqual(['held', 'local.already-running', 'local.already-running'])
      const holder = rivals[answers.indexOf('held')]
      expect(await holder?.tell('release')).toBe('released')
    }
    expect(readdirSync(folder)).toEqual([])
  })

  test('says so when the folder is missing', async () => {
    await expect(acquireHomeLock(join(folder, 'none', 'daemon.lock'))).rejects.toMatchObject({ code: 'local.file' })
  })
})
