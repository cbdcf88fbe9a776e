/** The parts of `udx-native` that are used here, inner ones included; the package brings no types. */
declare module 'udx-native' {
  export default class Udx {
    /** Where the next datagram goes; what follows it is used for those after it. */
    readonly _buffer: Buffer
    /** Takes the datagram of `length` bytes that was just written there. */
    _consumeMessage(length: number): Buffer
  }
}

declare module 'udx-native/lib/socket.js' {
  import type Udx from 'udx-native'
  export default class UdxSocket {
    readonly udx: Udx
    readonly _handle: Buffer
    readonly closing: boolean
    readonly streams: ReadonlySet<import('udx-native/lib/stream.js').default>
    _port: number
    _host: string | null
    _family: number
    constructor(udx: Udx)
    _init(): void
    /** A datagram was sent, within the call that sent it or later. `status` is 0 or a negative error number. */
    _onsend(id: number, status: number): void
    /** A datagram came; returns where the next one goes. */
    _onmessage(length: number, port: number, host: string, family: number): Buffer
    setSendBufferSize(bytes: number): void
    setRecvBufferSize(bytes: number): void
    close(): Promise<void>
  }
}

declare module 'udx-native/lib/stream.js' {
  import type { EventEmitter } from 'node:events'
  import type Udx from 'udx-native'
  import type UdxSocket from 'udx-native/lib/socket.js'
  /** A `streamx` duplex, not one of Node's. */
  export default class UdxStream extends EventEmitter {
    readonly _handle: Buffer
    readonly id: number
    readonly destroying: boolean
    /** Milliseconds, 0 before the first sample. */
    readonly rtt: number
    /** The largest IP packet it makes, headers included. */
    readonly mtu: number
    /** Bytes sent and not acknowledged. */
    readonly inflight: number
    readonly retransmits: number
    readonly packetsReceived: number
    constructor(udx: Udx, id: number, options: { firewall: () => boolean })
    /** Where the next bytes go. */
    readonly _buffer: Buffer
    /** Takes the `length` bytes that were just written there. */
    _consumeData(length: number): Buffer
    /** Bytes came, in order; returns where the next ones go. */
    _ondata(length: number): Buffer
    /** The other end ended. */
    _onend(length: number): void
    connect(socket: UdxSocket, remoteId: number, port: number, host: string): void
    /** False: wait for `drain`. The bytes are read until they are acknowledged. */
    write(bytes: Buffer): boolean
    end(): void
    /** Resolves when everything written is acknowledged, or the stream is over. */
    flush(): Promise<boolean>
    /** Sends a packet beside the stream, which may get lost. The other end's stream emits `message`. */
    trySend(message: Buffer): void
    destroy(): void
  }
}

declare module 'udx-native/binding.js' {
  interface Binding {
    readonly sizeof_udx_socket_send_t: number
    /** Where a stream keeps its MTU (16 bits), in its handle. */
    readonly offsetof_udx_stream_t_mtu: number
    /** Returns the port. Throws an error with the system's code. */
    udx_napi_socket_bind(handle: Buffer, port: number, host: string, family: 4 | 6, flags: number): number
    /** Throws for what is no address. `packet` is read until `_onsend` is called with `id`. */
    udx_napi_socket_send_ttl(
      handle: Buffer,
      request: Buffer,
      id: number,
      packet: Buffer,
      port: number,
      host: string,
      family: 4 | 6,
      ttl: number,
    ): void
  }
  const binding: Binding
  export default binding
}
