import { describe, expect, test } from 'vitest'
import { serviceManager } from '../../cli/service/manager.ts'
import { linesOf } from '../../cli/service/text-log.ts'
import { ScriptedMachine } from './scripted-machine.ts'

describe('launchd', () => {
  const AGENT = '/Users/anna/Library/LaunchAgents/org.partyline.daemon.plist'

  test('has an agent of the user, whose words are quoted as XML', async () => {
    const machine = new ScriptedMachine({ platform: 'darwin', uid: 501 })
    const service = serviceManager(machine, 'user')
    await service.install(['/opt/node', '/opt/a & b/main.js'])
    const list = machine.files.get(AGENT)
    expect(list).toContain(
      '<string>/opt/node</string>\n    <string>/opt/a &amp; b/main.js</string>\n    <string>daemon</string>',
    )
    expect(list).toContain('<string>/Users/anna/Library/Logs/partyline.log</string>')
    expect(list).not.toMatch(/@[A-Z]+@/)
    await expect(service.install(['/opt/node'])).rejects.toMatchObject({ code: 'local.service-installed' })
    await service.stop()
    await service.start()
    await service.uninstall()
    expect(machine.files.has(AGENT)).toBe(false)
    expect(machine.ran).toEqual([
      `launchctl bootstrap gui/501 ${AGENT}`,
      'launchctl kill SIGTERM gui/501/org.partyline.daemon',
      'launchctl kickstart gui/501/org.partyline.daemon',
      'launchctl bootout gui/501/org.partyline.daemon',
    ])
    await expect(service.start()).rejects.toMatchObject({ code: 'local.service-missing' })
  })

  test('has a daemon of the machine, with a user whose id is free', async () => {
    const machine = new ScriptedMachine({ platform: 'darwin' })
    machine.answers = [['dscl . -list', { stdout: 'root 0\n_a     300\n_b 301\nanna 501\n' }]]
    await serviceManager(machine, 'system').install(['/opt/node', '/opt/main.js'])
    expect(machine.ran).toContain('dscl . -create /Users/_partyline UniqueID 302')
    expect(machine.files.get('/Library/LaunchDaemons/org.partyline.daemon.plist')).toContain(
      '<string>--system</string>',
    )
    await expect(
      serviceManager(new ScriptedMachine({ platform: 'darwin', uid: 501 }), 'system').install([]),
    ).rejects.toMatchObject({ code: 'local.not-root' })
  })

  test('tells how it is', async () => {
    const machine = new ScriptedMachine({ platform: 'darwin', uid: 501 })
    machine.files.set(AGENT, '')
    machine.answers = [['launchctl print', { stdout: 'gui/501/x = {\n\tstate = running\n\truns = 3\n\tpid = 77\n}\n' }]]
    expect(await serviceManager(machine, 'user').state()).toMatchObject({ running: true, pid: 77, restarts: 2 })
    machine.answers = [['launchctl print', { code: 113 }]]
    expect(await serviceManager(machine, 'user').state()).toMatchObject({ running: false, state: 'not loaded' })
  })
})

describe('the Task Scheduler', () => {
  test('has a task of the user, in UTF-16, that is written and read once', async () => {
    const machine = new ScriptedMachine({ platform: 'win32', uid: -1 })
    machine.answers = [['powershell.exe', { code: 1 }]]
    let task = ''
    const run = machine.run
    machine.run = async (program, args) => {
      if (args[0] === '/create') {
        task = [...machine.files.values()].join()
        machine.answers = [['powershell.exe', { stdout: 'Ready\r\n' }]]
      }
      return run(program, args)
    }
    await serviceManager(machine, 'user').install(['C:\\Program Files\\node.exe', 'C:\\a & b\\main.js'])
    expect(task.codePointAt(0)).toBe(0xfeff)
    expect(task).toContain(
      '<Arguments>/d /s /c &quot;&quot;C:\\Program Files\\node.exe&quot; &quot;C:\\a &amp; b\\main.js&quot; &quot;daemon&quot; &gt;&gt; ',
    )
    expect(task).toContain('<UserId>anna</UserId>')
    expect(task).not.toMatch(/@[A-Z]+@/)
    expect(machine.files.size).toBe(0)
    expect(machine.ran.at(-1)).toBe('schtasks.exe /run /tn Partyline-anna')
  })

  test('tells how it is, in the language of nobody', async () => {
    const machine = new ScriptedMachine({ platform: 'win32', uid: -1 })
    machine.answers = [['powershell.exe', { stdout: 'Running\r\n' }]]
    expect(await serviceManager(machine, 'system').state()).toMatchObject({ running: true, user: 'LOCAL SERVICE' })
    await expect(serviceManager(machine, 'system').install([])).rejects.toMatchObject({
      code: 'local.service-installed',
    })
  })
})

test('a log of our own is read by level', () => {
  const log = [
    '2026-11-23T20:00:00.000Z info  daemon: ready',
    '2026-11-23T20:00:01.000Z warn  nat: no answer',
    'Trace of something else',
    '2026-11-23T20:00:02.000Z error udp: closed',
  ].join('\r\n')
  expect(linesOf(log, 1, 'warn')).toEqual([{ at: '2026-11-23T20:00:02.000Z', level: 'error', message: 'udp: closed' }])
  expect(linesOf(log, 10, 'debug')).toHaveLength(3)
})
