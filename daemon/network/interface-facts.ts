import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { InterfaceFacts } from './interface-kind.ts'

/**
 * What the system knows of its interfaces. Linux has it in files (Documentation/ABI/testing/sysfs-class-net), and so
 * takes milliseconds for a hundred interfaces; elsewhere tools are asked, which takes up to seconds, in a thread of
 * their own. Rejects when the system does not let us.
 */
export function readInterfaceFacts(
  platform: NodeJS.Platform = process.platform,
  folder = '/sys/class/net',
): Promise<readonly InterfaceFacts[]> {
  return platform === 'linux' ? readFiles(folder) : askTools()
}

/** Devices made by software that yet carry the host's own traffic over a cable. */
const OVER_CABLE = ['bond', 'vlan']

async function readFiles(folder: string): Promise<readonly InterfaceFacts[]> {
  const facts: InterfaceFacts[] = []
  // One after the other: the threads that read files have other work too.
  for (const iface of await readdir(folder)) {
    // Each device is a link to where it belongs; what is none (`bonding_masters`) is no device, or is gone again.
    const device = await readlink(join(folder, iface)).catch(() => undefined)
    if (device !== undefined) facts.push(await readDevice(join(folder, iface), iface, device))
  }
  return facts
}

async function readDevice(folder: string, iface: string, device: string): Promise<InterfaceFacts> {
  const read = (file: string): Promise<string> => readFile(join(folder, file), 'utf8').catch(() => '')
  const [uevent, speed, mtu] = await Promise.all(['uevent', 'speed', 'mtu'].map(read))
  const kind = /^DEVTYPE=(\S+)/m.exec(uevent ?? '')?.[1]
  const overCable = kind !== undefined && OVER_CABLE.includes(kind)
  const virtual = device.includes('/virtual/') && !overCable
  const wired = overCable || (kind === undefined && !virtual)
  return {
    iface,
    type: kind === 'wlan' ? 'wireless' : wired ? 'wired' : 'unknown',
    virtual,
    speed: positive(speed),
    mtu: positive(mtu),
  }
}

/** The speed of what has none, or is down, is -1 or cannot be read. */
function positive(text: string | undefined): number | null {
  const number = Number(text)
  return number > 0 ? number : null
}

function askTools(): Promise<readonly InterfaceFacts[]> {
  const file = import.meta.url.endsWith('.ts')
    ? new URL('./facts-worker.ts', import.meta.url)
    : new URL('./facts-worker.js', import.meta.url)
  const worker = new Worker(file)
  worker.unref()
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('the thread that asks the tools ended')))
  })
}
