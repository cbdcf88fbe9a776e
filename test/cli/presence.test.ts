import { expect, test } from 'vitest'
import type { Params } from '../../ipc/methods.ts'
import { FakeDaemon } from './fake-daemon.ts'
import { runCli } from './run-cli.ts'

test('without an argument the presence is shown', async () => {
  await using daemon = await FakeDaemon.start({ 'presence.get': () => ({ show: 'busy', text: 'Kuchen\u001b[2J' }) })
  const [human, machine] = await Promise.all([
    runCli(['presence', '--home', daemon.home]),
    runCli(['presence', '--json', '--home', daemon.home]),
  ])
  expect(human).toEqual({ code: 0, stdout: 'busy: Kuchen�[2J\n', stderr: '' })
  expect(JSON.parse(machine.stdout)).toEqual({ show: 'busy', text: 'Kuchen\u001b[2J' })
})

test.each([
  [['available'], { show: 'available', text: '' }, 'available\n'],
  [['away', 'beim Essen ☕'], { show: 'away', text: 'beim Essen ☕' }, 'away: beim Essen ☕\n'],
  [['busy', 'at', 'work'], { show: 'busy', text: 'at work' }, 'busy: at work\n'],
])('`presence %j` sets it', async (args, params, stdout) => {
  await using daemon = await FakeDaemon.start({
    'presence.set': ({ show, text = '' }: Params<'presence.set'>) => ({ show, text }),
  })
  const [human, machine] = await Promise.all([
    runCli(['presence', ...args, '--home', daemon.home]),
    runCli(['presence', ...args, '--json', '--home', daemon.home]),
  ])
  expect(human).toEqual({ code: 0, stdout, stderr: '' })
  expect(JSON.parse(machine.stdout)).toEqual(params)
  expect(daemon.calls).toContainEqual({ method: 'presence.set', params })
})

test('a text is no presence, and one that is too long is refused', async () => {
  await using daemon = await FakeDaemon.start()
  const [misread, long] = await Promise.all([
    runCli(['presence', 'at lunch', '--home', daemon.home]),
    runCli(['presence', 'away', 'x'.repeat(256), '--home', daemon.home]),
  ])
  expect(misread).toMatchObject({ code: 2, stderr: expect.stringContaining('available, away or busy, not "at lunch"') })
  expect(long).toMatchObject({ code: 2, stderr: expect.stringContaining('usage.invalid-argument') })
  expect(daemon.calls).toEqual([])
})
