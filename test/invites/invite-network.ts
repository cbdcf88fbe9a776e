import { randomBytes } from 'node:crypto'
import { PartylineError } from '../../daemon/errors.ts'
import { Invitations } from '../../daemon/invites/invitations.ts'
import { Invites } from '../../daemon/invites/invites.ts'
import { decodeJoin, JOIN_TOPIC, type JoinMessage } from '../../daemon/invites/join-message.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { Offer } from '../../daemon/nat/by-hand.ts'
import { PeerBook } from '../../daemon/peers/peer-book.ts'
import { NO_WAYS, type Ways } from '../../daemon/peers/ways.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { SignallerName } from '../../daemon/signaling/signaller.ts'
import { Signals } from '../../daemon/signaling/signals.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { Result } from '../../ipc/methods.ts'
import { newIdentity } from '../hub/hub-host.ts'
import { SimulatedCarrier } from '../signaling/simulated-signaller.ts'
import { VirtualClock } from '../virtual-clock.ts'

const STEP = 50

/** Hosts that join each other over signals, in virtual time. */
export class InviteNetwork {
  readonly clock = new VirtualClock()
  readonly carrier: SimulatedCarrier
  /** Lets what has begun happen; files take longer than memory. */
  breathe: () => Promise<unknown> = () => new Promise((resolve) => setImmediate(resolve))

  constructor(random: () => number = Math.random, faults: Partial<SimulatedCarrier['faults']> = {}) {
    this.carrier = new SimulatedCarrier(this.clock, random, faults)
  }

  host(name: string, options: HostOptions = {}): Promise<InviteHost> {
    return InviteHost.start(this, name, options)
  }

  /** Lets time pass, and all that follows from it happen. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP) {
      this.clock.advance(STEP)
      await this.breathe()
    }
  }

  /** Lets time pass until something has settled; what it came to. */
  async settled<T>(promise: Promise<T>, limit = 60_000): Promise<T> {
    let isSettled = false
    promise
      .catch(() => {})
      .finally(() => {
        isSettled = true
      })
    await this.breathe()
    for (let passed = 0; passed < limit && !isSettled; passed += STEP) await this.pass(STEP)
    if (!isSettled) throw new Error(`nothing came of it in ${limit} ms`)
    return promise
  }
}

interface HostOptions {
  readonly ways?: Ways
  /** Kept here; in memory unless told. */
  readonly file?: string
  readonly identity?: ReturnType<typeof newIdentity>
  readonly book?: PeerBook
  readonly signaller?: SignallerName
}

const DESCRIPTION: Offer['description'] = {
  kind: 'describe',
  instance: '0123456789abcdef',
  attempt: 1,
  version: 1,
  ufrag: 'abcdefgh',
  pwd: 'abcdefghijklmnopqrstuvwx',
  candidates: [],
  link: 7,
  calls: 1,
  network: { udp: true, mapping: 'same', relay: false },
  seen: null,
}

/** The invitations of one simulated host. */
export class InviteHost {
  readonly network: InviteNetwork
  readonly name: string
  readonly identity: ReturnType<typeof newIdentity>
  readonly book: PeerBook
  readonly invites: Invites
  readonly refusals = new Refusals()
  readonly events: { readonly name: string; readonly params: unknown }[] = []
  ways: Ways
  /** Hubs being visited, and those joined for good. */
  readonly visited: string[] = []
  readonly joined: string[] = []
  hubs: { peer: string; address: string; port: number; state: string; detail: string }[] = []
  /** Peers that a session was opened to, and what comes of it. */
  readonly dialled: PeerId[] = []
  openSession: (peer: PeerId) => Promise<unknown> = () =>
    Promise.reject(new PartylineError('network.unreachable', '10.9.9.9:1: the connection was refused'))
  /** What was met by hand, and how often candidates are wanted. */
  readonly met: { peer: PeerId; theirs: Offer['description']; offer: Offer | undefined }[] = []
  wants = 0
  /** Messages about joining that came. */
  readonly told: JoinMessage[] = []
  readonly #signals: Signals

  private constructor(
    network: InviteNetwork,
    name: string,
    identity: ReturnType<typeof newIdentity>,
    book: PeerBook,
    invitations: Invitations,
    ways: Ways,
    signaller: SignallerName | undefined,
  ) {
    const { clock, carrier } = network
    this.network = network
    this.name = name
    this.identity = identity
    this.book = book
    this.ways = ways
    const signals = new Signals({
      identity,
      clock,
      logger: silentLogger,
      refusals: this.refusals,
      isBlocked: book.isBlocked.bind(book),
      randomBytes,
    })
    this.#signals = signals
    signals.add(carrier.join(identity.peer, signaller))
    signals.handle(JOIN_TOPIC, (_, content) => this.told.push(decodeJoin(content)))
    this.invites = new Invites({
      identity,
      clock,
      logger: silentLogger,
      refusals: this.refusals,
      invitations,
      book,
      signals,
      hubs: {
        visit: (hub) => {
          this.visited.push(hub)
          return () => void this.visited.splice(this.visited.indexOf(hub), 1)
        },
        join: (hub) => void this.joined.push(hub),
        status: () => ({ hubs: this.hubs }),
      },
      nat: {
        gather: async () => {
          this.wants++
          return () => void this.wants--
        },
        offer: () => ({ credentials: { ufrag: 'abcdefgh', pwd: 'x'.repeat(24) }, stream: 7, description: DESCRIPTION }),
        meet: (peer, theirs, _, offer) => {
          this.met.push({ peer, theirs, offer })
          return { ...DESCRIPTION, ufrag: name.padEnd(8, 'x'), link: 0 }
        },
      },
      openSession: (peer) => {
        this.dialled.push(peer)
        return this.openSession(peer)
      },
      publish: (event, params) => void this.events.push({ name: event, params }),
      name: () => this.name,
      ways: () => this.ways,
    })
  }

  static async start(network: InviteNetwork, name: string, options: HostOptions): Promise<InviteHost> {
    const { clock } = network
    const { identity = newIdentity(), ways = NO_WAYS, file } = options
    const book = options.book ?? (await PeerBook.open({ self: identity.peer, clock, logger: silentLogger }))
    const invitations = await Invitations.open({ clock, randomBytes, ...(file !== undefined && { file }) })
    return new InviteHost(network, name, identity, book, invitations, ways, options.signaller)
  }

  get peer(): PeerId {
    return this.identity.peer
  }

  /** A ticket for an hour. */
  async invite(change: Partial<Parameters<Invites['create']>[0]> = {}): Promise<Result<'invites.create'>> {
    return this.invites.create({
      uses: 1,
      lifetime: 3_600_000,
      for: undefined,
      petname: '',
      offline: false,
      ...change,
    })
  }

  /** Joins with a ticket; what came of it, as a code where it is refused. */
  async join(ticket: string, options: Parameters<Invites['join']>[1] = {}): Promise<string> {
    const joining = this.invites.join(ticket, options).then(
      ({ state }) => state,
      (error: PartylineError) => error.code,
    )
    return this.network.settled(joining)
  }

  /** Sends a message about joining, whatever it is. */
  tell(peer: PeerId, content: Uint8Array): void {
    this.#signals.send(peer, JOIN_TOPIC, content)
  }

  trusts(other: InviteHost): boolean {
    return this.book.get(other.peer).trust === 'trusted'
  }

  /** The same home started again: what is not on disk is gone. */
  async restart(file: string): Promise<InviteHost> {
    this.invites.close()
    return InviteHost.start(this.network, this.name, {
      identity: this.identity,
      book: this.book,
      file,
      ways: this.ways,
    })
  }
}
