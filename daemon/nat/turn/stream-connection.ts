import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock, Timer } from '../../clock.ts'
import { toPartylineError } from '../../errors.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { StreamFramer } from './stream-framer.ts'

const PATIENCE: Milliseconds = 5000
/** What may wait for a slow connection: packets of peers are dropped beyond that, as a slow router would; requests a while later. */
const MAX_WAITING = 128 * 1024
const MAX_WAITING_REQUESTS = 256 * 1024
/** Tells the system to look whether the other end is still there. */
const KEEPALIVE: Milliseconds = 30_000

/** How certificates of servers are checked. */
export interface TlsChecks {
  /** Certificates (PEM) that are trusted instead of the system's. */
  readonly ca?: string
  /** False: any certificate will do. */
  readonly verify?: boolean
}

export interface StreamTarget extends HostPort {
  readonly transport: 'tcp' | 'tls'
  /** The server's name, for its certificate; or its address, where it has none. */
  readonly name: string
}

interface StreamEvents {
  opened(): void
  /** A STUN message or ChannelData. */
  message(packet: Buffer): void
  /** It is over, for this reason; told once, and not after `close`. */
  closed(reason: string): void
}

/** A connection to a server over TCP or TLS. */
export interface Stream {
  /** False when it is dropped. */
  send(packet: Buffer, isRequest: boolean): boolean
  /** Ends it, once what was sent is on its way. Safe to call twice. */
  close(): void
}

export type OpenStream = (target: StreamTarget, events: StreamEvents) => Stream

/** Opens connections with the machine's own sockets. */
export function streamOpener(clock: Clock, checks: TlsChecks): OpenStream {
  return (target, events) => new StreamConnection(target, events, clock, checks)
}

class StreamConnection implements Stream {
  readonly #socket: Socket
  readonly #events: StreamEvents
  readonly #timer: Timer
  #isOpen = false
  #isOver = false

  constructor(target: StreamTarget, events: StreamEvents, clock: Clock, checks: TlsChecks) {
    this.#events = events
    const socket = open(target, checks)
    this.#socket = socket
    const framer = new StreamFramer((packet) => {
      if (!this.#isOver) events.message(packet)
    })
    socket.setNoDelay(true).setKeepAlive(true, KEEPALIVE)
    socket.once(target.transport === 'tls' ? 'secureConnect' : 'connect', () => this.#opened())
    socket.on('data', (chunk: Buffer) => {
      try {
        framer.push(chunk)
      } catch (error) {
        this.#end(toPartylineError(error).message)
      }
    })
    socket.once('error', (error: NodeJS.ErrnoException) => this.#end(explain(error, target)))
    socket.once('close', () => this.#end('the server closed the connection'))
    this.#timer = clock.after(PATIENCE, () => {
      if (!this.#isOpen) this.#end(`the server does not answer over ${target.transport.toUpperCase()}`)
    })
  }

  send(packet: Buffer, isRequest: boolean): boolean {
    if (!this.#isOpen || this.#isOver) return false
    if (this.#socket.writableLength > (isRequest ? MAX_WAITING_REQUESTS : MAX_WAITING)) return false
    this.#socket.write(packet)
    return true
  }

  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer.cancel()
    // What is written goes out still; a connection that never came about would keep the process for minutes.
    if (this.#isOpen) this.#socket.destroySoon()
    else this.#socket.destroy()
  }

  #opened(): void {
    if (this.#isOver) return
    this.#isOpen = true
    this.#timer.cancel()
    this.#events.opened()
  }

  #end(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer.cancel()
    this.#socket.destroy()
    this.#events.closed(reason)
  }
}

function open({ transport, address, port, name }: StreamTarget, { ca, verify = true }: TlsChecks): Socket {
  if (transport === 'tcp') return connectTcp({ host: address, port })
  return connectTls({
    host: address,
    port,
    // The name is both asked for (SNI, which has no addresses) and checked in the certificate.
    ...(isIP(name) === 0 && { servername: name }),
    ...(ca !== undefined && { ca }),
    rejectUnauthorized: verify,
    minVersion: 'TLSv1.2',
  })
}

/** What an error of a socket means, for people. */
function explain({ code = '', message }: NodeJS.ErrnoException, { transport, name }: StreamTarget): string {
  if (code === 'ECONNREFUSED') return `nothing listens at the server's ${transport.toUpperCase()} port`
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH') return 'there is no way to the server from this network'
  if (code === 'ETIMEDOUT') return 'the connection to the server is dead'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the server's certificate is not for ${name}`
  if (code === 'CERT_HAS_EXPIRED') return "the server's certificate has expired"
  if (/CERT|SELF_SIGNED|ISSUER/.test(code)) return `the server's certificate is not trusted here (${code})`
  return `the connection to the server failed (${code || message})`
}
