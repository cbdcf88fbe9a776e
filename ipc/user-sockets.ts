import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Clock } from '../daemon/clock.ts'
import type { Logger } from '../daemon/logger.ts'
import type { Milliseconds } from '../daemon/types.ts'

/** Users that have a socket at a time. */
export const MAX_USERS = 64
/** How long a socket that nobody uses is kept for its user while others want one. */
const KEPT: Milliseconds = 60_000
/** How long a system that could not make one is left alone. */
const RETRY: Milliseconds = 60_000
/** How long setting the permissions of a socket may take. */
const GRANTING: Milliseconds = 5000

/** An open socket of one user. */
export interface UserSocket {
  /** True while nobody is connected to it. */
  isIdle(): boolean
  close(): Promise<void>
}

/** Lets one user connect to a socket, besides the daemon's own. */
export type Grant = (path: string, uid: number) => Promise<void>

interface Options {
  readonly folder: string
  readonly clock: Clock
  readonly logger: Logger
  /** Opens a socket that nobody but the daemon's own user can connect to. */
  readonly open: (path: string, uid: number) => Promise<UserSocket>
  /** `grantBySystemd` unless a test says otherwise. */
  readonly grant?: Grant
}

interface Entry {
  readonly path: string
  readonly socket: UserSocket
  /** When it was last asked for. */
  asked: Milliseconds
}

/**
 * A socket for each user of a machine's daemon. Node does not tell who is at the other end of a socket, but the kernel checks who may connect to
 * one: a connection to a socket whose access list (acl(5)) names one user is of that user. Nothing has to be proven or believed, and
 * what a user asks for another is of no use to them.
 */
export class UserSockets {
  readonly #options: Options
  readonly #entries = new Map<number, Entry>()
  /** One at a time. */
  #making: Promise<unknown> = Promise.resolve()
  #stopped = false
  #retryAt: Milliseconds = 0

  constructor(options: Options) {
    this.#options = options
  }

  /** Makes the folder, and clears what a killed daemon left in it. */
  async start(): Promise<void> {
    const { folder } = this.#options
    await mkdir(folder, { recursive: true })
    // Who may pass through the folder above may pass through this one, and not see who is there.
    await chmod(folder, 0o711)
    for (const name of await readdir(folder))
      if (/^\d+\.sock$/.test(name)) await rm(join(folder, name), { force: true })
  }

  /** The path of the socket that only this user can connect to; undefined where there is no room for it, or this system cannot make one. */
  of(uid: number): Promise<string | undefined> {
    const known = this.#entries.get(uid)
    if (known) {
      known.asked = this.#options.clock.now()
      return Promise.resolve(known.path)
    }
    const made = this.#making.then(() => this.#make(uid))
    this.#making = made.catch(() => {})
    return made
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#making
    await Promise.all(this.#entries.values().map(({ socket }) => socket.close()))
    this.#entries.clear()
  }

  async #make(uid: number): Promise<string | undefined> {
    const { folder, clock, logger, open, grant = grantBySystemd } = this.#options
    const known = this.#entries.get(uid)
    if (known) return known.path
    if (this.#stopped || clock.now() < this.#retryAt || !(await this.#hasRoom())) return undefined
    const path = join(folder, `${uid}.sock`)
    let socket: UserSocket | undefined
    try {
      socket = await open(path, uid)
      await grant(path, uid)
    } catch (error) {
      await socket?.close()
      this.#retryAt = clock.now() + RETRY
      logger.warn('users are not told apart: none can be given a socket', { error: String(error) })
      return undefined
    }
    this.#entries.set(uid, { path, socket, asked: clock.now() })
    return path
  }

  /** Makes room by closing the socket that was asked for longest ago, of those that nobody uses. */
  async #hasRoom(): Promise<boolean> {
    if (this.#entries.size < MAX_USERS) return true
    const before = this.#options.clock.now() - KEPT
    const [oldest] = [...this.#entries]
      .filter(([, { socket, asked }]) => socket.isIdle() && asked <= before)
      .toSorted(([, a], [, b]) => a.asked - b.asked)
    if (!oldest) return false
    const [uid, { socket }] = oldest
    this.#entries.delete(uid)
    await socket.close()
    return true
  }
}

/** Where the users of a shared daemon have their sockets: beside the one for all; undefined where this system gives a socket to no single user. */
export function userSocketFolder(appSocket: string): string | undefined {
  return process.platform === 'linux' ? join(dirname(appSocket), 'users') : undefined
}

/** Sets the access list of a file by tmpfiles.d(5): where there is systemd there is no need for anything else. Rejects with what it said. */
async function grantBySystemd(path: string, uid: number): Promise<void> {
  const quoted = `"${path.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`
  const child = spawn('systemd-tmpfiles', ['--create', '-'], { stdio: ['pipe', 'ignore', 'pipe'], timeout: GRANTING })
  const said = text(child.stderr).catch(String)
  child.stdin.on('error', () => {})
  child.stdin.end(`a ${quoted} - - - - user:${uid}:rw\n`)
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`systemd-tmpfiles: exit code ${code}: ${(await said).trim()}`)
}
