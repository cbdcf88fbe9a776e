/** `node-datachannel` (libdatachannel, WebRTC): a data channel for each stream. Descriptions and candidates travel over a TCP connection. */
import { once } from 'node:events'
import { createServer, connect as dialTcp, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Conversation, Packets, Pipe, Transport } from '../transport.ts'
import { load } from './load.ts'

interface DataChannel {
  getLabel(): string
  isOpen(): boolean
  sendMessageBinary(data: Uint8Array): boolean
  bufferedAmount(): number
  setBufferedAmountLowThreshold(bytes: number): void
  onOpen(listener: () => void): void
  onBufferedAmountLow(listener: () => void): void
  onMessage(listener: (data: string | Uint8Array) => void): void
}

interface PeerConnection {
  close(): void
  setRemoteDescription(sdp: string, type: string): void
  addRemoteCandidate(candidate: string, mid: string): void
  createDataChannel(label: string, options?: object): DataChannel
  onLocalDescription(listener: (sdp: string, type: string) => void): void
  onLocalCandidate(listener: (candidate: string, mid: string) => void): void
  onDataChannel(listener: (channel: DataChannel) => void): void
}

type Rtc = { default: { PeerConnection: new (name: string, options: object) => PeerConnection } }
type Word = { sdp: string; type: string } | { candidate: string; mid: string }

const CHUNK = 64 * 1024
/** Where writing pauses and goes on, in bytes that wait. */
const HIGH = 1024 * 1024
const LOW = 256 * 1024
const CONFIG = { iceServers: [], maxMessageSize: 256 * 1024 }
const PACKETS = 'packets'

/** Descriptions and candidates between a connection and its peer. */
function signal(peer: PeerConnection, socket: Socket): void {
  const say = (word: Word): void => {
    if (socket.writable) socket.write(`${JSON.stringify(word)}\n`)
  }
  peer.onLocalDescription((sdp, type) => say({ sdp, type }))
  peer.onLocalCandidate((candidate, mid) => say({ candidate, mid }))
  socket.on('error', () => socket.destroy())
  createInterface(socket).on('line', (line) => {
    const word = JSON.parse(line) as Word
    if ('sdp' in word) peer.setRemoteDescription(word.sdp, word.type)
    else peer.addRemoteCandidate(word.candidate, word.mid)
  })
}

function pipeOver(channel: DataChannel): Pipe {
  const pipe: Pipe = {
    chunk: CHUNK,
    keepsMessages: true,
    onData: () => {},
    onDrain: () => {},
    write: (chunk) => {
      channel.sendMessageBinary(chunk)
      return channel.bufferedAmount() < HIGH
    },
    cork: () => {},
    uncork: () => {},
  }
  channel.setBufferedAmountLowThreshold(LOW)
  channel.onBufferedAmountLow(() => pipe.onDrain())
  channel.onMessage((data) => pipe.onData(Buffer.from(data as Uint8Array)))
  return pipe
}

function opened(channel: DataChannel): Promise<void> {
  return new Promise((resolve) => {
    if (channel.isOpen()) resolve()
    else channel.onOpen(resolve)
  })
}

export const nodeDatachannel: Transport = {
  serve: async (service, { host }) => {
    const { default: rtc } = await load<Rtc>('node-datachannel')
    // Kept: what JavaScript forgets is closed.
    const peers = new Set<PeerConnection>()
    const server = createServer({ noDelay: true }, (socket) => {
      const peer = new rtc.PeerConnection('server', CONFIG)
      peers.add(peer)
      socket.once('close', () => {
        peers.delete(peer)
        peer.close()
      })
      peer.onDataChannel((channel) => {
        if (channel.getLabel() === PACKETS) channel.onMessage(() => service.packets++)
        else service.take(pipeOver(channel))
      })
      signal(peer, socket)
    })
    server.listen(0, host)
    await once(server, 'listening')
    const address = server.address()
    return { host, port: typeof address === 'object' && address ? address.port : 0, detail: '' }
  },

  prepare: async ({ host, port }) => {
    const { default: rtc } = await load<Rtc>('node-datachannel')
    return async (): Promise<Conversation> => {
      const socket = dialTcp({ host, port, noDelay: true })
      const peer = new rtc.PeerConnection('client', CONFIG)
      signal(peer, socket)
      const first = peer.createDataChannel('stream')
      await opened(first)
      let unused: DataChannel | undefined = first
      return {
        pipe: async () => {
          const channel = unused ?? peer.createDataChannel('stream')
          unused = undefined
          await opened(channel)
          return pipeOver(channel)
        },
        packets: () => packetsOver(peer.createDataChannel(PACKETS, { unordered: true, maxRetransmits: 0 })),
        close: async () => {
          socket.destroy()
          peer.close()
        },
      }
    }
  },
}

function packetsOver(channel: DataChannel): Packets {
  const waiting: (() => void)[] = []
  channel.setBufferedAmountLowThreshold(LOW)
  const go = (): void => {
    for (const left of waiting.splice(0)) left()
  }
  channel.onBufferedAmountLow(go)
  channel.onOpen(go)
  return {
    send: (data, left) => {
      if (channel.isOpen()) channel.sendMessageBinary(data)
      if (!channel.isOpen() || channel.bufferedAmount() >= HIGH) waiting.push(left)
      else setImmediate(left)
    },
  }
}
