import type { PeerView } from '../../ipc/methods.ts'
import { BEACON_PORT } from '../discovery/beacon/beacon.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Milliseconds } from '../types.ts'
import type { Firewall } from './findings.ts'

/** Most names one sentence lists. */
const MAX_LISTED = 5

/** `a`, `a and b`, `a, b and c`, `a, b, c, d, e and 7 more`. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED)
  const rest = names.length - shown.length
  const parts = rest > 0 ? [...shown, `${rest} more`] : shown
  const last = parts.at(-1) ?? ''
  return parts.length > 1 ? `${parts.slice(0, -1).join(', ')} and ${last}` : last
}

/** `1 host`, `3 hosts`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** `just now`, `40 s ago`, `5 min ago`, `3 h ago`, `12 days ago`. */
export function ago(age: Milliseconds): string {
  return age < 2000 ? 'just now' : `${span(age)} ago`
}

/** `40 s`, `5 min`, `3 h`, `12 days`. */
export function span(duration: Milliseconds): string {
  const seconds = Math.floor(duration / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} days`
}

/** What to call somebody in a sentence. */
export function nameOf({ petname, name, id }: Pick<PeerView, 'petname' | 'name' | 'id'>): string {
  return petname || name || shortId(id)
}

/** What stands for a peer in a command to be copied: its id, since a name that others chose may hold what a shell acts on. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

/** The interfaces that lead to others: those that take part and have an address, loopback aside. */
export function lanInterfaces(interfaces: readonly NetworkInterface[]): readonly NetworkInterface[] {
  return interfaces.filter((one) => one.participating && one.kind !== 'loopback' && one.addresses.length > 0)
}

/** How to open a machine's firewall for a daemon's port, for one that is known, or for whatever may be there. */
export function openPort(
  port: number,
  { platform, firewall }: { platform?: NodeJS.Platform; firewall?: Firewall | undefined },
): string {
  const ufw = `\`sudo ufw allow ${port} && sudo ufw allow ${BEACON_PORT}/udp && sudo ufw allow 5353/udp\``
  const added = [`${port}/tcp`, `${port}/udp`, `${BEACON_PORT}/udp`].map((one) => `--add-port=${one}`).join(' ')
  const firewalld = `\`sudo firewall-cmd --permanent --add-service=mdns ${added} && sudo firewall-cmd --reload\``
  const windows = 'set the network to Private and allow Partyline (Node.js) in Windows Defender Firewall'
  const mac =
    'allow Partyline (node) in System Settings under Network > Firewall and Privacy & Security > Local Network'
  if (firewall === 'ufw') return `run ${ufw}`
  if (firewall === 'firewalld') return `run ${firewalld}`
  const linux = `run ${ufw} or ${firewalld}`
  if (platform === 'linux') return linux
  if (platform === 'win32') return windows
  if (platform === 'darwin') return mac
  return `${linux} (Linux), ${windows} (Windows), or ${mac} (macOS)`
}
