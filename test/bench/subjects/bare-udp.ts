/** Packets on bare UDP, sealed and opened by `sodium-native` ChaCha20-Poly1305: no replay window, no path probing, one key. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import sodium from 'sodium-native'
import type { Packets, Transport } from '../transport.ts'

interface Aead {
  crypto_aead_chacha20poly1305_ietf_encrypt(
    sealed: Uint8Array,
    message: Uint8Array,
    data: null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  crypto_aead_chacha20poly1305_ietf_decrypt(
    message: Uint8Array,
    secretNonce: null,
    sealed: Uint8Array,
    data: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
}

const { crypto_aead_chacha20poly1305_ietf_encrypt: encrypt, crypto_aead_chacha20poly1305_ietf_decrypt: decrypt } =
  sodium as unknown as Aead

const KEY = Buffer.alloc(32, 9)
const NUMBER = 8
const TAG = 16

/** Packet number, ciphertext, tag. */
function sealer(): (data: Uint8Array) => Uint8Array {
  const nonce = Buffer.alloc(12)
  let number = 0n
  return (data) => {
    const packet = Buffer.allocUnsafe(NUMBER + data.length + TAG)
    packet.writeBigUInt64BE(++number, 0)
    nonce.writeBigUInt64BE(number, 4)
    encrypt(packet.subarray(NUMBER), data, null, null, nonce, KEY)
    return packet
  }
}

function opener(): (packet: Uint8Array) => Uint8Array {
  const nonce = Buffer.alloc(12)
  return (packet) => {
    nonce.set(packet.subarray(0, NUMBER), 4)
    const message = Buffer.allocUnsafe(packet.length - NUMBER - TAG)
    decrypt(message, null, packet.subarray(NUMBER), null, nonce, KEY)
    return message
  }
}

interface UdxSocket {
  bind(port: number, host: string): void
  address(): { port: number }
  on(event: 'message', listener: (packet: Uint8Array) => void): unknown
  send(packet: Uint8Array, port: number, host: string): Promise<unknown>
}

/** Variants: `dgram` is `node:dgram` in place of `udx-native`'s sockets, `open` does not seal; a comma between them. */
export const bareUdp: Transport = {
  serve: async (service, { host, variant }) => {
    const open = variant.includes('open') ? (packet: Uint8Array) => packet : opener()
    const take = (packet: Uint8Array): void => {
      if (open(packet).length > 0) service.packets++
    }
    if (!variant.includes('dgram')) {
      const socket = await udxSocket()
      socket.bind(0, host)
      socket.on('message', take)
      return { host, port: socket.address().port, detail: '' }
    }
    const socket = createSocket('udp4', take)
    socket.bind(0, host)
    await once(socket, 'listening')
    return { host, port: socket.address().port, detail: '' }
  },
  prepare: async ({ host, port }, { variant }) => {
    const seal = variant.includes('open') ? (data: Uint8Array) => data : sealer()
    const packets = variant.includes('dgram')
      ? overDgram(host, port, seal)
      : overUdx(await udxSocket(), host, port, seal)
    return async () => ({
      pipe: () => Promise.reject(new Error('UDP has no streams')),
      packets: () => packets,
      close: async () => {},
    })
  },
}

/** The package brings no types. */
async function udxSocket(): Promise<UdxSocket> {
  const name: string = 'udx-native'
  const { default: Udx } = (await import(name)) as { default: new () => { createSocket(): UdxSocket } }
  return new Udx().createSocket()
}

function overUdx(socket: UdxSocket, host: string, port: number, seal: (data: Uint8Array) => Uint8Array): Packets {
  socket.bind(0, '0.0.0.0')
  return { send: (data, left) => void socket.send(seal(data), port, host).then(left, left) }
}

function overDgram(host: string, port: number, seal: (data: Uint8Array) => Uint8Array): Packets {
  const socket = createSocket('udp4')
  return { send: (data, left) => socket.send(seal(data), port, host, left) }
}
