import { describe, expect, test } from 'vitest'
import type { Context } from '../../cli/command.ts'
import { createServiceCommands } from '../../cli/commands/service.ts'
import { createPaint } from '../../cli/format.ts'
import { ScriptedMachine } from './scripted-machine.ts'

const LOADED =
  'LoadState=loaded\nActiveState=active\nActiveEnterTimestamp=@1795466758\nMainPID=80\nUser=partyline\nNRestarts=1\nStatusText=accepts apps; port 47800\nFragmentPath=/etc/systemd/system/partyline.service\n'
const NOT_FOUND = 'LoadState=not-found\nActiveState=inactive\n'

/** What a command prints, and how it ends. */
async function run(
  machine: ScriptedMachine,
  verb: string,
  { json = false, home, ...options }: { json?: boolean; home?: string } & Record<string, string | boolean> = {},
): Promise<{ code: number | undefined; said: string; emitted: unknown[] }> {
  const said: string[] = []
  const emitted: unknown[] = []
  const context = {
    json,
    home,
    paint: createPaint({ isTTY: false } as never, {}, false),
    env: {},
    signal: new AbortController().signal,
    say: (text: string) => void said.push(text),
    emit: (value: unknown) => void emitted.push(value),
  } as unknown as Context
  const command = createServiceCommands(() => machine).find(({ name }) => name === `service ${verb}`)
  const code = (await command?.run(context, { args: [], options })) ?? undefined
  return { code, said: said.join('\n'), emitted }
}

function machineWith(user: string, system: string, uid = 1000): ScriptedMachine {
  const machine = new ScriptedMachine({ uid })
  machine.answers = [
    ['systemctl --user show', { stdout: user }],
    ['systemctl --system show', { stdout: system }],
  ]
  return machine
}

describe('partyline service', () => {
  test.each([
    ['their own where it is installed', LOADED, LOADED, {}, 'user'],
    ['the machine’s where only that is', NOT_FOUND, LOADED, {}, 'system'],
    ['their own where there is none', NOT_FOUND, NOT_FOUND, {}, 'user'],
    ['the one they name', LOADED, LOADED, { system: true }, 'system'],
    ['the one they name, though it is not there', NOT_FOUND, LOADED, { user: true }, 'user'],
  ])('means for users %s', async (_, user, system, options, scope) => {
    const { emitted } = await run(machineWith(user, system), 'status', options)
    expect(emitted).toMatchObject([{ scope }])
  })

  test('means for root the machine’s', async () => {
    const { emitted } = await run(machineWith(LOADED, NOT_FOUND, 0), 'status')
    expect(emitted).toMatchObject([{ scope: 'system', installed: false }])
  })

  test('takes one scope, and no home', async () => {
    const machine = machineWith(LOADED, LOADED)
    for (const options of [{ user: true, system: true }, { home: '/srv' }])
      await expect(run(machine, 'status', options)).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    expect(machine.ran).toEqual([])
  })

  test('shows in one screen how it is, and lets scripts go by the exit code', async () => {
    const machine = machineWith(NOT_FOUND, LOADED)
    machine.accepting.add('/run/partyline/control.sock')
    machine.answers = [
      ...machine.answers,
      [
        'journalctl',
        {
          stdout: '{"__REALTIME_TIMESTAMP":"1795466758000000","PRIORITY":"4","MESSAGE":"nat: \\u001b[31mno answer"}\n',
        },
      ],
    ]
    const { code, said } = await run(machine, 'status')
    expect(code).toBe(0)
    expect(said).toContain('running: active since 2026-11-23T20:45:58.000Z')
    expect(said).toContain('system service of systemd, as partyline, process 80, started again 1 time\n')
    expect(said).toContain('accepts apps; port 47800')
    expect(said).toMatch(/app +\/run\/partyline\/partyline.sock +does not accept/)
    expect(said).toMatch(/control +\/run\/partyline\/control.sock +accepts/)
    expect(said).toMatch(/warn nat: .*no answer/)
    expect(said).not.toContain('\u001b')
    expect((await run(machineWith(NOT_FOUND, NOT_FOUND), 'status')).code).toBe(4)
    expect((await run(machineWith(LOADED.replace('=active', '=failed'), NOT_FOUND), 'status')).code).toBe(3)
  })

  test('never connects to sockets of a service that is stopped, which would start it', async () => {
    const machine = machineWith(NOT_FOUND, LOADED.replace('=active', '=inactive'))
    machine.accepts = async () => expect.unreachable()
    const { emitted } = await run(machine, 'status')
    expect(emitted).toMatchObject([{ running: false, sockets: [{ accepts: false }, { accepts: false }], daemon: null }])
  })

  test('logs takes a number of lines that makes sense', async () => {
    const machine = machineWith(LOADED, NOT_FOUND)
    for (const lines of ['0', '1.5', 'many', '10001'])
      await expect(run(machine, 'logs', { lines })).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await expect(run(machine, 'logs', { json: true, follow: true })).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
    await run(machine, 'logs', { lines: '7', follow: true })
    expect(machine.ran.at(-1)).toBe('journalctl --user --user-unit=partyline.service --no-pager --lines=7 --follow')
  })

  test('says whom to let in, and how long a user’s service lasts', async () => {
    expect((await run(machineWith(NOT_FOUND, NOT_FOUND), 'install')).said).toContain('loginctl enable-linger')
    expect((await run(machineWith(NOT_FOUND, NOT_FOUND), 'install', { user: true })).emitted).toEqual([
      { manager: 'systemd', scope: 'user' },
    ])
  })
})
