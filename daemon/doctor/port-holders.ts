import { readdir, readFile, readlink } from 'node:fs/promises'

/** A program that holds a port. */
export interface PortHolder {
  readonly transport: 'tcp' | 'udp'
  /** Undefined where the system does not tell: the program is somebody else's. */
  readonly pid: number | undefined
  /** Empty where the system does not tell. */
  readonly name: string
}

/** `TCP_LISTEN` of the kernel's `tcp_states.h`. */
const LISTENING = '0A'
/** Most processes and open files that are looked at. */
const MAX_PROCESSES = 4096
const MAX_FILES = 65_536
const TABLES = [
  ['tcp', 'tcp'],
  ['tcp6', 'tcp'],
  ['udp', 'udp'],
  ['udp6', 'udp'],
] as const

/** Who holds a TCP or UDP port on Linux, each program once, this one included; programs of other users show to root only. */
export async function linuxPortHolders(port: number, proc = '/proc'): Promise<readonly PortHolder[]> {
  const tables = await Promise.all(
    TABLES.map(async ([file, transport]) => {
      const text = await readFile(`${proc}/net/${file}`, 'utf8').catch(() => '')
      return socketsAt(text, port, transport).map((inode) => [inode, transport] as const)
    }),
  )
  const wanted = new Map(tables.flat())
  if (wanted.size === 0) return []
  const found = new Map<string, PortHolder>()
  for (const pid of await processes(proc)) {
    for (const inode of await socketsOf(pid, proc)) {
      const transport = wanted.get(inode)
      if (!transport) continue
      const name = (await readFile(`${proc}/${pid}/comm`, 'utf8').catch(() => '')).trim()
      found.set(`${transport} ${pid}`, { transport, pid, name })
      wanted.delete(inode)
    }
    if (wanted.size === 0) break
  }
  for (const transport of wanted.values()) found.set(transport, { transport, pid: undefined, name: '' })
  return [...found.values()]
}

/** Inodes of the sockets at a port, from `/proc/net/tcp` and the like: those that listen, or have no other end. */
export function socketsAt(text: string, port: number, transport: 'tcp' | 'udp'): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return text.split('\n').flatMap((line) => {
    const [, local = '', remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/)
    if (!local.endsWith(suffix) || !/^[1-9]\d*$/.test(inode)) return []
    const isOpen = transport === 'tcp' ? state === LISTENING : /^0+:0000$/.test(remote)
    return isOpen ? [inode] : []
  })
}

async function processes(proc: string): Promise<readonly number[]> {
  const names = await readdir(proc).catch(() => [])
  return names
    .filter((name) => /^\d+$/.test(name))
    .slice(0, MAX_PROCESSES)
    .map(Number)
}

async function socketsOf(pid: number, proc: string): Promise<readonly string[]> {
  const files = await readdir(`${proc}/${pid}/fd`).catch(() => [])
  const targets = await Promise.all(
    files.slice(0, MAX_FILES).map((file) => readlink(`${proc}/${pid}/fd/${file}`).catch(() => '')),
  )
  return targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [])
}
