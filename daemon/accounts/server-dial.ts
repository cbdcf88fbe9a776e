import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, rootCertificates, type TLSSocket } from 'node:tls'
import type { Element } from 'ltx'
import { PartylineError } from '../errors.ts'
import { formatHostPort } from '../network/network.ts'
import { NS } from '../xmpp/namespaces.ts'
import { xml } from '../xmpp/stanzas.ts'
import { XmlReader } from '../xmpp/xml-reader.ts'
import type { ServerPlace } from './server-places.ts'

interface ServerDialOptions {
  /** What the certificate has to be for. */
  readonly domain: string
  /** Certificates (PEM) that it may be signed by, beside the system's; empty for none. */
  readonly ca: string
  readonly signal: AbortSignal
}

/**
 * A TLS connection to a server of a domain, whose certificate was checked (RFC 6120 section 13.7.2). Without TLS nothing but the wish for it is
 * sent. Rejects with `network.unreachable`, `peer.bad-certificate` or `peer.wrong-protocol`.
 */
export async function dialServer(place: ServerPlace, options: ServerDialOptions): Promise<TLSSocket> {
  const { host, port, start } = place
  const { domain, ca, signal } = options
  const tls: ConnectionOptions = {
    servername: domain,
    minVersion: 'TLSv1.2',
    ...(ca !== '' && { ca: [...rootCertificates, ca] }),
    ...(start === 'direct' && { ALPNProtocols: ['xmpp-client'] }),
  }
  let plain: Socket | undefined
  let socket: TLSSocket | undefined
  const abort = (): void => void (socket ?? plain)?.destroy(new Error('no answer in time'))
  signal.addEventListener('abort', abort)
  try {
    signal.throwIfAborted()
    plain = connectTcp({ host, port })
    plain.setNoDelay(true)
    await once(plain, 'connect')
    if (start === 'starttls') await askForTls(plain, domain)
    socket = connectTls({ socket: plain, ...tls })
    await once(socket, 'secureConnect')
    return socket
  } catch (error) {
    plain?.on('error', () => {}).destroy()
    socket?.on('error', () => {}).destroy()
    throw refusal(error as NodeJS.ErrnoException, place, domain)
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** RFC 6120 section 5.4.2. Whatever the server says beside what is expected ends it: it would be taken for something said under TLS. */
async function askForTls(socket: Socket, domain: string): Promise<void> {
  const elements = read(socket)
  socket.write(
    `<?xml version='1.0'?><stream:stream xmlns='${NS.client}' xmlns:stream='${NS.stream}' version='1.0' to='${domain}'>`,
  )
  const features = await elements.next()
  if (!features.is('features', NS.stream) || !features.getChild('starttls', NS.tls))
    throw new PartylineError('peer.wrong-protocol', 'the server offers no TLS')
  socket.write(xml('starttls', { xmlns: NS.tls }).toString())
  const answer = await elements.next()
  if (!answer.is('proceed', NS.tls) || elements.hasMore())
    throw new PartylineError('peer.wrong-protocol', 'the server does not begin TLS')
  elements.stop()
}

/** Elements of a stream, one at a time. */
function read(socket: Socket): { next(): Promise<Element>; hasMore(): boolean; stop(): void } {
  const reader = new XmlReader()
  const waiting: Element[] = []
  let settle: { resolve: (element: Element) => void; reject: (error: Error) => void } | undefined
  let failure: Error | undefined
  const fail = (error: Error): void => {
    failure ??= error
    settle?.reject(failure)
  }
  const take = (bytes: Buffer): void => {
    try {
      for (const event of reader.push(bytes)) if (event.type === 'stanza') waiting.push(event.element)
    } catch (error) {
      return fail(new PartylineError('peer.wrong-protocol', 'the server does not speak XMPP', { cause: error }))
    }
    const [first] = waiting
    if (!first || !settle) return
    waiting.shift()
    settle.resolve(first)
    settle = undefined
  }
  const closed = (): void => fail(new PartylineError('network.lost', 'the server closed the connection'))
  socket.on('data', take).on('error', fail).once('close', closed)
  return {
    next: () => {
      const first = waiting.shift()
      if (first) return Promise.resolve(first)
      if (failure) return Promise.reject(failure)
      return new Promise((resolve, reject) => {
        settle = { resolve, reject }
      })
    },
    hasMore: () => waiting.length > 0,
    stop: () => {
      socket.off('data', take).off('error', fail).off('close', closed)
      socket.pause()
    },
  }
}

/** What went wrong, as one of our codes, in words for whoever typed the account. */
function refusal(error: NodeJS.ErrnoException, { host, port }: ServerPlace, domain: string): PartylineError {
  const at = formatHostPort({ address: host, port })
  if (error instanceof PartylineError)
    return new PartylineError(
      error.code,
      `${at}: ${error.message}`,
      error.code === 'peer.wrong-protocol' ? PORT_HINT : {},
    )
  const code = error.code ?? ''
  const why = CERTIFICATE[code]
  if (why) return new PartylineError('peer.bad-certificate', `${at}: ${why.replace('DOMAIN', domain)}`, CA_HINT)
  if (code.startsWith('ERR_SSL') || code === 'EPROTO')
    return new PartylineError('peer.wrong-protocol', `${at} does not speak TLS, or not for ${domain}`, PORT_HINT)
  return new PartylineError('network.unreachable', `${at}: ${code || error.message}`, { cause: error })
}

const PORT_HINT = {
  hint: 'Check that the server is one of the domain, and name its port for clients: `partyline account add JID --server HOST:5223`.',
}

const CA_HINT = {
  hint: 'For a server of your own give the certificate of its authority: `partyline account add JID --ca FILE`.',
}

/** OpenSSL's verdicts on a certificate, and Node's. */
const CERTIFICATE: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is not for DOMAIN',
  CERT_HAS_EXPIRED: 'the certificate has expired, or the clock here is wrong',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet, or the clock here is wrong',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is signed by itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is signed by an authority that is not known here',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate is signed by an authority that is not known here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is signed by an authority that is not known here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is signed by an authority that is not known here',
  CERT_REVOKED: 'the certificate was revoked',
  INVALID_PURPOSE: 'the certificate is not for a server',
  CERT_SIGNATURE_FAILURE: 'the certificate is damaged',
}
