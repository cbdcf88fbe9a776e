import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import { expect, it } from 'vitest'
import { PIN, XmppClient } from './hub-host.ts'

/** The TCP ports that a process listens on, from /proc (Linux). */
function listeningPorts(pid: number): number[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        return []
      }
    }),
  )
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A' && inodes.has(fields[9] ?? ''))
      .map((fields) => Number.parseInt(fields[1]?.split(':')[1] ?? '', 16)),
  )
}

it.skipIf(process.platform !== 'linux')(
  'warns of nothing, listens on its one port, and lets its process end',
  async () => {
    const hub = spawn(
      process.execPath,
      ['--pending-deprecation', '--trace-warnings', join(import.meta.dirname, 'worker.ts')],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, NODE_OPTIONS: '' },
      },
    )
    const complaints = text(hub.stderr)
    const [line] = await once(createInterface(hub.stdout), 'line')
    const { port, domain, certificate } = JSON.parse(String(line))
    const socket = connect({ host: '127.0.0.1', port, ca: certificate, servername: domain })
    await once(socket, 'secureConnect')
    const anna = new XmppClient(socket, domain)
    await anna.logIn('Anna', PIN)
    await anna.appear()
    expect(listeningPorts(hub.pid ?? 0)).toEqual([port])
    const ended = once(hub, 'exit')
    hub.stdin.end()
    await anna.until('<system-shutdown')
    expect((await ended)[0]).toBe(0)
    expect(await complaints).toBe('')
  },
)
