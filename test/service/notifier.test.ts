import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ServiceLife } from '../../daemon/service/life.ts'
import { Notifier, systemdNotify } from '../../daemon/service/notifier.ts'
import { VirtualClock } from '../virtual-clock.ts'

describe('the notifier', () => {
  test('sends one notification at a time, in order', async () => {
    const clock = new VirtualClock()
    const life = new ServiceLife(undefined, clock.now())
    const sent: string[] = []
    let open = 0
    const send = async (assignments: readonly string[]): Promise<void> => {
      expect(++open).toBe(1)
      await Promise.resolve()
      sent.push(assignments[0] ?? '')
      open--
    }
    const notifier = new Notifier({ life, clock, send, failed: () => expect.unreachable() })
    life.ready('x')
    const first = notifier.flush()
    life.reloading(1n)
    life.reloaded('x')
    await Promise.all([first, notifier.flush()])
    expect(sent).toEqual(['READY=1', 'RELOADING=1', 'READY=1'])
  })

  test('feeds the watchdog by a timer, until it is closed', async () => {
    const clock = new VirtualClock()
    const life = new ServiceLife(3000, clock.now())
    let fed = 0
    const send = async (): Promise<void> => void fed++
    const notifier = new Notifier({ life, clock, send, failed: () => expect.unreachable() })
    for (let second = 0; second < 10; second++) {
      clock.advance(1000)
      await notifier.flush()
    }
    expect(fed).toBe(10)
    notifier.close()
    clock.advance(10_000)
    await notifier.flush()
    expect(fed).toBe(10)
  })

  test('says once that it fails, and again after it worked', async () => {
    const clock = new VirtualClock()
    const life = new ServiceLife(undefined, clock.now())
    const failures: string[] = []
    let broken = true
    const send = async (): Promise<void> => {
      if (broken) throw new Error('no such program')
    }
    const notifier = new Notifier({ life, clock, send, failed: (reason) => failures.push(reason) })
    life.ready('x')
    await notifier.flush()
    life.reloaded('x')
    await notifier.flush()
    expect(failures).toEqual(['no such program'])
    broken = false
    life.reloaded('x')
    await notifier.flush()
    broken = true
    life.stopping()
    await notifier.flush()
    expect(failures).toHaveLength(2)
  })
})

describe.skipIf(process.platform === 'win32')('systemd-notify', () => {
  test('gets the words and the socket, and nothing else of the environment', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'partyline-notify-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    await writeFile(
      join(folder, 'systemd-notify'),
      `#!/bin/sh\n{ echo "$NOTIFY_SOCKET"; echo "$SECRET"; printf '%s\\n' "$@"; } >"${folder}/out"\n`,
    )
    await chmod(join(folder, 'systemd-notify'), 0o755)
    const send = systemdNotify('/run/notify', { PATH: `${folder}:${process.env.PATH}`, SECRET: 'hidden' })
    await send(['READY=1', 'STATUS=a b'])
    expect(await readFile(join(folder, 'out'), 'utf8')).toBe('/run/notify\n\nREADY=1\nSTATUS=a b\n')
    await writeFile(join(folder, 'systemd-notify'), '#!/bin/sh\nexit 3\n')
    await expect(send(['READY=1'])).rejects.toThrow('ended with 3')
    await rm(join(folder, 'systemd-notify'))
    await expect(systemdNotify('/run/notify', { PATH: folder })(['READY=1'])).rejects.toThrow('ENOENT')
  })
})
