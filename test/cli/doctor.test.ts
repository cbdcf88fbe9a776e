import { expect, test } from 'vitest'
import { doctorCommand } from '../../cli/commands/doctor.ts'
import { PartylineError } from '../../daemon/errors.ts'
import type { DoctorCheck } from '../../ipc/methods.ts'
import { FakeDaemon } from './fake-daemon.ts'
import { runCli } from './run-cli.ts'
import { startCommand } from './run-command.ts'

const CHECKS: DoctorCheck[] = [
  {
    id: 'interfaces',
    code: 'ok',
    status: 'ok',
    title: 'Network interfaces',
    detail: 'eth0 (cable) takes part.',
    fix: '',
  },
  {
    id: 'multicast',
    code: 'multicast.filtered',
    status: 'warn',
    title: 'Multicast',
    detail: 'eth0 drops it.',
    fix: 'Start a hub.\nOr join one.',
  },
  { id: 'firewall', code: 'skip', status: 'skip', title: 'Firewall', detail: 'not known here.', fix: '' },
]
const FAILED: DoctorCheck = {
  id: 'port',
  code: 'port.taken',
  status: 'fail',
  title: 'Port',
  detail: 'Grüße von \u001b[2J\nhier.',
  fix: 'Öffne ihn.',
}

test('checks are aligned, with what to do below', async () => {
  await using daemon = await FakeDaemon.start({ 'doctor.run': () => ({ checks: CHECKS }) })
  const { code, stdout } = await runCli(['doctor', '--home', daemon.home])
  expect(code).toBe(0)
  expect(stdout).toBe(`✓ Network interfaces  eth0 (cable) takes part.
! Multicast           eth0 drops it. [multicast.filtered]
                      → Start a hub.
                      → Or join one.
- Firewall            not known here.
`)
  expect(daemon.calls).toContainEqual({ method: 'doctor.run', params: {} })
})

test('a check that fails makes the exit code 1, for people and machines', async () => {
  const checks = [...CHECKS, FAILED]
  await using daemon = await FakeDaemon.start({ 'doctor.run': () => ({ checks }) })
  const [human, machine] = await Promise.all([
    runCli(['doctor', 'anna', '--home', daemon.home]),
    runCli(['doctor', 'anna', '--json', '--home', daemon.home]),
  ])
  expect([human.code, machine.code]).toEqual([1, 1])
  expect(human.stdout).toContain(
    '✗ Port                Grüße von �[2J hier. [port.taken]\n                      → Öffne ihn.\n',
  )
  expect(JSON.parse(machine.stdout)).toEqual({ checks })
  expect(daemon.calls).toContainEqual({ method: 'doctor.run', params: { peer: 'anna' } })
})

test('on a terminal the marks are coloured', async () => {
  await using daemon = await FakeDaemon.start({ 'doctor.run': () => ({ checks: [...CHECKS, FAILED] }) })
  const { done, printed } = startCommand(doctorCommand, {}, { home: daemon.home, colour: true })
  expect(await done).toBe(1)
  for (const mark of ['\u001b[32m✓', '\u001b[33m!', '\u001b[31m✗']) expect(printed()).toContain(mark)
})

test('whom nobody knows cannot be examined: exit 4', async () => {
  await using daemon = await FakeDaemon.start({
    'doctor.run': () => {
      throw new PartylineError('peer.not-found')
    },
  })
  expect(await runCli(['doctor', 'nobody', '--home', daemon.home])).toMatchObject({ code: 4, stdout: '' })
})
