import { describe, expect, test } from 'vitest'
import { serviceManager } from '../../cli/service/manager.ts'
import { ScriptedMachine } from './scripted-machine.ts'

const PROGRAM = ['/usr/lib/partyline/node', '--max-semi-space-size=4', '/usr/lib/partyline/main.js']
const UNKNOWN = ['systemctl --system show', { stdout: 'LoadState=not-found\nActiveState=inactive\n' }] as const
const shown = (facts: string) => ['systemctl --system show', { stdout: facts }] as const
const OURS = shown('LoadState=loaded\nActiveState=active\nFragmentPath=/etc/systemd/system/partyline.service\n')

describe('a service of the machine', () => {
  test('is installed with its user, its folders and its units, and started', async () => {
    const machine = new ScriptedMachine()
    machine.answers = [UNKNOWN, ['systemctl --version', { stdout: 'systemd 252 (252.38-1~deb12u1)\n+PAM\n' }]]
    await serviceManager(machine, 'system').install(PROGRAM)
    expect([...machine.files.keys()].filter((path) => path.startsWith('/etc'))).toEqual([
      '/etc/sysusers.d/partyline.conf',
      '/etc/tmpfiles.d/partyline.conf',
      '/etc/systemd/system/partyline.socket',
      '/etc/systemd/system/partyline.service',
    ])
    expect(machine.files.get('/etc/systemd/system/partyline.service')).toContain(
      `\nExecStart=${PROGRAM.join(' ')} daemon --system\n`,
    )
    expect(machine.ran.slice(1)).toEqual([
      'systemd-sysusers /etc/sysusers.d/partyline.conf',
      'systemd-tmpfiles --create /etc/tmpfiles.d/partyline.conf',
      'systemctl --version',
      'systemctl --system daemon-reload',
      'systemctl --system enable --now partyline.service',
    ])
  })

  test('restarts ever more slowly where systemd can do that', async () => {
    const machine = new ScriptedMachine()
    machine.answers = [UNKNOWN, ['systemctl --version', { stdout: 'systemd 257 (257.9-1)\n' }]]
    await serviceManager(machine, 'system').install(PROGRAM)
    expect(machine.files.get('/etc/systemd/system/partyline.service.d/back-off.conf')).toContain('RestartMaxDelaySec=')
  })

  test('is only root’s to install, start and stop', async () => {
    const service = serviceManager(new ScriptedMachine({ uid: 1000 }), 'system')
    for (const act of [
      () => service.install(PROGRAM),
      () => service.start(),
      () => service.stop(),
      () => service.uninstall(),
    ])
      await expect(act()).rejects.toMatchObject({ code: 'local.not-root' })
  })

  test('is not installed twice, nor with a program that it could not read', async () => {
    const machine = new ScriptedMachine()
    machine.answers = [OURS]
    await expect(serviceManager(machine, 'system').install(PROGRAM)).rejects.toMatchObject({
      code: 'local.service-installed',
    })
    machine.answers = [UNKNOWN]
    for (const path of ['/home/anna/partyline/main.js', '/root/main.js', '/tmp/main.js'])
      await expect(serviceManager(machine, 'system').install(['/usr/bin/node', path])).rejects.toMatchObject({
        code: 'local.private-program',
      })
    expect(machine.files.size).toBe(1)
  })

  test('tells what systemctl said when it fails', async () => {
    const machine = new ScriptedMachine()
    machine.answers = [UNKNOWN, ['systemctl --system enable', { code: 1, stderr: 'Job failed.\nSee more.\n' }]]
    await expect(serviceManager(machine, 'system').install(PROGRAM)).rejects.toMatchObject({
      code: 'local.service-failed',
      message: expect.stringContaining('Job failed. See more.'),
    })
  })

  test('takes everything back that it wrote, and nothing of a package', async () => {
    const machine = new ScriptedMachine()
    machine.answers = [UNKNOWN, ['systemctl --version', { stdout: 'systemd 257 (257.9-1)\n' }]]
    await serviceManager(machine, 'system').install(PROGRAM)
    machine.answers = [OURS]
    await serviceManager(machine, 'system').uninstall()
    expect([...machine.files.keys()].filter((path) => path.startsWith('/etc'))).toEqual([])
    expect(machine.ran).toContain('rmdir /etc/systemd/system/partyline.service.d')
    expect(machine.ran).toContain('systemctl --system disable --now partyline.socket partyline.service')
    machine.answers = [shown('LoadState=loaded\nFragmentPath=/lib/systemd/system/partyline.service\n')]
    await expect(serviceManager(machine, 'system').uninstall()).rejects.toMatchObject({
      code: 'local.service-packaged',
    })
  })

  test('is started and stopped with its socket, which would start it again', async () => {
    const machine = new ScriptedMachine()
    machine.answers = [OURS]
    await serviceManager(machine, 'system').stop()
    await serviceManager(machine, 'system').start()
    expect(machine.ran.filter((line) => !line.includes(' show '))).toEqual([
      'systemctl --system stop partyline.socket partyline.service',
      'systemctl --system start partyline.socket partyline.service',
    ])
    machine.answers = [UNKNOWN]
    await expect(serviceManager(machine, 'system').start()).rejects.toMatchObject({ code: 'local.service-missing' })
  })

  test('tells how it is', async () => {
    const machine = new ScriptedMachine({ uid: 1000 })
    machine.answers = [
      shown(
        'LoadState=loaded\nActiveState=active\nActiveEnterTimestamp=@1795466758\nInactiveEnterTimestamp=@1\nMainPID=80\nUser=partyline\nNRestarts=2\nStatusText=x=y\n',
      ),
    ]
    expect(await serviceManager(machine, 'system').state()).toEqual({
      installed: true,
      running: true,
      state: 'active',
      since: '2026-11-23T20:45:58.000Z',
      pid: 80,
      user: 'partyline',
      restarts: 2,
      status: 'x=y',
    })
    machine.answers = [
      shown('LoadState=loaded\nActiveState=failed\nInactiveEnterTimestamp=\nMainPID=0\nNRestarts=[not set]\n'),
    ]
    expect(await serviceManager(machine, 'system').state()).toMatchObject({
      running: false,
      state: 'failed',
      since: null,
      pid: null,
      restarts: null,
    })
  })

  test('shows lines of the journal, and leaves out what it cannot read', async () => {
    const machine = new ScriptedMachine()
    const line = (fields: object): string => JSON.stringify({ __REALTIME_TIMESTAMP: '1795466758000000', ...fields })
    machine.answers = [
      [
        'journalctl --unit=partyline.service --no-pager --priority=warning --lines=5',
        {
          stdout: [
            line({ PRIORITY: '4', MESSAGE: 'nat: no answer' }),
            line({ PRIORITY: '3', MESSAGE: [255, 0] }),
            '{broken',
            line({ PRIORITY: '2', MESSAGE: 'worse' }),
            '',
          ].join('\n'),
        },
      ],
    ]
    expect(await serviceManager(machine, 'system').lines(5, 'warn')).toEqual([
      { at: '2026-11-23T20:45:58.000Z', level: 'warn', message: 'nat: no answer' },
      { at: '2026-11-23T20:45:58.000Z', level: 'error', message: 'worse' },
    ])
  })
})

describe('a service of a user', () => {
  test.each([
    [{}, '/home/anna/.config/systemd/user/partyline.service'],
    [{ XDG_CONFIG_HOME: '/c' }, '/c/systemd/user/partyline.service'],
    [{ XDG_CONFIG_HOME: 'relative' }, '/home/anna/.config/systemd/user/partyline.service'],
  ])('lies in the folder of the user: %j', async (env, file) => {
    const machine = new ScriptedMachine({ uid: 1000, env })
    machine.answers = [['systemctl --user show', { stdout: 'LoadState=not-found\n' }]]
    await serviceManager(machine, 'user').install(['/home/anna/my tools/50%/node', '/home/anna/$x/"main".js'])
    expect(machine.files.get(file)).toContain(
      '\nExecStart="/home/anna/my tools/50%%/node" "/home/anna/$$x/\\"main\\".js" daemon\n',
    )
    expect(machine.ran.at(-1)).toBe('systemctl --user enable --now partyline.service')
    expect(serviceManager(machine, 'user').logCommand(50, true)).toEqual(
      'journalctl --user --user-unit=partyline.service --no-pager --lines=50 --follow'.split(' '),
    )
  })

  test('is told apart from a systemd that does not answer', async () => {
    const machine = new ScriptedMachine({ uid: 1000 })
    machine.answers = [['systemctl', { code: 1, stderr: 'Failed to connect to bus: No medium found\n' }]]
    await expect(serviceManager(machine, 'user').state()).rejects.toMatchObject({ code: 'local.no-service-manager' })
    machine.answers = [['systemctl', { code: undefined } as never]]
    await expect(serviceManager(machine, 'user').state()).rejects.toMatchObject({ code: 'local.no-service-manager' })
  })
})

test.each(['linux', 'freebsd'] as const)('without systemd there is no service on %s', (platform) => {
  const machine = new ScriptedMachine({ platform })
  machine.files.clear()
  expect(() => serviceManager(machine, 'user')).toThrow(expect.objectContaining({ code: 'local.no-service-manager' }))
})
