import type { HostPort, Milliseconds } from '../../types.ts'
import { decodeAddress, decodeXorAddress } from './attributes.ts'
import { type StunMessage, StunWriter, TRANSACTION } from './message.ts'
import { ATTRIBUTE, METHOD } from './registry.ts'

/** Waits for the answers to the requests of one test, one after the other: a second in all, which is what people wait for gladly. */
const WAITS: readonly Milliseconds[] = [150, 300, 550]
/** CHANGE-REQUEST (RFC 5780 section 7.2): the answer shall come from another address and port, or another port. */
const CHANGE = { both: 6, port: 2 } as const

/** How a NAT assigns ports (RFC 4787 section 4.1), and whom it lets in (section 5). */
export type Dependence =
  | 'none'
  | 'endpoint-independent'
  | 'address-dependent'
  | 'address-and-port-dependent'
  | 'unknown'

/** What a server found out about the NAT before this host. */
export interface NatBehaviour {
  /** False: no answer came at all. */
  readonly udp: boolean
  /** How the server sees this host. */
  readonly mapped: HostPort | undefined
  /** `none`: there is no NAT. `unknown`: the server has no second address. */
  readonly mapping: Dependence
  readonly filtering: Dependence
  /** What is sent to our own outer address comes back in; undefined where there is no NAT. */
  readonly hairpin: boolean | undefined
}

interface BehaviourOptions {
  /** IPv4 or IPv6, of a server that does RFC 5780. */
  readonly server: HostPort
  /** Our own address and port on that way; whoever is seen so has no NAT. */
  readonly own: HostPort
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
  readonly output: (packet: Buffer, to: HostPort) => void
}

/** One question: what it changes, where it goes, and what its answer, or the lack of one, means. */
interface Question {
  readonly to: HostPort
  readonly change?: number
  readonly answered: (mapped: HostPort | undefined, message: StunMessage) => Question | undefined
  readonly silent: () => Question | undefined
}

const isSame = (a: HostPort | undefined, b: HostPort | undefined): boolean =>
  a !== undefined && a.address === b?.address && a.port === b.port

/**
 * NAT behaviour discovery (RFC 5780 section 4), free of I/O, from a socket of its own: what it has sent to must not have been sent to before.
 * Sends at most 18 packets, to the server, to the address that the server names as its other one, and to its own outer address; ends within
 * 6 s. The server is believed only where it answers to a transaction of ours.
 */
export class BehaviourTest {
  readonly #options: BehaviourOptions
  #question: Question | undefined
  #transaction: Buffer = Buffer.alloc(0)
  #sent = 0
  #at: Milliseconds
  #result: { -readonly [K in keyof NatBehaviour]: NatBehaviour[K] } = {
    udp: false,
    mapped: undefined,
    mapping: 'unknown',
    filtering: 'unknown',
    hairpin: undefined,
  }

  constructor(options: BehaviourOptions, now: Milliseconds) {
    this.#options = options
    this.#at = now
    this.#ask(this.#first(), now)
  }

  /** What was found out, once that is all; undefined before. */
  get result(): NatBehaviour | undefined {
    return this.#question ? undefined : this.#result
  }

  /** When `tick` is to be called next. */
  get deadline(): Milliseconds {
    return this.#question ? this.#at : Number.POSITIVE_INFINITY
  }

  tick(now: Milliseconds): void {
    const question = this.#question
    if (!question || now < this.#at) return
    const wait = WAITS[this.#sent]
    if (wait === undefined) return this.#ask(question.silent(), now)
    this.#sent++
    this.#at = now + wait
    const writer = new StunWriter('request', METHOD.binding, this.#transaction)
    if (question.change !== undefined) writer.add(ATTRIBUTE.changeRequest, question.change)
    this.#options.output(writer.finish(), question.to)
  }

  /** Takes a message that came to the socket; who sent it tells nothing, since answers may come from elsewhere. */
  receive(message: StunMessage, now: Milliseconds): void {
    const question = this.#question
    if (!question || message.method !== METHOD.binding || !message.transaction.equals(this.#transaction)) return
    // Our own request: it came back through the NAT.
    if (message.class === 'request') return this.#ask(question.answered(undefined, message), now)
    if (message.class === 'success') this.#ask(question.answered(mappedAddress(message), message), now)
    else if (message.class === 'error') this.#ask(question.silent(), now)
  }

  #ask(question: Question | undefined, now: Milliseconds): void {
    this.#question = question
    this.#transaction = this.#options.random(TRANSACTION)
    this.#sent = 0
    this.#at = now
    if (question) this.tick(now)
  }

  /** Test I (section 4.3): how the server sees us, and whether it can tell more. */
  #first(): Question {
    const { server, own } = this.#options
    return {
      to: server,
      answered: (mapped, message) => {
        if (!mapped) return undefined
        this.#result.udp = true
        this.#result.mapped = mapped
        const other = otherAddress(message, server)
        const isNatted = !isSame(mapped, own)
        if (!isNatted) this.#result.mapping = 'none'
        const rest = (): Question | undefined => (isNatted ? this.#mapping(mapped, other) : undefined)
        return other ? this.#filtering(rest) : rest()
      },
      silent: () => undefined,
    }
  }

  /** Section 4.4, before anything is sent to the other addresses: who gets in that we have not sent to. */
  #filtering(rest: () => Question | undefined): Question {
    const { server } = this.#options
    const found = (filtering: Dependence): Question | undefined => {
      this.#result.filtering = filtering
      return rest()
    }
    return {
      to: server,
      change: CHANGE.both,
      answered: () => found('endpoint-independent'),
      silent: () => ({
        to: server,
        change: CHANGE.port,
        answered: () => found('address-dependent'),
        silent: () => found('address-and-port-dependent'),
      }),
    }
  }

  /** Tests II and III (section 4.3): the other address on the same port, then on the other port. */
  #mapping(first: HostPort, other: HostPort | undefined): Question {
    const { server } = this.#options
    const hairpin = (): Question => this.#hairpin(first)
    const found = (mapping: Dependence): Question => {
      this.#result.mapping = mapping
      return hairpin()
    }
    if (!other) return hairpin()
    return {
      to: { address: other.address, port: server.port },
      silent: hairpin,
      answered: (second) => {
        if (isSame(second, first)) return found('endpoint-independent')
        return {
          to: other,
          silent: hairpin,
          answered: (third) => found(isSame(third, second) ? 'address-dependent' : 'address-and-port-dependent'),
        }
      },
    }
  }

  /** Section 4.5: whether the NAT leads back what is sent to our own outer address. */
  #hairpin(mapped: HostPort): Question {
    const found = (hairpin: boolean): undefined => {
      this.#result.hairpin = hairpin
      return undefined
    }
    return { to: mapped, answered: () => found(true), silent: () => found(false) }
  }
}

function mappedAddress(message: StunMessage): HostPort | undefined {
  const value = message.get(ATTRIBUTE.xorMappedAddress)
  return value && read(() => decodeXorAddress(value, message.transaction))
}

/** The server's other address: another one of the same family, on another port, or nothing can be learned from it. */
function otherAddress(message: StunMessage, server: HostPort): HostPort | undefined {
  const value = message.get(ATTRIBUTE.otherAddress)
  const other = value && read(() => decodeAddress(value))
  if (!other || other.port === 0 || other.address === server.address) return undefined
  return other.address.includes(':') === server.address.includes(':') ? other : undefined
}

function read<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch {
    return undefined
  }
}
