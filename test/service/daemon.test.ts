import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { connect } from '../../ipc/client.ts'
import { MAIN } from '../cli/run-cli.ts'

const ARGUMENTS = ['daemon', '--interface', 'lo', '--name', 'served']
const activator = isThere('systemd-socket-activate') ? undefined : 'systemd-socket-activate is not installed'

async function folderOfTest(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'partyline-svc-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function isThere(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function ready(child: ChildProcess): Promise<void> {
  if (!child.stdout) throw new Error('no output')
  for await (const line of createInterface(child.stdout)) if (line.startsWith('partyline ready ')) return
  throw new Error('it ended before it was ready')
}

function endWithTest(child: ChildProcess): ChildProcess {
  child.stderr?.resume()
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'close')
  })
  return child
}

describe.skipIf(process.platform === 'win32')('a daemon with a service manager', () => {
  test('tells it when it is ready, reloads and stops, and gives signs of life', async () => {
    const folder = await folderOfTest()
    const told = join(folder, 'told')
    await writeFile(join(folder, 'systemd-notify'), `#!/bin/sh\necho "$*" >>"${told}"\n`)
    await chmod(join(folder, 'systemd-notify'), 0o755)
    const home = join(folder, 'home')
    const child = endWithTest(
      spawn(process.execPath, [MAIN, ...ARGUMENTS, '--home', home], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          PATH: `${folder}:${process.env.PATH}`,
          NOTIFY_SOCKET: '/run/nobody/listens',
          WATCHDOG_USEC: '600000',
        },
      }),
    )
    await ready(child)
    const lines = async (): Promise<string[]> =>
      (await readFile(told, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
    await vi.waitFor(
      async () => expect((await lines()).join('\n')).toMatch(/^READY=1 STATUS=accepts apps; port/m),
      20_000,
    )
    await vi.waitFor(async () =>
      expect((await lines()).filter((line) => line === 'WATCHDOG=1').length).toBeGreaterThan(1),
    )

    // Somebody edits the file, and asks for it to be read.
    await writeFile(join(home, 'config.json'), '{"log.level":"debug","chat.keep":7,"port":5001}', { mode: 0o600 })
    child.kill('SIGHUP')
    await vi.waitFor(async () => expect((await lines()).at(-1)).toContain('at the next start: port'), 20_000)
    {
      await using client = await connect({ app: 'test', home, control: true })
      const settings = await client.call('settings.list', {})
      expect(settings.find(({ key }) => key === 'chat.keep')?.value).toBe(7)
    }
    await writeFile(join(home, 'config.json'), '{"chat.keep":', { mode: 0o600 })
    child.kill('SIGHUP')
    await vi.waitFor(async () => expect((await lines()).join()).toContain('not JSON'), 20_000)
    {
      await using client = await connect({ app: 'test', home })
      expect((await client.call('daemon.status', {})).name).toBe('served')
    }
    child.kill('SIGTERM')
    const [code] = await once(child, 'close')
    expect(code).toBe(0)
    const states = (await lines()).map((line) => line.replace(/ .*/, '')).filter((word) => word !== 'WATCHDOG=1')
    expect(states).toEqual(['READY=1', 'RELOADING=1', 'READY=1', 'RELOADING=1', 'READY=1', 'STOPPING=1'])
  })

  test.skipIf(activator)(
    `takes a socket that was opened for it${activator ? ` (skipped: ${activator})` : ''}`,
    async () => {
      const folder = await folderOfTest()
      const path = join(folder, 'partyline.sock')
      const program = [process.execPath, MAIN, ...ARGUMENTS, '--home', join(folder, 'home')]
      const child = endWithTest(
        spawn('systemd-socket-activate', ['--listen', path, '--fdname', 'app', ...program], {
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      )
      await vi.waitFor(async () => expect((await stat(path)).isSocket()).toBe(true), 20_000)
      const { ino } = await stat(path)
      // Connecting is what starts it; the connection waits meanwhile.
      await using client = await connect({ app: 'test', socket: path })
      expect((await client.call('daemon.status', {})).name).toBe('served')
      await expect(stat(join(folder, 'home', 'partyline.sock'))).rejects.toThrow('ENOENT')
      expect((await stat(join(folder, 'home', 'control.sock'))).mode & 0o777).toBe(0o600)
      child.kill('SIGTERM')
      await once(child, 'close')
      // It belongs to whoever opened it, and stays.
      expect((await stat(path)).ino).toBe(ino)
    },
  )
})
