/**
 * Hosts of one process, each with a key, a UDP port, and all that gets through NAT: `worker.ts COUNT SETTINGS-FOLDER STUN TURN`, with servers
 * as in the settings, separated by commas. Orders come as lines of JSON, and news leaves the same way: signals among it, which whoever runs
 * this carries to the other process.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemClock } from '../../../daemon/clock.ts'
import { SettingsStore } from '../../../daemon/config/store.ts'
import { tlsOptions } from '../../../daemon/link/tls-options.ts'
import { silentLogger } from '../../../daemon/logger.ts'
import { Nat } from '../../../daemon/nat/nat.ts'
import { SystemNetwork } from '../../../daemon/network/system-network.ts'
import { UdpEndpoint } from '../../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../../daemon/refusals.ts'
import type { PeerId } from '../../../daemon/types.ts'
import { newKey } from '../../link/tls-host.ts'
import { disclosureOf } from '../disclosure.ts'
import type { News, Order } from './protocol.ts'

const [count = '1', folder = '', stun = '', turn = ''] = process.argv.slice(2)
const listOf = (text: string): string[] => text.split(',').filter((one) => one !== '')
const tell = (news: News): void => void process.stdout.write(`${JSON.stringify(news)}\n`)

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const settings = SettingsStore.open(join(folder, 'config.json'))
settings.set('nat.stun', listOf(stun))
settings.set('nat.turn', listOf(turn))
// Routers are asked by sockets of their own, for a moment.
settings.set('nat.map', false)
const network = new SystemNetwork({ clock: systemClock, logger: silentLogger, include: [], exclude: [] })
await network.start()

const listeners = new Map<PeerId, (peer: PeerId, content: Uint8Array) => void>()
const hosts = new Map<PeerId, Nat>()
/** Ways to stop looking, by peer. */
const looks = new Map<PeerId, () => void>()

async function startHost(): Promise<void> {
  const { peer: self, certificate } = await newKey()
  const refusals = new Refusals()
  const endpoint = new UdpEndpoint({ clock: systemClock, logger: silentLogger, refusals })
  await endpoint.bind(0)
  endpoint.setInterfaces(network.interfaces())
  const nat = new Nat({
    self,
    instance: randomBytes(8).toString('hex'),
    clock: systemClock,
    logger: silentLogger,
    refusals,
    settings,
    endpoint,
    network,
    tls: tlsOptions(certificate),
    signals: {
      reaches: () => ['hub'],
      send: (to, _, content) => {
        tell({ kind: 'signal', from: self, to, content: Buffer.from(content).toString('base64') })
        return true
      },
      handle: (_, listener) => {
        listeners.set(self, listener)
        return () => listeners.delete(self)
      },
    },
    disclosure: disclosureOf(() => 'all'),
    isWelcome: () => true,
    onTold: () => {},
    onLink: (link) => {
      link.socket.on('error', () => {})
      looks.get(link.peer)?.()
      tell({ kind: 'link', self, peer: link.peer, route: link.path?.route ?? 'none' })
      link.path?.onChange(({ to }) => tell({ kind: 'moved', self, peer: link.peer, route: to }))
    },
  })
  nat.networkChanged(network.interfaces())
  hosts.set(self, nat)
}

for (let i = 0; i < Number(count); i++) await startHost()
tell({ kind: 'ready', peers: [...hosts.keys()] })

/** UDP sockets of this process that the system has, in this network namespace. */
function udpSockets(): number {
  const mine = new Set<string>()
  for (const descriptor of readdirSync('/proc/self/fd')) {
    try {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${descriptor}`)) ?? []
      if (inode) mine.add(inode)
    } catch {
      // Closed since.
    }
  }
  const bound = ['udp', 'udp6'].flatMap((name) => readFileSync(`/proc/self/net/${name}`, 'utf8').split('\n').slice(1))
  return bound.filter((line) => mine.has(line.trim().split(/\s+/)[9] ?? '')).length
}

function report(): void {
  collectGarbage()
  const { rss } = process.memoryUsage()
  const cpu = process.cpuUsage()
  tell({ kind: 'report', rss, cpu: (cpu.user + cpu.system) / 1000, sockets: udpSockets() })
}

function obey(order: Order): void {
  switch (order.kind) {
    case 'look':
      for (const peer of order.peers) {
        const failed = ({ message }: Error): void => tell({ kind: 'failed', peer, reason: message })
        const stop = hosts.get(order.self)?.traversal.look(peer, failed)
        if (stop) looks.set(peer, stop)
      }
      return
    case 'signal':
      listeners.get(order.to)?.(order.from, Buffer.from(order.content, 'base64'))
      return
    case 'report':
      return report()
  }
}

for await (const line of createInterface(process.stdin)) obey(JSON.parse(line) as Order)
await Promise.all([...hosts.values()].map((nat) => nat.close()))
process.exit(0)
