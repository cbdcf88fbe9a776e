import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLogger, type LogEntry } from '../../daemon/logger.ts'
import { ChatHistory } from '../../daemon/services/chat-history.ts'
import type { ChatLine } from '../../ipc/methods.ts'

const ANNA = 'anna'.padEnd(52, 'a')

let folder: string
let file: string
let keep: number
let store: boolean
let warnings: string[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'partyline-history-'))
  file = join(folder, 'chat.jsonl')
  keep = 10
  store = true
  warnings = []
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const open = (path: string = file): Promise<ChatHistory> =>
  ChatHistory.open({
    file: path,
    keep: () => keep,
    store: () => store,
    logger: createLogger('warn', ({ message }: LogEntry) => void warnings.push(message)),
  })
const line = (text: string, peer = ANNA): ChatLine => ({
  peer,
  direction: 'in',
  text,
  at: 1_795_400_000_000,
  encrypted: true,
  via: 'session',
})
const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `line ${from + index}`)
const texts = (history: ChatHistory): string[] => history.lines(undefined, 1000).map(({ text }) => text)
const stored = async (): Promise<string[]> =>
  (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((one) => (JSON.parse(one) as ChatLine).text)

describe('chat history', () => {
  test('outlives the daemon, as it was, and nobody else may read it', async () => {
    const first = await open()
    first.add(line('grüß dich ☕\n"zweite Zeile"'))
    first.add(line('hi', 'xmpp:alice@h1'))
    await first.close()
    const second = await open()
    expect(second.lines(undefined, 10)).toEqual(first.lines(undefined, 10))
    expect(second.lines('xmpp:alice@h1', 10).map(({ text }) => text)).toEqual(['hi'])
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(warnings).toEqual([])
  })

  test('holds the last lines only, the file at most twice as many', async () => {
    const history = await open()
    for (const text of numbered(0, 45)) {
      history.add(line(text))
      await history.close()
      expect((await stored()).length).toBeLessThanOrEqual(20)
    }
    expect(texts(history)).toEqual(numbered(35, 45))
    expect(texts(await open())).toEqual(numbered(35, 45))
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  test('writes lines that come at once in order', async () => {
    const history = await open()
    for (const text of numbered(0, 1000)) history.add(line(text))
    await history.close()
    expect((await stored()).slice(-10)).toEqual(numbered(990, 1000))
    expect(texts(await open())).toEqual(numbered(990, 1000))
  })

  test('leaves damaged lines out, with one warning, and mends the file at the next line', async () => {
    const history = await open()
    history.add(line('whole'))
    await history.close()
    await appendFile(file, 'no JSON\n{"peer":1}\n\0\0\0\n')
    await appendFile(file, Buffer.from(`${JSON.stringify(line('torn ü'))}`).subarray(0, -12))
    const next = await open()
    expect(texts(next)).toEqual(['whole'])
    expect(warnings).toEqual(['damaged lines of the chat history are left out'])
    next.add(line('new'))
    await next.close()
    expect(await stored()).toEqual(['whole', 'new'])
    expect(texts(await open())).toEqual(['whole', 'new'])
    expect(warnings).toHaveLength(1)
  })

  test('survives being torn anywhere: what was whole is there, in order, and what comes later too', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1, maxLength: 30 }),
        fc.nat(),
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.string({ minLength: 1 }), { maxLength: 5 }),
        async (said, cut, limit, later) => {
          keep = limit
          await rm(file, { force: true })
          const first = await open()
          for (const text of said) first.add(line(text))
          await first.close()
          const whole = await readFile(file)
          const torn = whole.subarray(0, cut % (whole.length + 1))
          await writeFile(file, torn)
          const second = await open()
          const before = texts(second)
          // A last line that only lacks its line end is whole.
          const ends = torn.toString('utf8').split('\n')
          const there = ends.filter((one) => one.endsWith('}') && one.startsWith('{')).flatMap(parsed)
          expect(before).toEqual(there.slice(-limit))
          for (const text of later) second.add(line(text))
          await second.close()
          const third = texts(await open())
          expect(third).toEqual(texts(second))
          expect(third).toEqual([...before, ...later].slice(-limit))
        },
      ),
      { numRuns: 100 },
    )
  })

  test('survives a file of any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await writeFile(file, bytes)
        const history = await open()
        expect(texts(history)).toEqual([])
        history.add(line('new'))
        await history.close()
        expect(texts(await open())).toEqual(['new'])
      }),
      { numRuns: 50 },
    )
  })

  test('keeps nothing where nothing is to be kept, and removes what was', async () => {
    const before = await open()
    before.add(line('old'))
    await before.close()
    keep = 0
    const history = await open()
    await expect(stat(file)).rejects.toThrow('ENOENT')
    history.add(line('new'))
    await history.close()
    expect(texts(history)).toEqual([])
    await expect(stat(file)).rejects.toThrow('ENOENT')
  })

  test('is in memory only where the setting says so, and the file is removed', async () => {
    const before = await open()
    before.add(line('old'))
    await before.close()
    store = false
    const history = await open()
    await expect(stat(file)).rejects.toThrow('ENOENT')
    expect(texts(history)).toEqual([])
    history.add(line('new'))
    await history.close()
    expect(texts(history)).toEqual(['new'])
    await expect(stat(file)).rejects.toThrow('ENOENT')
  })

  test('is removed from disk when the setting is switched off, and back whole when it is switched on', async () => {
    const history = await open()
    history.add(line('one'))
    history.settingsChanged()
    store = false
    history.settingsChanged()
    await history.close()
    await expect(stat(file)).rejects.toThrow('ENOENT')
    history.add(line('two'))
    store = true
    history.settingsChanged()
    history.add(line('three'))
    await history.close()
    expect(await stored()).toEqual(['one', 'two', 'three'])
  })

  test('a write that fails is told once and loses no line: a later one writes them all', async () => {
    const history = await open(join(folder, 'later', 'chat.jsonl'))
    for (const text of numbered(0, 3)) {
      history.add(line(text))
      await history.close()
    }
    expect(warnings).toEqual(['the chat history cannot be kept on disk'])
    expect(texts(history)).toEqual(numbered(0, 3))
    await mkdir(join(folder, 'later'))
    history.add(line('line 3'))
    await history.close()
    expect(texts(await open(join(folder, 'later', 'chat.jsonl')))).toEqual(numbered(0, 4))
  })

  test('a file that cannot be read costs a warning', async () => {
    const history = await open(folder)
    expect(texts(history)).toEqual([])
    expect(warnings).toEqual(['the chat history cannot be kept on disk'])
  })

  test('without a file it is in memory', async () => {
    const history = await ChatHistory.open({
      keep: () => 2,
      store: () => true,
      logger: createLogger('warn', () => {}),
    })
    for (const text of numbered(0, 3)) history.add(line(text))
    history.settingsChanged()
    await history.close()
    expect(texts(history)).toEqual(['line 1', 'line 2'])
  })
})

function parsed(text: string): string[] {
  try {
    return [(JSON.parse(text) as ChatLine).text]
  } catch {
    return []
  }
}
