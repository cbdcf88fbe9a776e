import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../ipc/index.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { BenchDaemon } from './daemon.ts'
import type { Report } from './report.ts'

const HOSTS = 21
/** How often a newcomer is started, and stopped or killed. */
const NEWCOMERS = 6
const IDLE_SECONDS = 60
const CONNECTS = 10_000

/** Twenty-one daemons on one LAN: memory and CPU of an idle one, time until a new one is seen, growth over many connects. */
export async function measureCrowd(report: Report, scratch: string): Promise<void> {
  const missing = labMissing()
  if (missing) return console.error(`memory: left out, ${missing}`)
  const lab = await Lab.up('lan', { n: HOSTS + 1 })
  const started: BenchDaemon[] = []
  try {
    for (let i = 1; i <= HOSTS; i++) {
      const host = { address: '', spawn: (command: readonly string[]) => lab.spawn(`h${i}`, [...command]) }
      started.push(await BenchDaemon.start(host, join(scratch, `crowd${i}`)))
    }
    const [first, second] = started
    if (!first || !second) throw new Error('the crowd is too small')
    for (const other of started.slice(1)) await first.sees(other.id)

    const before = first.cpu()
    await sleep(IDLE_SECONDS * 1000)
    report.add('cpu idle, 20 peers', 'daemon', 'partyline', 's/min', first.cpu() - before)
    report.add('memory idle, 20 peers', 'daemon', 'partyline', 'MiB RSS', first.memory().rss)
    report.add('memory idle, 20 peers, Pss', 'daemon', 'partyline', 'MiB', first.memory().pss)
    report.add('memory idle, 20 peers', 'daemon', 'empty node', 'MiB RSS', await emptyNode())

    await measureNewcomers(report, lab, scratch, started)

    await using client = await connect({ home: first.home, app: 'bench' })
    const cycle = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        await client.call('sessions.open', { peer: second.id })
        await client.call('sessions.close', { peer: second.id })
      }
    }
    await cycle(CONNECTS / 10)
    report.add('memory, 1,000 connects', 'daemon', 'partyline', 'MiB RSS', first.memory().rss)
    await cycle(CONNECTS - CONNECTS / 10)
    report.add('memory, 10,000 connects', 'daemon', 'partyline', 'MiB RSS', first.memory().rss)
  } finally {
    await Promise.all(started.map((daemon) => daemon.stop()))
    await lab.down()
  }
}

/** From a newcomer's ready line until all others list it; from its end until none does, stopped and killed in turn. */
async function measureNewcomers(
  report: Report,
  lab: Lab,
  scratch: string,
  others: readonly BenchDaemon[],
): Promise<void> {
  const host = { address: '', spawn: (command: readonly string[]) => lab.spawn(`h${HOSTS + 1}`, [...command]) }
  for (let i = 0; i < NEWCOMERS; i++) {
    const newcomer = await BenchDaemon.start(host, join(scratch, `newcomer${i}`))
    const ready = performance.now()
    const seen = others.map(async (other) => {
      await other.sees(newcomer.id)
      report.add('seen after ready', 'daemon', 'partyline', 'ms', performance.now() - ready)
    })
    await Promise.all(seen)
    const gone = others.map((other) => other.loses(newcomer.id))
    const killed = i % 2 === 1
    await Promise.all(gone.map((watch) => watch.ready))
    const left = performance.now()
    await (killed ? newcomer.kill() : newcomer.stop())
    for (const { done } of gone)
      await done.then((at) =>
        report.add(
          killed ? 'gone after SIGKILL' : 'gone after stop',
          'daemon',
          'partyline',
          'ms',
          Math.max(0, at - left),
        ),
      )
  }
}

/** Resident set of a Node process that has loaded `node:tls` and does nothing, MiB. */
async function emptyNode(): Promise<number> {
  const script = "require('node:tls'); setTimeout(() => console.log(process.memoryUsage().rss / 2 ** 20), 500)"
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => (output += String(chunk)))
  await once(child, 'close')
  return Number(output)
}
