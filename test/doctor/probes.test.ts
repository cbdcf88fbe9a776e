import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../daemon/clock.ts'
import { createProbes } from '../../daemon/doctor/probes.ts'

const probes = createProbes({ clock: systemClock, platform: process.platform })

async function listen(): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  if (typeof address !== 'object' || !address) throw new Error('no port')
  return { server, port: address.port }
}

describe('the probes of the doctor, on loopback', () => {
  test('a port that listens is open, and is left at once', async () => {
    const { server, port } = await listen()
    const accepted = once(server, 'connection')
    expect(await probes.tcp({ address: '127.0.0.1', port }, 2000)).toBe('open')
    const [socket] = await accepted
    await once(socket, 'close')
  })

  test('one that nobody listens at refuses', async () => {
    const { server, port } = await listen()
    server.close()
    await once(server, 'close')
    expect(await probes.tcp({ address: '127.0.0.1', port }, 2000)).toBe('refused')
  })

  test('what cannot be dialled is unreachable', async () => {
    expect(await probes.tcp({ address: 'host.invalid', port: 47800 }, 2000)).toBe('unreachable')
    expect(await probes.tcp({ address: '255.255.255.255', port: 47800 }, 2000)).toBe('unreachable')
  })

  test('an interface that is not there hears nothing, and says why', async () => {
    const addresses = [{ address: '192.0.2.77', family: 4, prefix: 24, scope: 'global' }] as const
    const gone = { name: 'eth77', index: 0, kind: 'cable', participating: true, multicast: true, addresses } as const
    expect(await probes.multicast(gone)).toEqual([
      { interface: 'eth77', family: 4, heard: false, problem: expect.stringMatching(/^E[A-Z]+$/) },
    ])
  })

  test('a firewall is known by what everybody may read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'doctor-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const files = { ufw: join(folder, 'ufw.conf'), firewalld: join(folder, 'firewalld') }
    const on = (platform: NodeJS.Platform) => createProbes({ clock: systemClock, platform, files }).firewall()
    expect(await on('linux')).toBeUndefined()
    await writeFile(files.firewalld, '')
    expect(await on('linux')).toBe('firewalld')
    await writeFile(files.ufw, '# ENABLED=yes\nENABLED=no\n')
    expect(await on('linux')).toBe('firewalld')
    await writeFile(files.ufw, 'ENABLED=yes\n')
    expect(await on('linux')).toBe('ufw')
    expect(await on('darwin')).toBeUndefined()
  })
})
