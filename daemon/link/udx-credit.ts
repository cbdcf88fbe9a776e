/** Bytes that may be under way to a reader or wait for it. UDX itself has the same limit for what is under way. */
export const WINDOW = 4 * 1024 * 1024
/** A reader tells that it read so much more. */
const STEP = WINDOW / 16
/** How far a peer may go beyond what it was allowed before it is broken off. */
const TOLERANCE = WINDOW

const READ = 1
const ASK = 2
const READ_LENGTH = 7

/** What the ends of a stream tell each other beside it. */
type CreditMessage = { readonly kind: 'ask' } | { readonly kind: 'read'; readonly total: number }

export const ASK_MESSAGE = Buffer.of(ASK)

/** Tells how many bytes the reader has taken since the stream began. */
export function readMessage(total: number): Buffer {
  const message = Buffer.alloc(READ_LENGTH)
  message[0] = READ
  message.writeUIntBE(total, 1, 6)
  return message
}

/** Undefined for what is none. */
export function parseCredit(message: Buffer): CreditMessage | undefined {
  if (message.length === 1 && message[0] === ASK) return { kind: 'ask' }
  if (message.length === READ_LENGTH && message[0] === READ) return { kind: 'read', total: message.readUIntBE(1, 6) }
  return undefined
}

/**
 * Lets a slow reader slow its writer down: UDX takes what comes whether it is read or not. The messages may get lost, doubled and
 * reordered: totals only grow, and a writer without room asks.
 */
export class UdxCredit {
  #written = 0
  #readThere = 0
  #came = 0
  #told = 0

  /** Bytes that may be written now. */
  get room(): number {
    return Math.max(0, this.#readThere + WINDOW - this.#written)
  }

  wrote(bytes: number): void {
    this.#written += bytes
  }

  /** The peer read so much in all; false for what cannot be. */
  readThere(total: number): boolean {
    if (total > this.#written) return false
    this.#readThere = Math.max(this.#readThere, total)
    return true
  }

  /** Bytes came, of which `unread` are not read yet; false where the peer sent far more than it may. */
  came(bytes: number, unread: number): boolean {
    this.#came += bytes
    return unread <= WINDOW + TOLERANCE
  }

  /** What to tell the peer when so many bytes are unread; undefined while that is not worth a packet. */
  report(unread: number, isAsked = false): number | undefined {
    const total = this.#came - unread
    if (!isAsked && total - this.#told < STEP) return undefined
    this.#told = total
    return total
  }
}
