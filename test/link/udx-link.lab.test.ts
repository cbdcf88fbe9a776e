import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import type { Command, Report } from './udx-worker.ts'

const WORKER = new URL('./udx-worker.ts', import.meta.url).pathname
const MIB = 1024 * 1024
const missing = labMissing()

/** A worker on a host, and what it tells. */
async function start(lab: Lab, name: string) {
  const child = lab.spawn(name, [process.execPath, WORKER])
  const { stdout, stdin } = child
  if (!stdout || !stdin) throw new Error('the worker has no stdout')
  const lines = createInterface(stdout)[Symbol.asyncIterator]()
  const next = async <E extends Report['event']>(
    event: E,
    where: (report: Extract<Report, { event: E }>) => boolean,
  ) => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done) throw new Error(`the worker on ${name} ended`)
      const report = JSON.parse(value) as Report
      if (report.event === event && where(report as Extract<Report, { event: E }>))
        return report as Extract<Report, { event: E }>
    }
  }
  const hello = await next('hello', () => true)
  return { ...hello, next, tell: (command: Command) => void stdin.write(`${JSON.stringify(command)}\n`) }
}

/** A transfer from h1 to h2 under way. */
async function transfer(lab: Lab, bytes: number, [near, far]: readonly [string, string]) {
  const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
  const id = 0x1234567
  const to = (address: string, { port }: { port: number }) => ({ address, port })
  a.tell({ do: 'link', id, to: to(far, b), role: 'client', expected: b.peer, bytes })
  b.tell({ do: 'link', id, to: to(near, a), role: 'server', expected: a.peer, bytes })
  const done = async (): Promise<void> => {
    const [sent, arrived] = await Promise.all([a.next('done', () => true), b.next('done', () => true)])
    expect(arrived.hash).toBe(sent.hash)
  }
  const move = (fromNear: string, toFar: string): void => {
    a.tell({ do: 'move', to: to(toFar, b) })
    b.tell({ do: 'move', to: to(fromNear, a) })
  }
  return { a, b, done, move }
}

describe.skipIf(missing)(`links over UDX on real networks${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('lose nothing when the cable that they use is pulled, and go on over another', async () => {
    await using lab = await Lab.up('lan-multi')
    const { b, done, move } = await transfer(lab, 96 * MIB, ['192.168.50.1', '192.168.50.2'])
    await b.next('progress', ({ bytes }) => bytes > 8 * MIB)
    await lab.link('h1', 'down')
    move('192.168.51.1', '192.168.51.2')
    await b.next('progress', ({ bytes }) => bytes > 32 * MIB)
    await lab.link('h1', 'up')
    move('fd00:51::1', 'fd00:51::2')
    await done()
  }, 60_000)

  test('fill a long and lossy way', async () => {
    await using lab = await Lab.up('lan', { n: 2, wire: ['h1:delay=20,loss=2,rate=50000'] })
    const { done } = await transfer(lab, 8 * MIB, ['192.168.50.1', '192.168.50.2'])
    await done()
  }, 60_000)
})
