/** Memory of the daemon while nothing happens, and of sessions. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BenchDaemon } from './daemon.ts'
import { type HostPair, residentSet } from './hosts.ts'
import type { Report } from './report.ts'

const IDLE = 5000
const ROOT = new URL('../..', import.meta.url)

/** An idle daemon beside a Node process that has loaded what every secure program needs. */
export async function measureIdle(report: Report, { b }: HostPair, scratch: string): Promise<void> {
  const daemon = await BenchDaemon.start(b, join(scratch, 'idle'))
  try {
    await sleep(IDLE)
    report.add('memory idle', 'daemon', 'partyline', 'bytes', residentSet(daemon.pid))
  } finally {
    await daemon.stop()
  }
  report.add('memory idle', 'daemon', 'empty-node', 'bytes', await emptyNode())
}

async function emptyNode(): Promise<number> {
  const script = "require('node:tls'); require('sodium-native'); setTimeout(() => {}, 60_000); console.log('ready')"
  const child = spawn(process.execPath, ['-e', script], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    await once(child.stdout, 'data')
    await sleep(IDLE)
    return residentSet(child.pid ?? 0)
  } finally {
    child.kill('SIGKILL')
  }
}
