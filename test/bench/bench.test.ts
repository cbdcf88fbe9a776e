import { execFile } from 'node:child_process'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { hostPair, Worker } from './hosts.ts'
import type { Figure } from './report.ts'

const MAIN = new URL('./main.ts', import.meta.url).pathname

function bench(...options: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [MAIN, ...options], { timeout: 50_000 })
}

test('a tiny run on loopback prints a figure of each subject', async () => {
  const { stdout } = await bench(
    ...['--only', 'rtt64', '--subjects', 'node-tls,bare-chain', '--runs', '1', '--loopback', '--json'],
  )
  const figures = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Figure)
  expect(figures.map(({ metric, scope, subject }) => `${metric} ${scope} ${subject}`)).toStrictEqual([
    'rtt64 daemon node-tls',
    'rtt64 p99 daemon node-tls',
    'rtt64 app bare-chain',
    'rtt64 p99 app bare-chain',
  ])
  for (const { value, unit, runs } of figures) {
    expect(value).toBeGreaterThan(0)
    expect({ unit, runs }).toStrictEqual({ unit: 'µs', runs: 1 })
  }
})

test('options that make no sense are refused with a sentence', async () => {
  await expect(bench('--only', 'speed')).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('--only does not know speed'),
  })
})

test('a worker that fails says why', async () => {
  await using hosts = await hostPair(true)
  const worker = new Worker(hosts.a, 'serve', 'nobody', {})
  await expect(worker.ready()).rejects.toThrow('no such subject: nobody')
  await worker.stop()
})

test('a worker that hangs is given up and ended', async () => {
  await using hosts = await hostPair(true)
  await using lives = await mkdtempDisposable(join(tmpdir(), 'bench-test-'))
  const worker = new Worker(hosts.a, 'serve', 'unix', { path: join(lives.path, 'socket') })
  await worker.ready()
  process.kill(worker.pid, 'SIGSTOP')
  await expect(worker.ask({ do: 'mark' }, 10)).rejects.toThrow('serve unix, mark: no answer within 0.01 s')
  await worker.stop()
  expect(() => process.kill(worker.pid, 0)).toThrow('ESRCH')
})
