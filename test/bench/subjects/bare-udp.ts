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
  on(event: 'message', listener: (packet: Uint8Array, from: { host: string; port: number }) => void): unknown
  send(packet: Uint8Array, port: number, host: string): Promise<unknown>
}

/** A socket of either kind. */
interface Udp {
  readonly port: number
  onPacket: (packet: Uint8Array, from: { host: string; port: number }) => void
  send(packet: Uint8Array, port: number, host: string): void
}

async function dgram(host: string): Promise<Udp> {
  const socket = createSocket('udp4')
  socket.bind(0, host)
  await once(socket, 'listening')
  const udp: Udp = {
    port: socket.address().port,
    onPacket: () => {},
    send: (packet, port, to) => socket.send(packet, port, to),
  }
  socket.on('message', (packet, { address, port }) => udp.onPacket(packet, { host: address, port }))
  return udp
}

/** The package brings no types. */
async function udx(host: string): Promise<Udp> {
  const name: string = 'udx-native'
  const { default: Udx } = (await import(name)) as { default: new () => { createSocket(): UdxSocket } }
  const socket = new Udx().createSocket()
  socket.bind(0, host)
  const udp: Udp = {
    port: socket.address().port,
    onPacket: () => {},
    send: (packet, port, to) => void socket.send(packet, port, to),
  }
  socket.on('message', (packet, from) => udp.onPacket(packet, from))
  return udp
}

/** Variants: `dgram` is `node:dgram` in place of `udx-native`'s sockets, `open` does not seal; a comma between them. */
export const bareUdp: Transport = {
  serve: async (service, { host, variant }) => {
    const open = variant.includes('open') ? (packet: Uint8Array) => packet : opener()
    const udp = await (variant.includes('dgram') ? dgram(host) : udx(host))
    let from = { host: '', port: 0 }
    // Few and small, so not worth sealing here.
    const take = service.packets((report) => udp.send(report, from.port, from.host))
    udp.onPacket = (packet, sender) => {
      from = sender
      take(open(packet))
    }
    return { host, port: udp.port, detail: '' }
  },
  prepare: async ({ host, port }, { variant }) => {
    const seal = variant.includes('open') ? (data: Uint8Array) => data : sealer()
    const udp = await (variant.includes('dgram') ? dgram('0.0.0.0') : udx('0.0.0.0'))
    return async () => ({
      pipe: () => Promise.reject(new Error('UDP has no streams')),
      packets: () => {
        const packets: Packets = { onReport: () => {}, send: (data) => udp.send(seal(data), port, host) }
        udp.onPacket = (report) => packets.onReport(report)
        return packets
      },
      close: async () => {},
    })
  },
}
