/** What is used of node-xmpp-server 2.2.7, which has no types of its own. */
declare module 'node-xmpp-server/lib/C2S/TCP/Server.js' {
  import type { EventEmitter } from 'node:events'

  /** An element of ltx 2. */
  export interface LegacyElement {
    readonly name: string
    readonly attrs: Record<string, string | undefined>
    readonly children: readonly (LegacyElement | string)[]
    getNS(): string | undefined
    getText(): string
    getChild(name: string, xmlns?: string): LegacyElement | undefined
    is(name: string, xmlns?: string): boolean
  }

  /** What is called of the socket that a session is given. */
  export interface LegacySocket extends EventEmitter {
    readonly writable: boolean
    write(text: string): boolean
    end(): void
    session?: Session
  }

  interface Connection extends EventEmitter {
    readonly streamAttrs: Record<string, string>
    /** Whether STARTTLS is followed. */
    allowTLS: boolean
    send(stanza: string): void
    /** Ends the stream with a stream error. */
    error(condition: string, text: string): void
  }

  interface Mechanism {
    readonly name: string
    manageAuth(stanza: LegacyElement, session: Session): void
  }

  interface SessionOptions {
    readonly socket: LegacySocket
    readonly server: TCPServer
  }

  export class Session extends EventEmitter {
    constructor(options: SessionOptions)
    readonly server: TCPServer
    readonly connection: Connection
    readonly authenticated: boolean
    readonly serverdomain?: string
    readonly jid?: { toString(): string }
    get generateId(): () => string
    set generateId(generate: () => string)
    send(stanza: string): void
    end(): void
    startStream(): void
    onStanza(stanza: LegacyElement): void
    onAuth(stanza: LegacyElement): void
    onAuthStanza(stanza: LegacyElement): void
  }

  interface ServerOptions {
    readonly autostart: false
    readonly domain: string
    readonly newId: () => string
  }

  export default class TCPServer extends EventEmitter {
    constructor(options: ServerOptions)
    readonly options: ServerOptions
    Session: typeof Session
    clearSaslMechanism(): void
    registerSaslMechanism(mechanism: new () => Mechanism): void
    acceptConnection(socket: LegacySocket): void
  }
}
