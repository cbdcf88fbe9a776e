import { createSocket } from 'node:dgram'

/** Addresses that nobody has (RFC 5737, RFC 3849): the route to them is the one to the internet. */
const NOBODY = { 4: '192.0.2.1', 6: '2001:db8::1' } as const
const DISCARD = 9

/** The address of ours that packets to the internet leave from; undefined where no route leads there. Nothing is sent. */
export function wayOut(family: 4 | 6): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(`udp${family}`)
    const end = (address?: string): void => {
      socket.close()
      resolve(address)
    }
    socket.once('error', () => end())
    // A callback would be called with the error in the place of the event.
    socket.once('connect', () => end(socket.address().address))
    socket.connect(DISCARD, NOBODY[family])
  })
}
