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

declare module 'udx-native/binding.js' {
  interface Binding {
    readonly sizeof_udx_socket_send_t: number
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
