import { scopeOf } from '../../network/addresses.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { decodeAddress, decodeError, decodeXorAddress, unknownAttributes } from './attributes.ts'
import { type StunMessage, StunWriter, TRANSACTION } from './message.ts'
import { ATTRIBUTE, ERROR, METHOD } from './registry.ts'

/** RFC 8489 section 6.2.1: the first wait for an answer doubles, for so many requests. */
const FIRST_WAIT: Milliseconds = 500
const TRIES = 7
/** After so many requests without an answer it is said to be silent. */
const SILENT_AFTER = 3
/** How often it is asked to keep the mapping, at least and at most: routers forget after 30 s and more (RFC 4787 section 4.3). */
const KEEPALIVE = { least: 20_000, most: 25_000 } as const
/** Pause before a server that failed is asked again; it doubles, up to the last. */
const RETRY: Milliseconds = 30_000
const MAX_RETRY: Milliseconds = 600_000
/** Alternate servers that are followed one after the other (RFC 8489 section 10). */
const MAX_HOPS = 3

/** `asking`: no answer yet. `known`: it told an address. `silent`: no answer came. `refused`: it does not want to. */
export type BindingState = 'asking' | 'known' | 'silent' | 'refused'

interface BindingOptions {
  readonly server: HostPort
  readonly now: Milliseconds
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
}

interface BindingEvents {
  output(packet: Buffer, to: HostPort): void
  /** State, address or round trip differ from before. */
  changed(): void
}

/**
 * How this host looks to one STUN server (RFC 8489): asks, keeps the NAT's mapping alive, and tells when it changes. Free of I/O. Answers count
 * only from the address that was asked, for the request that is under way.
 */
export class StunBinding {
  readonly #options: BindingOptions
  readonly #events: BindingEvents
  #server: HostPort
  #hops = 0
  #state: BindingState = 'asking'
  #mapped: HostPort | undefined
  #other: HostPort | undefined
  #roundTrip: Milliseconds | undefined
  #detail = ''
  #transaction: Buffer | undefined
  #packet: Buffer = Buffer.alloc(0)
  #tries = 0
  #firstSent: Milliseconds = 0
  #retry = RETRY
  #at: Milliseconds

  constructor(options: BindingOptions, events: BindingEvents) {
    this.#options = options
    this.#events = events
    this.#server = options.server
    this.#at = options.now
  }

  /** When `tick` is to be called next. */
  get deadline(): Milliseconds {
    return this.#at
  }

  get server(): HostPort {
    return this.#server
  }

  get state(): BindingState {
    return this.#state
  }

  /** True while it is asked and has neither answered nor been silent for long. */
  get isUndecided(): boolean {
    return this.#transaction !== undefined && this.#state !== 'silent'
  }

  /** The address the server saw last. */
  get mapped(): HostPort | undefined {
    return this.#state === 'known' ? this.#mapped : undefined
  }

  get roundTrip(): Milliseconds | undefined {
    return this.#roundTrip
  }

  /** Another address of the server, on another host as far as a NAT can tell (OTHER-ADDRESS, RFC 5780 section 7.4). */
  get other(): HostPort | undefined {
    return this.#state === 'known' ? this.#other : undefined
  }

  /** Why there is no address, in words; empty where there is one. */
  get detail(): string {
    return this.#detail
  }

  /** Asks at once: the network changed. What was told before counts until there is another answer, or none. */
  refresh(now: Milliseconds): void {
    this.#transaction = undefined
    this.#retry = RETRY
    this.#at = now
    this.tick(now)
  }

  tick(now: Milliseconds): void {
    if (now < this.#at) return
    if (!this.#transaction) this.#begin(now)
    else if (this.#tries >= TRIES) return this.#failed(now, 'silent', 'no answer')
    else if (this.#tries >= SILENT_AFTER) this.#become('silent', 'no answer')
    this.#tries++
    this.#at = now + FIRST_WAIT * 2 ** (this.#tries - 1)
    this.#events.output(this.#packet, this.#server)
  }

  /** Takes a message; true when it was the answer to what is asked now. */
  receive(message: StunMessage, from: HostPort, now: Milliseconds): boolean {
    if (!this.#transaction?.equals(message.transaction)) return false
    if (from.address !== this.#server.address || from.port !== this.#server.port) return false
    if (message.method !== METHOD.binding || message.class === 'request' || message.class === 'indication') return false
    // Which of several requests it answers cannot be told.
    if (this.#tries === 1) this.#roundTrip = now - this.#firstSent
    if (message.class === 'error') this.#refusedBy(message, now)
    else this.#answered(message, now)
    return true
  }

  #begin(now: Milliseconds): void {
    this.#transaction = this.#options.random(TRANSACTION)
    this.#packet = new StunWriter('request', METHOD.binding, this.#transaction).finish()
    this.#tries = 0
    this.#firstSent = now
  }

  #answered(message: StunMessage, now: Milliseconds): void {
    const mapped = mappedAddress(message)
    if (!mapped) return this.#failed(now, 'refused', 'its answer makes no sense')
    const isOther = mapped.address !== this.#mapped?.address || mapped.port !== this.#mapped.port
    this.#mapped = mapped
    this.#other = this.#otherAddress(message)
    this.#transaction = undefined
    this.#retry = RETRY
    const spread = this.#options.random(2).readUInt16BE() / 65_536
    this.#at = now + KEEPALIVE.least + (KEEPALIVE.most - KEEPALIVE.least) * spread
    if (this.#become('known', '') || !isOther) return
    this.#events.changed()
  }

  #refusedBy(message: StunMessage, now: Milliseconds): void {
    const value = message.get(ATTRIBUTE.errorCode)
    const error = value && attempt(() => decodeError(value))
    const alternate = error?.code === ERROR.tryAlternate ? this.#alternate(message) : undefined
    if (!alternate)
      return this.#failed(now, 'refused', error ? `it refuses: ${error.code}` : 'its answer makes no sense')
    this.#hops++
    this.#server = alternate
    this.#transaction = undefined
    this.#at = now
    this.tick(now)
  }

  /** The server that this one names in its place; undefined where that is not to be followed. */
  #alternate(message: StunMessage): HostPort | undefined {
    const value = message.get(ATTRIBUTE.alternateServer)
    const to = value && attempt(() => decodeAddress(value))
    if (!to || this.#hops >= MAX_HOPS || !isBelievable(to)) return undefined
    return to.address.includes(':') === this.#server.address.includes(':') ? to : undefined
  }

  #otherAddress(message: StunMessage): HostPort | undefined {
    const value = message.get(ATTRIBUTE.otherAddress)
    const other = value && attempt(() => decodeAddress(value))
    if (!other || !isBelievable(other) || other.address === this.#server.address) return undefined
    return other.address.includes(':') === this.#server.address.includes(':') ? other : undefined
  }

  #failed(now: Milliseconds, state: 'silent' | 'refused', detail: string): void {
    this.#transaction = undefined
    this.#server = this.#options.server
    this.#hops = 0
    this.#at = now + this.#retry
    this.#retry = Math.min(this.#retry * 2, MAX_RETRY)
    this.#become(state, detail)
  }

  /** True when that is new, and was told. */
  #become(state: BindingState, detail: string): boolean {
    if (state === this.#state && detail === this.#detail) return false
    this.#state = state
    this.#detail = detail
    this.#events.changed()
    return true
  }
}

/** The address in an answer, unless it is one that no host outside can have seen. */
function mappedAddress(message: StunMessage): HostPort | undefined {
  if (unknownAttributes(message).length > 0) return undefined
  const xored = message.get(ATTRIBUTE.xorMappedAddress)
  const plain = message.get(ATTRIBUTE.mappedAddress)
  const mapped = attempt(() => (xored ? decodeXorAddress(xored, message.transaction) : plain && decodeAddress(plain)))
  return mapped && isBelievable(mapped) ? mapped : undefined
}

function isBelievable({ address, port }: HostPort): boolean {
  const scope = scopeOf(address)
  return port > 0 && scope !== 'loopback' && scope !== 'link-local' && !isMulticast(address)
}

/** Class D and above, limited broadcast included; ff00::/8. */
function isMulticast(address: string): boolean {
  return address.includes(':') ? /^ff/i.test(address) : Number(address.split('.', 1)[0]) >= 224
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
