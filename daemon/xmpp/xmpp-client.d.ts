/** What is used of @xmpp/client 0.14, which has no types of its own. */
declare module '@xmpp/client' {
  import type { EventEmitter } from 'node:events'

  /** What the package wants of a socket: the events `connect`, `close` and `error`; what comes in goes to the parser. */
  export interface ClientSocket extends EventEmitter {
    readonly secure: boolean
    connect(): void
    write(text: string, done: (error?: Error | null) => void): void
    end(): void
  }

  /** A way to connect. Emits of a parser: `start` with the stream's header, `element` with each child of the stream. */
  export interface Transport {
    new (...args: never[]): object
    prototype: {
      Socket: new () => ClientSocket
      Parser: new () => EventEmitter
      socketParameters(service: string): object | undefined
    }
  }

  type Authenticate = (
    credentials: { readonly username: string; readonly password: string },
    mechanism: string,
  ) => Promise<void>

  /** Emits `online` once a resource is bound, and `error`. */
  export interface Client extends EventEmitter {
    transports: Transport[]
    readonly options: { domain: string }
    readonly jid: { toString(): string } | null
    readonly reconnect: { stop(): void }
    /** Those of the package `saslmechanisms`, the best first. */
    readonly saslFactory: { readonly _mechs: { readonly name: string; readonly mech: unknown }[] }
    readonly iqCaller: { readonly handlers: ReadonlyMap<string, { reject(reason: Error): void }> }
    connect(service: string): Promise<void>
    open(options: { readonly domain: string }): Promise<unknown>
  }

  export function client(options: {
    readonly service: string
    readonly domain: string
    readonly timeout: number
    readonly resource?: string
    readonly credentials: (authenticate: Authenticate, mechanisms: readonly string[]) => Promise<void>
  }): Client
}
