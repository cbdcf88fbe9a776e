/**
 * A host of `node-datachannel` in the lab: `worker.ts relay` passes signals on at a public host, `worker.ts end OPTIONS` is one of two ends. Lines
 * of JSON on standard input and output. An end gathers and sends candidates as they come (trickle), with the library's own defaults.
 */
import { once } from 'node:events'
import { createServer, connect as dialTcp, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { load } from '../../../bench/peers/load.ts'

/** The port of the web: every kind of NAT lets it out. */
const PORT = 443

export interface IceServer {
  readonly hostname: string
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly relayType?: 'TurnUdp' | 'TurnTcp' | 'TurnTls'
}

export interface EndOptions {
  /** The address of the relay of signals. */
  readonly signals: string
  readonly servers: readonly (string | IceServer)[]
}

/** What an end is told. */
export type Order = 'connect' | 'close'

/** What it tells: it stands ready, has the first byte of the other, or has none. */
export type Told =
  | { readonly event: 'ready' }
  | { readonly event: 'connected'; readonly ms: number; readonly local: Candidate; readonly remote: Candidate }
  | { readonly event: 'failed'; readonly ms: number; readonly reason: string }

export interface Candidate {
  readonly address: string
  readonly type: string
}

interface DataChannel {
  sendMessage(text: string): boolean
  onOpen(listener: () => void): void
  onMessage(listener: (data: string | Uint8Array) => void): void
}

interface PeerConnection {
  close(): void
  setRemoteDescription(sdp: string, type: string): void
  addRemoteCandidate(candidate: string, mid: string): void
  createDataChannel(label: string): DataChannel
  getSelectedCandidatePair(): { local: Candidate; remote: Candidate } | null
  onLocalDescription(listener: (sdp: string, type: string) => void): void
  onLocalCandidate(listener: (candidate: string, mid: string) => void): void
  onStateChange(listener: (state: string) => void): void
  onDataChannel(listener: (channel: DataChannel) => void): void
}

type Rtc = { default: { PeerConnection: new (name: string, options: object) => PeerConnection } }

type Signal =
  | { readonly sdp: string; readonly type: string }
  | { readonly candidate: string; readonly mid: string }
  | { readonly bye: true }

const tell = (what: Told): void => void process.stdout.write(`${JSON.stringify(what)}\n`)

/** Gives each of two ends what the other sends. */
async function relay(): Promise<void> {
  const ends = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    ends.add(socket)
    socket.on('error', () => socket.destroy()).once('close', () => ends.delete(socket))
    createInterface(socket)
      .on('line', (line) => {
        for (const other of ends) if (other !== socket && other.writable) other.write(`${line}\n`)
      })
      // What goes wrong with the socket is told here too.
      .on('error', () => {})
  })
  server.listen(PORT)
  await once(server, 'listening')
  tell({ event: 'ready' })
}

async function end({ signals, servers }: EndOptions): Promise<void> {
  const { default: rtc } = await load<Rtc>('node-datachannel')
  const socket = dialTcp({ host: signals, port: PORT, noDelay: true })
  await once(socket, 'connect')
  const signal = (what: Signal): void => void socket.write(`${JSON.stringify(what)}\n`)
  // Kept: what JavaScript forgets is closed.
  let peer: PeerConnection | undefined
  let channel: DataChannel | undefined

  const open = (): PeerConnection => {
    peer?.close()
    const opened = new rtc.PeerConnection('end', { iceServers: servers })
    opened.onLocalDescription((sdp, type) => signal({ sdp, type }))
    opened.onLocalCandidate((candidate, mid) => signal({ candidate, mid }))
    // The byte that the other end waits for.
    opened.onDataChannel((taken) => {
      channel = taken
      taken.onOpen(() => taken.sendMessage('!'))
    })
    peer = opened
    return opened
  }
  const close = (): void => {
    peer?.close()
    peer = channel = undefined
  }
  const connect = (): void => {
    const started = performance.now()
    const elapsed = (): number => performance.now() - started
    const opened = open()
    opened.onStateChange((state) => {
      if (state === 'failed') tell({ event: 'failed', ms: elapsed(), reason: 'the library gave up' })
    })
    channel = opened.createDataChannel('first')
    channel.onMessage(() => {
      const ms = elapsed()
      const pair = opened.getSelectedCandidatePair()
      if (pair) tell({ event: 'connected', ms, ...pair })
    })
  }

  createInterface(socket).on('line', (line) => {
    const got = JSON.parse(line) as Signal
    if ('bye' in got) return close()
    if ('candidate' in got) return peer?.addRemoteCandidate(got.candidate, got.mid)
    // Who dials begins DTLS: by default the other does, at times before this end listens, which costs a second.
    const at = got.type === 'offer' ? open() : peer
    at?.setRemoteDescription(got.sdp.replace('a=setup:actpass', 'a=setup:active'), got.type)
  })
  createInterface(process.stdin).on('line', (line) => {
    if ((line as Order) === 'connect') return connect()
    signal({ bye: true })
    close()
  })
  tell({ event: 'ready' })
}

const [, , role, options] = process.argv
if (role === 'relay') await relay()
else await end(JSON.parse(options ?? '') as EndOptions)
