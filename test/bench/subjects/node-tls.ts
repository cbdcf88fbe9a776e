/** Bare `node:tls` with the cipher of Partyline's links, a connection for each stream; and the app's side of the bare chain: a Unix socket. */
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { connect as netConnect, createServer as netServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect, createServer as tlsServer } from 'node:tls'
import { makeCertificate } from '../../../daemon/identity/certificate.ts'
import { loadOrCreateIdentity } from '../../../daemon/identity/key.ts'
import { StreamPipe } from '../stream-pipe.ts'
import type { Conversation, Reach, Transport } from '../transport.ts'

const TLS = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
  ecdhCurve: 'X25519MLKEM768:X25519',
} as const

/** Listens with TLS on a free port. */
export async function listenTls(host: string, onSocket: (socket: Socket) => void): Promise<number> {
  const identity = await loadOrCreateIdentity(join(mkdtempSync(join(tmpdir(), 'bench-')), 'identity.key'))
  const { certPem, keyPem } = await makeCertificate(identity)
  const server: Server = tlsServer({ ...TLS, cert: certPem, key: keyPem, allowHalfOpen: true }, (socket) =>
    onSocket(socket.setNoDelay(true)),
  )
  server.listen(0, host)
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

export async function dialTls(host: string, port: number): Promise<Socket> {
  const socket = tlsConnect({ ...TLS, host, port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket.setNoDelay(true)
}

async function dialUnix(path: string): Promise<Socket> {
  const socket = netConnect({ path, allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

/** A connection for each stream; the first is the conversation's. */
function conversation(first: Socket, dial: () => Promise<Socket>): Conversation {
  const sockets = [first]
  let unused: Socket | undefined = first
  return {
    pipe: async () => {
      const socket = unused ?? (await dial())
      unused = undefined
      sockets.push(socket)
      return new StreamPipe(socket)
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}

export const nodeTls: Transport = {
  serve: async (service, { host }) => {
    const port = await listenTls(host, (socket) => service.take(new StreamPipe(socket)))
    return { host, port, detail: '' }
  },
  prepare: async ({ host, port }) => {
    const dial = (): Promise<Socket> => dialTls(host, port)
    return async () => conversation(await dial(), dial)
  },
}

export const unix: Transport = {
  serve: async (service, { path }): Promise<Reach> => {
    const server = netServer({ allowHalfOpen: true }, (socket) => service.take(new StreamPipe(socket)))
    server.listen({ path })
    await once(server, 'listening')
    return { host: '', port: 0, detail: path }
  },
  prepare: async (_, { path }) => {
    const dial = (): Promise<Socket> => dialUnix(path)
    return async () => conversation(await dial(), dial)
  },
}

/** The two processes in the middle of the bare chain: Unix sockets on one side, TLS on the other, joined by nothing but pipes. */
export async function chainNear(path: string, host: string, port: number): Promise<void> {
  const server = netServer({ allowHalfOpen: true }, (app) => {
    dialTls(host, port).then(
      (far) => join2(app, far),
      () => app.destroy(),
    )
  })
  server.listen({ path })
  await once(server, 'listening')
}

export function chainFar(path: string, host: string): Promise<number> {
  return listenTls(host, (near) => join2(near, netConnect({ path, allowHalfOpen: true })))
}

function join2(a: Socket, b: Socket): void {
  a.pipe(b).pipe(a)
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.on('error', () => one.destroy())
    one.once('close', () => other.destroy())
  }
}
