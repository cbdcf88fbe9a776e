import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Clock, Timer } from '../../clock.ts'
import { PartylineError } from '../../errors.ts'
import { plainAddress } from '../../network/addresses.ts'
import type { Milliseconds } from '../../types.ts'
import type { Gateway } from './protocol.ts'

/** A socket that hears one router only. */
interface GatewaySocket {
  send(packet: Buffer): void
  close(): void
}

/** Opens a socket from our address towards the router to a port of it. `failed`: nothing can be sent, or nobody listens there. */
export type OpenGatewaySocket = (
  gateway: Gateway,
  port: number,
  on: { readonly packet: (packet: Buffer) => void; readonly failed: (code: string) => void },
) => GatewaySocket

/** From the machine's own sockets; bound to our address, since routers map for where they are asked from. */
export const systemGatewaySocket: OpenGatewaySocket = (gateway, port, { packet, failed }) => {
  const socket = createSocket(isIPv6(gateway.own) ? 'udp6' : 'udp4')
  let isClosed = false
  const close = (): void => {
    if (isClosed) return
    isClosed = true
    socket.close()
  }
  socket.on('error', (error: NodeJS.ErrnoException) => {
    close()
    failed(error.code ?? error.message)
  })
  socket.on('message', (bytes, { address }) => {
    if (plainAddress(address) === plainAddress(gateway.address)) packet(bytes)
  })
  socket.bind(0, gateway.own)
  return {
    send: (bytes) => {
      if (!isClosed) socket.send(bytes, port, gateway.address, (error) => error && !isClosed && failed(String(error)))
    },
    close,
  }
}

interface Question<T> {
  readonly clock: Clock
  readonly open: OpenGatewaySocket
  readonly gateway: Gateway
  readonly port: number
  readonly packet: Buffer
  /** Pauses after each repetition; after the last one nobody waits any more. */
  readonly pauses: readonly Milliseconds[]
  /** The answer that a packet is; undefined for one that is none. What it throws is how the question ends. */
  readonly read: (packet: Buffer) => T | undefined
  readonly signal: AbortSignal
}

/** Asks a router, again until it answers. Rejects with `network.no-mapping`. */
export function askGateway<T>({ clock, open, gateway, port, packet, pauses, read, signal }: Question<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  let timer: Timer | undefined
  let asked = 0
  const end = (settle: () => void): void => {
    timer?.cancel()
    signal.removeEventListener('abort', abort)
    socket.close()
    settle()
  }
  const fail = (why: string): void => end(() => reject(new PartylineError('network.no-mapping', why)))
  const abort = (): void => fail('given up')
  const socket = open(gateway, port, {
    packet: (bytes) => {
      try {
        const answer = read(bytes)
        if (answer !== undefined) end(() => resolve(answer))
      } catch (error) {
        end(() => reject(error))
      }
    },
    failed: (code) => fail(`the router cannot be asked: ${code}`),
  })
  const ask = (): void => {
    const pause = pauses[asked++]
    if (pause === undefined) return fail('the router does not answer')
    socket.send(packet)
    timer = clock.after(pause, ask)
  }
  signal.addEventListener('abort', abort)
  if (signal.aborted) abort()
  else ask()
  return promise
}
