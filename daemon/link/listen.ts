import { once } from 'node:events'
import type { Server } from 'node:net'
import { PartylineError } from '../errors.ts'

/** Listens on IPv6 and IPv4; picks another port if this one is taken, unless it is insisted on. Throws `local.port-taken`. */
export async function listenOn(server: Server, port: number, insist: boolean): Promise<void> {
  for (const wish of insist ? [port] : [port, 0]) {
    for (const host of ['::', '0.0.0.0']) {
      try {
        server.listen({ port: wish, host })
        await once(server, 'listening')
        return
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        // EAFNOSUPPORT, EADDRNOTAVAIL: no IPv6 here; IPv4 alone will do.
        if (code === 'EADDRINUSE' || code === 'EACCES') break
        if (host === '0.0.0.0') throw error
      }
    }
  }
  throw new PartylineError('local.port-taken', `port ${port} is in use or not permitted`)
}

/** The port a server listens on, 0 while it does not. */
export function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}
