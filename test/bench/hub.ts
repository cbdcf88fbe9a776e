import { join } from 'node:path'
import { BenchDaemon } from './daemon.ts'
import { hostPair, Worker } from './hosts.ts'
import type { Report } from './report.ts'

/** Hosts that log in at one hub. */
const CROWD = 200

/** A daemon that is a hub, and 200 simulated hosts from one address: log-in, everyone's presence to everyone, a message each. */
export async function measureHub(report: Report, scratch: string): Promise<void> {
  await using hosts = await hostPair()
  const hub = await BenchDaemon.start(hosts.a, join(scratch, 'hub'))
  try {
    await hub.cli(['config', 'set', 'hub.max-per-address', String(2 * CROWD)])
    const { port } = JSON.parse(await hub.cli(['hub', 'start', '--json'])) as { port: number }
    report.add('hub, memory before', 'daemon', 'partyline', 'MiB RSS', hub.memory().rss)
    const before = hub.cpu()
    const crowd = new Worker(hosts.b, 'hub-crowd', '', { host: hosts.a.address, port, count: CROWD })
    const { logIn, presence, messages } = await crowd.ready(60_000)
    report.add(`hub, ${CROWD} log in`, 'daemon', 'partyline', 'ms', Number(logIn))
    report.add(`hub, ${CROWD} see each other`, 'daemon', 'partyline', 'ms', Number(presence))
    report.add(`hub, a message of each of ${CROWD}`, 'daemon', 'partyline', 'ms', Number(messages))
    report.add('hub, CPU for all that', 'daemon', 'partyline', 's', hub.cpu() - before)
    report.add(`hub, memory with ${CROWD}`, 'daemon', 'partyline', 'MiB RSS', hub.memory().rss)
    await crowd.stop()
  } finally {
    await hub.stop()
  }
}
