import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { access, readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import type { Clock } from '../clock.ts'
import type { NetworkInterface } from '../network/network.ts'
import { wayOut } from '../policy/way-out.ts'
import type { HostPort, Milliseconds } from '../types.ts'
import type { Firewall, MulticastFinding, TcpAnswer } from './findings.ts'
import { type Drop, droppedPackets, type StrangerPacket } from './packet-filter.ts'
import { linuxPortHolders, type PortHolder } from './port-holders.ts'

/** mDNS (RFC 6762 section 3): what the self-test tries is what discovery needs. */
export const MDNS_PORT = 5353
const MDNS_GROUP = { 4: '224.0.0.251', 6: 'ff02::fb' } as const
/** How long a packet to oneself may take: it never leaves the machine, but the machine may be busy. */
const MULTICAST_PATIENCE: Milliseconds = 1500
const NFT_PATIENCE: Milliseconds = 1500
const MAX_LISTING = 16 * 1024 * 1024

/** What the doctor tries out itself. Each ends within its patience and never rejects. */
export interface Probes {
  /** A name is looked up, which counts to the patience. */
  tcp(target: HostPort, patience: Milliseconds): Promise<TcpAnswer>
  /** Whether this host hears its own multicast on an interface, for each family that the interface has. */
  multicast(on: NetworkInterface): Promise<readonly MulticastFinding[]>
  firewall(): Promise<Firewall | undefined>
  /** Which of these packets nftables drops; undefined where only root may know, or there is none. */
  drops(packets: readonly StrangerPacket[]): Promise<readonly Drop[] | undefined>
  /** Who holds a port; undefined where the system does not tell. */
  holders(port: number): Promise<readonly PortHolder[] | undefined>
  /** The address that packets to the internet leave from; undefined where no route leads there. Nothing is sent. */
  wayOut(family: 4 | 6): Promise<string | undefined>
}

interface ProbesOptions {
  readonly clock: Clock
  readonly platform: NodeJS.Platform
  /** Where firewalls leave what everybody may read. */
  readonly files?: { readonly ufw: string; readonly firewalld: string }
}

const FIREWALL_FILES = { ufw: '/etc/ufw/ufw.conf', firewalld: '/sys/fs/cgroup/system.slice/firewalld.service' }

/** The probes of a real machine. */
export function createProbes({ clock, platform, files = FIREWALL_FILES }: ProbesOptions): Probes {
  return {
    tcp: (target, patience) => probeTcp(target, patience, clock),
    multicast: (on) => probeMulticast(on, platform, clock),
    firewall: async () => {
      if (platform !== 'linux') return undefined
      if (/^ENABLED=yes$/m.test(await readFile(files.ufw, 'utf8').catch(() => ''))) return 'ufw'
      return access(files.firewalld).then(
        () => 'firewalld',
        () => undefined,
      )
    },
    drops: async (packets) => {
      if (platform !== 'linux' || process.getuid?.() !== 0) return undefined
      return droppedPackets(await listRules(), packets)
    },
    holders: async (port) => (platform === 'linux' ? linuxPortHolders(port) : undefined),
    wayOut,
  }
}

/** Root's path may lack where distributions keep it. */
async function listRules(): Promise<unknown> {
  const { stdout } = await promisify(execFile)('nft', ['-j', 'list', 'ruleset'], {
    env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
    timeout: NFT_PATIENCE,
    maxBuffer: MAX_LISTING,
  })
  return JSON.parse(stdout)
}

function probeTcp(target: HostPort, patience: Milliseconds, clock: Clock): Promise<TcpAnswer> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.address, port: target.port })
    const settle = (answer: TcpAnswer): void => {
      timer.cancel()
      socket.destroy()
      resolve(answer)
    }
    const timer = afterPatience(clock, patience, () => settle('timeout'))
    socket.once('connect', () => settle('open'))
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED' || code === 'ECONNRESET') return settle('refused')
      settle(code === 'ETIMEDOUT' ? 'timeout' : 'unreachable')
    })
  })
}

function probeMulticast(on: NetworkInterface, platform: NodeJS.Platform, clock: Clock) {
  const zone = platform === 'win32' ? on.index : on.name
  const [ipv4] = on.addresses.filter(({ family }) => family === 4)
  const hasLinkLocal = on.addresses.some(({ family, scope }) => family === 6 && scope === 'link-local')
  const trials: Trial[] = []
  if (ipv4) trials.push({ family: 4, group: MDNS_GROUP[4], from: ipv4.address })
  if (hasLinkLocal) trials.push({ family: 6, group: `${MDNS_GROUP[6]}%${zone}`, from: `::%${zone}` })
  return Promise.all(
    trials.map(async (trial): Promise<MulticastFinding> => {
      const { family } = trial
      try {
        return { interface: on.name, family, heard: await hearsItself(trial, platform, clock), problem: '' }
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        return { interface: on.name, family, heard: false, problem: code ?? message }
      }
    }),
  )
}

interface Trial {
  readonly family: 4 | 6
  readonly group: string
  /** The interface, as memberships and senders name it. */
  readonly from: string
}

/**
 * Sends a question that nobody can answer to the group of mDNS, with a time to live of 0: it comes back to this machine and goes no
 * further (RFC 1112 section 6.1). Throws what the system says against it.
 */
async function hearsItself({ family, group, from }: Trial, platform: NodeJS.Platform, clock: Clock): Promise<boolean> {
  const question = unanswerable()
  const options = { type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6 } as const
  // Bound to the group, it takes away no unicast answer from an mDNS responder; Windows does not permit that.
  const receiver = await bound(options, platform === 'win32' ? (family === 4 ? '0.0.0.0' : '::') : group)
  const sender = createSocket(options)
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const timer = afterPatience(clock, MULTICAST_PATIENCE, () => resolve(false))
  try {
    for (const socket of [receiver, sender]) socket.on('error', reject)
    receiver.on('message', (message) => {
      if (message.equals(question)) resolve(true)
    })
    receiver.addMembership(plainGroup(group), from)
    // Windows has it at the receiver, the others at the sender.
    receiver.setMulticastLoopback(true)
    sender.bind(0)
    await Promise.race([once(sender, 'listening'), promise])
    sender.setMulticastInterface(from)
    sender.setMulticastTTL(0)
    sender.setMulticastLoopback(true)
    sender.send(question, receiver.address().port, group, (error) => error && reject(error))
    return await promise
  } finally {
    timer.cancel()
    for (const socket of [receiver, sender]) socket.close()
  }
}

const plainGroup = (group: string): string => group.split('%')[0] ?? group

/** A socket that shares the port of mDNS, or has one of its own where somebody does not share it. */
async function bound(options: { type: 'udp4' | 'udp6'; ipv6Only: boolean }, address: string): Promise<Socket> {
  for (const port of [MDNS_PORT, 0]) {
    const socket = createSocket({ ...options, reuseAddr: true })
    try {
      socket.bind({ port, address })
      await once(socket, 'listening')
      return socket
    } catch (error) {
      socket.close()
      if (port === 0) throw error
    }
  }
  throw new Error('no port is free')
}

/** An mDNS question (RFC 6762 section 18) for a name that exists nowhere. */
function unanswerable(): Buffer {
  const label = (text: string): number[] => [text.length, ...Buffer.from(text, 'ascii')]
  const header = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
  const name = [...label(randomBytes(16).toString('hex')), ...label('local'), 0]
  const txtInternet = [0, 16, 0, 1]
  return Buffer.from([...header, ...name, ...txtInternet])
}

/** When time is up on a machine that was busy, the answer may be there and unread: what has arrived counts first. */
function afterPatience(clock: Clock, patience: Milliseconds, task: () => void) {
  return clock.after(patience, () => setImmediate(task))
}
