import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { PartylineError } from '../daemon/errors.ts'

/**
 * Listens on a Unix socket (or Windows pipe) with these permissions. A socket file that nobody answers on is what a killed daemon left, and is
 * replaced; one that somebody answers on is `local.already-running`.
 */
export async function listenOn(server: Server, path: string, mode: number): Promise<void> {
  const isPipe = process.platform === 'win32'
  if (!isPipe) {
    if (await answers(path)) throw new PartylineError('local.already-running', `a daemon answers on ${path}`)
    await rm(path, { force: true })
  }
  // Nobody else may get in between the file's making and its mode's setting.
  const umask = isPipe ? 0 : process.umask(0o177)
  try {
    server.listen({ path })
    await once(server, 'listening')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new PartylineError(
      code === 'EADDRINUSE' ? 'local.already-running' : 'local.permission',
      `${path}: ${message}`,
      { cause: error },
    )
  } finally {
    if (!isPipe) process.umask(umask)
  }
  if (!isPipe) await chmod(path, mode)
}

/** True when somebody accepts connections there. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
