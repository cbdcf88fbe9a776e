import { once } from 'node:events'
import { fstatSync } from 'node:fs'
import { chmod, lstat, rm } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { PartylineError } from '../daemon/errors.ts'

/** Connections that wait to be accepted; the system may allow fewer. */
const BACKLOG = 1024

/**
 * Listens on a Unix socket (or Windows pipe) with these permissions. A socket file that nobody answers on is what a killed daemon left, and is
 * replaced; one that somebody answers on is `local.already-running`; anything else in the way is left alone (`local.permission`).
 */
export async function listenOn(server: Server, path: string, mode: number): Promise<void> {
  const isPipe = process.platform === 'win32'
  if (!isPipe) await clearStale(path)
  // Nobody else may get in between the file's making and its mode's setting. The file is made before `listen` returns.
  const umask = isPipe ? 0 : process.umask(0o177)
  try {
    server.listen({ path, backlog: BACKLOG })
  } finally {
    if (!isPipe) process.umask(umask)
  }
  try {
    await once(server, 'listening')
    if (!isPipe) await chmod(path, mode)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new PartylineError(
      code === 'EADDRINUSE' ? 'local.already-running' : 'local.permission',
      `${path}: ${message}`,
      { cause: error },
    )
  }
}

/** Listens on a socket that a service manager opened, bound, and keeps: nothing is removed or made, and its file stays when the daemon ends. */
export async function listenOnInherited(server: Server, descriptor: number): Promise<void> {
  try {
    if (!fstatSync(descriptor).isSocket()) throw new Error('it is no socket')
    server.listen({ fd: descriptor, backlog: BACKLOG })
    await once(server, 'listening')
  } catch (error) {
    const { message } = error as Error
    throw new PartylineError('local.bad-activation', `descriptor ${descriptor}: ${message}`, { cause: error })
  }
}

/** Removes the socket that a killed daemon left. */
async function clearStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (!found) return
  if (!found.isSocket()) throw new PartylineError('local.permission', `${path} is in the way and is no socket`)
  const refusal = await dial(path)
  if (refusal === undefined) throw new PartylineError('local.already-running', `a daemon answers on ${path}`)
  if (refusal.code === 'ENOENT') return
  // Only a refused connection proves that nobody is there: another error may be a daemon that is busy, or somebody else's.
  if (refusal.code !== 'ECONNREFUSED')
    throw new PartylineError(
      refusal.code === 'EAGAIN' ? 'local.already-running' : 'local.permission',
      `${path}: ${refusal.message}`,
      { cause: refusal },
    )
  await rm(path, { force: true })
}

/** Why nobody accepts a connection there; undefined when somebody does. */
function dial(path: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', resolve)
  })
}
