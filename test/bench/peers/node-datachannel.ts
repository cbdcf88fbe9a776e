/** `node-datachannel` (libdatachannel, WebRTC): a data channel for each stream. Descriptions, with all candidates, travel over a TCP connection. */
import { once } from 'node:events'
import { createServer, connect as dialTcp, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Service } from '../service.ts'
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
  createDataChannel(label: string, options?: object): DataChannel
  localDescription(): Description | null
  onGatheringStateChange(listener: (state: string) => void): void
  onDataChannel(listener: (channel: DataChannel) => void): void
}

type Rtc = { default: { PeerConnection: new (name: string, options: object) => PeerConnection } }

interface Description {
  readonly sdp: string
  readonly type: string
}

const CHUNK = 64 * 1024
/** Where writing pauses and goes on, in bytes that wait. */
const HIGH = 1024 * 1024
const LOW = 256 * 1024
/** One address each: with all of a host's, the checks of those that lead nowhere take most of a second. */
const config = (bindAddress: string | undefined) => ({ iceServers: [], maxMessageSize: 256 * 1024, bindAddress })
const PACKETS = 'packets'

/** Gives each end the other's description. */
function signal(peer: PeerConnection, socket: Socket): void {
  peer.onGatheringStateChange((state) => {
    if (state === 'complete' && socket.writable) socket.write(`${JSON.stringify(peer.localDescription())}\n`)
  })
  socket.on('error', () => socket.destroy())
  createInterface(socket).on('line', (line) => {
    const { sdp, type } = JSON.parse(line) as Description
    // Who dials begins DTLS: by default the other does, at times before this end listens, which costs a second.
    peer.setRemoteDescription(sdp.replace('a=setup:actpass', 'a=setup:active'), type)
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
      const peer = new rtc.PeerConnection('server', config(host))
      peers.add(peer)
      socket.once('close', () => {
        peers.delete(peer)
        peer.close()
      })
      peer.onDataChannel((channel) => {
        if (channel.getLabel() === PACKETS) takePackets(channel, service)
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
      await once(socket, 'connect')
      const peer = new rtc.PeerConnection('client', config(socket.localAddress))
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

function takePackets(channel: DataChannel, service: Service): void {
  const take = service.packets((report) => void channel.sendMessageBinary(report))
  channel.onMessage((data) => take(Buffer.from(data as Uint8Array)))
}

/** Packets before the channel is open are lost. */
function packetsOver(channel: DataChannel): Packets {
  const packets: Packets = {
    onReport: () => {},
    send: (data) => {
      if (channel.isOpen()) channel.sendMessageBinary(data)
    },
  }
  channel.onMessage((report) => packets.onReport(Buffer.from(report as Uint8Array)))
  return packets
}
