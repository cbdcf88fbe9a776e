import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { findPackageJSON } from 'node:module'
import { connect } from 'node:net'
import { homedir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { PartylineError } from '../../daemon/errors.ts'
import { fileError } from '../../daemon/file-error.ts'

/** How long a program of the service manager may take: it waits for a start of up to a minute, and for a stop. */
const PATIENCE = 90_000
/** How long a socket may take to accept. */
const SOCKET_PATIENCE = 2000
const MAX_OUTPUT = 16 * 1024 * 1024

/** How a program ended; `code` is undefined where it does not exist. */
export interface Ended {
  readonly code: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** What a service manager is worked with: programs and files of this machine. Tests have one of their own. */
export interface Machine {
  readonly platform: NodeJS.Platform
  readonly uid: number
  readonly userName: string
  readonly userHome: string
  readonly env: Readonly<Record<string, string | undefined>>
  run(program: string, args: readonly string[]): Promise<Ended>
  /** Runs a program that writes where this process does, until it ends or the signal comes. */
  show(program: string, args: readonly string[], signal: AbortSignal): Promise<void>
  exists(path: string): boolean
  /** A template of `packaging/`. */
  template(path: string): Promise<string>
  /** Writes a file with its folders. Rejects with `local.permission` or `local.file`. */
  write(path: string, text: string | Buffer): Promise<void>
  /** Removes a file or folder, which need not exist. */
  remove(path: string): Promise<void>
  /** Removes a folder that nothing is left in. */
  removeEmpty(folder: string): Promise<void>
  /** Whether somebody accepts connections on this socket; undefined where this user may not try. */
  accepts(path: string): Promise<boolean | undefined>
}

/** The machine that this process runs on. */
export function thisMachine(env: NodeJS.ProcessEnv): Machine {
  return {
    platform: process.platform,
    uid: process.getuid?.() ?? -1,
    userName: userInfo().username,
    userHome: homedir(),
    env,
    run,
    show: async (program, args, signal) => {
      const child = spawn(program, args, { stdio: 'inherit' })
      signal.addEventListener('abort', () => child.kill())
      await Promise.race([once(child, 'close'), once(child, 'error').then(([error]) => Promise.reject(error))])
    },
    exists: existsSync,
    template: (path) => readFile(join(packaging(), path), 'utf8'),
    write: (path, text) =>
      attempt(path, async () => {
        await mkdir(dirname(path), { recursive: true })
        await writeFile(path, text, { mode: 0o644 })
      }),
    remove: (path) => attempt(path, () => rm(path, { recursive: true, force: true })),
    // Somebody else's files in it are a reason to leave it.
    removeEmpty: (folder) => rmdir(folder).catch(() => {}),
    accepts,
  }
}

function packaging(): string {
  const manifest = findPackageJSON(import.meta.url)
  if (!manifest) throw new PartylineError('local.internal', 'package.json is missing')
  return join(dirname(manifest), 'packaging')
}

function run(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) =>
    execFile(program, args, { timeout: PATIENCE, maxBuffer: MAX_OUTPUT }, (error, stdout, stderr) => {
      if (!error) return resolve({ code: 0, stdout, stderr })
      if (error.code === 'ENOENT') return resolve({ code: undefined, stdout, stderr })
      resolve({ code: typeof error.code === 'number' ? error.code : 1, stdout, stderr: stderr || error.message })
    }),
  )
}

async function attempt<T>(path: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    throw fileError(path, error)
  }
}

function accepts(path: string): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const answer = (accepted: boolean | undefined): void => {
      socket.destroy()
      resolve(accepted)
    }
    socket.setTimeout(SOCKET_PATIENCE, () => answer(false))
    socket.once('connect', () => answer(true))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => answer(code === 'EACCES' ? undefined : false))
  })
}
