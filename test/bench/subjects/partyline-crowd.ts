/** Many hosts in one process that open a session each to one daemon: what a session costs the daemon. */
import type { PeerId } from '../../../daemon/types.ts'
import { BareHost, openDatagramPort } from '../bare-session.ts'
import type { Transport } from '../transport.ts'

export const partylineCrowd: Transport = {
  serve: () => Promise.reject(new Error('a daemon serves')),
  prepare: async ({ host, port, detail }) => {
    const handlers = { onMessage: () => {}, onStream: () => {} }
    const datagrams = await openDatagramPort()
    return async () => {
      const one = await BareHost.create(handlers, datagrams)
      const session = await one.open(detail as PeerId, { address: host, port })
      return {
        pipe: () => Promise.reject(new Error('a crowd has no streams')),
        trip: async () => {
          await session.ping()
        },
        close: () => session.close(),
      }
    }
  },
}
