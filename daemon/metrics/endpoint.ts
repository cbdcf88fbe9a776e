import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import writeFileAtomic from 'write-file-atomic'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import type { Logger } from '../logger.ts'
import type { Milliseconds } from '../types.ts'

/** Nobody else than programs of this machine. */
const ADDRESS = '127.0.0.1'
const MAX_CONNECTIONS = 16
const MAX_HEADERS = 8192
const PATIENCE: Milliseconds = 5000
const TOKEN = /^[A-Za-z0-9_-]{43}$/

interface MetricsEndpointOptions {
  readonly logger: Logger
  readonly port: number
  /** Holds the token that whoever asks has to show; made when it is missing, mode 0600. */
  readonly tokenFile: string
  readonly render: () => Promise<{ readonly contentType: string; readonly text: string }>
}

/**
 * The metrics over HTTP, for Prometheus: `GET /metrics` on loopback, with `Authorization: Bearer TOKEN` (RFC 6750), since every user of the
 * machine can connect there, and who talks to whom is nobody else's business.
 */
export class MetricsEndpoint {
  readonly #options: MetricsEndpointOptions
  readonly #server: Server
  #token = Buffer.alloc(0)

  constructor(options: MetricsEndpointOptions) {
    this.#options = options
    this.#server = createServer(
      { maxHeaderSize: MAX_HEADERS, requestTimeout: PATIENCE, headersTimeout: PATIENCE, keepAliveTimeout: PATIENCE },
      (request, response) => void this.#answer(request, response),
    )
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('clientError', (_, socket) => socket.destroy())
  }

  /** Where it listens; 0 before it does. */
  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' ? (address?.port ?? 0) : 0
  }

  /** Listens. Rejects with `local.port-taken`, `local.permission` or `local.file`. */
  async open(): Promise<void> {
    const { port, tokenFile, logger } = this.#options
    this.#token = Buffer.from(`Bearer ${await readToken(tokenFile)}`)
    this.#server.listen(port, ADDRESS)
    try {
      await once(this.#server, 'listening')
    } catch (error) {
      throw new PartylineError('local.port-taken', `metrics: port ${port} of ${ADDRESS} cannot be used`, {
        cause: error,
      })
    }
    logger.info('metrics are served', { port: this.port })
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, headers = {}): void =>
      void response.writeHead(status, { 'Content-Length': 0, Connection: 'close', ...headers }).end()
    if (!this.#isKnown(request.headers.authorization)) return refuse(401, { 'WWW-Authenticate': 'Bearer' })
    if (request.url !== '/metrics') return refuse(404)
    if (request.method !== 'GET') return refuse(405, { Allow: 'GET' })
    try {
      const { contentType, text } = await this.#options.render()
      response.writeHead(200, { 'Content-Type': contentType, 'Cache-Control': 'no-store' }).end(text)
    } catch (error) {
      this.#options.logger.warn('metrics cannot be told', { error: String(error) })
      refuse(500)
    }
  }

  #isKnown(given = ''): boolean {
    const shown = Buffer.from(given)
    return shown.length === this.#token.length && timingSafeEqual(shown, this.#token)
  }
}

/** The token of the file; a new one where there is none, or the file is not as it shall be. */
async function readToken(file: string): Promise<string> {
  try {
    const token = (await readFile(file, 'utf8')).trim()
    const isPrivate = process.platform === 'win32' || ((await stat(file)).mode & 0o077) === 0
    if (TOKEN.test(token) && isPrivate) return token
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(file, error)
  }
  const made = randomBytes(32).toString('base64url')
  try {
    await writeFileAtomic(file, `${made}\n`, { mode: 0o600 })
  } catch (error) {
    throw fileError(file, error)
  }
  return made
}
