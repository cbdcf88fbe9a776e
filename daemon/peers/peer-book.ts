import type { PeerView } from '../../ipc/methods.ts'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { Logger } from '../logger.ts'
import type { DiscoveryName, HostPort, Milliseconds, PeerId, Route, Sighting, Trust } from '../types.ts'
import { readBook, writeBook } from './book-file.ts'
import { resolvePeer } from './peer-names.ts'
import { PeerRecord } from './peer-record.ts'

/** Most peers nobody vouches for: never proven, not named, not trusted. */
export const MAX_UNPROVEN = 10_000
/** Most peers in all. */
export const MAX_PEERS = 50_000
/** A sighting that its method neither repeated nor took back for this long is dropped. */
const SIGHTING_LIFETIME: Milliseconds = 600_000
const SWEEP_INTERVAL: Milliseconds = 60_000
/** Changes wait this long to be written together; decisions of the user do not wait. */
const SAVE_DELAY: Milliseconds = 1000

interface BookOptions {
  readonly self: PeerId
  readonly clock: Clock
  readonly logger: Logger
  /** Where it is kept; without one it is kept in memory only. */
  readonly file?: string
}

/** An address to dial a peer at, and where it comes from. */
export interface KnownAddress extends HostPort {
  /** The interface it was seen on; empty for one that is only remembered. */
  readonly interface: string
  /** Where its last session went. */
  readonly lastGood: boolean
}

type ChangeListener = (peer: PeerId, change: 'changed' | 'gone') => void

/** Every peer known: sightings, trust, petname, last addresses. */
export class PeerBook {
  readonly #options: BookOptions
  /** Oldest first: a peer that is seen again goes to the end. */
  readonly #records = new Map<PeerId, PeerRecord>()
  /** Those nobody vouches for, in the same order. */
  readonly #unproven = new Set<PeerId>()
  readonly #listeners = new Set<ChangeListener>()
  #saveTimer: Timer | undefined
  #sweepTimer: Timer
  #saving: Promise<void> = Promise.resolve()

  private constructor(options: BookOptions, records: readonly PeerRecord[]) {
    this.#options = options
    for (const record of records) if (record.id !== options.self) this.#records.set(record.id, record)
    this.#sweepTimer = options.clock.after(SWEEP_INTERVAL, () => this.#sweep())
  }

  /** Reads the book. Throws `local.peers-damaged`. */
  static async open(options: BookOptions): Promise<PeerBook> {
    return new PeerBook(options, options.file ? await readBook(options.file) : [])
  }

  /** Writes what is left to write and stops. */
  async close(): Promise<void> {
    this.#sweepTimer.cancel()
    if (this.#saveTimer) await this.#save()
    await this.#saving
  }

  /** Calls `listener` when what `list` shows of a peer changes, ages aside; returns the way to stop that. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  // What discovery tells

  seen(sighting: Sighting): void {
    const { self, clock } = this.#options
    if (sighting.peer === self) return
    const record = this.#recordOf(sighting.peer)
    const wasListed = record.listed
    const isNew = record.see(sighting, clock.now())
    const renamed = this.#rename(record, sighting.name, sighting.proven)
    record.lastSeen = clock.wall()
    if (sighting.proven && !record.proven) this.#vouch(record)
    if (isNew || renamed || !wasListed) this.#tell(record)
  }

  gone(peer: PeerId, method: DiscoveryName, interfaceName: string, address?: string): void {
    const record = this.#records.get(peer)
    if (record?.unsee(method, interfaceName, address)) this.#tell(record)
  }

  // What links and sessions tell

  /** The peer's key has proven itself over a link: its name is a fact now, and the address is worth remembering. */
  connected(peer: PeerId, name: string, route: Route, address: HostPort | undefined): void {
    const record = this.#recordOf(peer)
    this.#rename(record, name, true)
    record.connection = { route, rtt: undefined }
    record.lastSeen = this.#options.clock.wall()
    if (address) record.remember(address)
    this.#vouch(record)
    this.#saveSoon()
    this.#tell(record)
  }

  disconnected(peer: PeerId): void {
    const record = this.#records.get(peer)
    if (!record?.connection) return
    record.connection = undefined
    this.#tell(record)
  }

  measured(peer: PeerId, rtt: Milliseconds): void {
    const connection = this.#records.get(peer)?.connection
    if (connection) connection.rtt = rtt
  }

  // What the user decides: written down before it returns

  async setPetname(peer: PeerId, petname: string): Promise<void> {
    const clean = cleanName(petname)
    if (clean !== petname || isPeerId(petname))
      throw new PartylineError('usage.invalid-argument', `${JSON.stringify(petname)} cannot be a petname`)
    for (const other of this.#records.values())
      if (petname !== '' && other.id !== peer && other.petname === petname)
        throw new PartylineError('usage.invalid-argument', `${other.id.slice(0, 12)} is already called ${petname}`)
    const record = this.#recordOf(peer)
    record.petname = petname
    await this.#decided(record)
  }

  async setTrust(peer: PeerId, trust: Trust): Promise<void> {
    const record = this.#recordOf(peer)
    record.trust = trust
    await this.#decided(record)
  }

  async forget(peer: PeerId): Promise<void> {
    if (!this.#records.delete(peer)) return
    this.#unproven.delete(peer)
    await this.#save()
    for (const listener of this.#listeners) listener(peer, 'gone')
  }

  // What others ask

  /** The peer meant by a petname, a name, a peer id or a prefix of one. Throws `peer.not-found` or `usage.ambiguous-peer`. */
  resolve(text: string): PeerId {
    return resolvePeer(text, this.#records)
  }

  /** Everyone who is there, and everyone trusted, named or blocked. */
  list(): PeerView[] {
    const now = this.#options.clock.now()
    return [...this.#records.values()].filter((record) => record.listed).map((record) => record.view(now))
  }

  /** One peer; one that nothing is known of is `away`. */
  get(peer: PeerId): PeerView {
    return (this.#records.get(peer) ?? new PeerRecord(peer)).view(this.#options.clock.now())
  }

  isBlocked(peer: PeerId): boolean {
    return this.#records.get(peer)?.trust === 'blocked'
  }

  isPresent(peer: PeerId): boolean {
    return this.#records.get(peer)?.present ?? false
  }

  counts(): { seen: number; connected: number; away: number } {
    const counts = { seen: 0, connected: 0, away: 0 }
    for (const { state } of this.list()) counts[state]++
    return counts
  }

  /** Where to dial a peer: where it is seen now, newest first, then where it was before. */
  addresses(peer: PeerId): KnownAddress[] {
    const record = this.#records.get(peer)
    if (!record) return []
    const [last] = record.remembered
    const isLast = ({ address, port }: HostPort): boolean => address === last?.address && port === last.port
    const found = new Map<string, KnownAddress>()
    const add = (at: HostPort, interfaceName: string): void => {
      const key = `${at.address} ${at.port}`
      if (!found.has(key))
        found.set(key, { address: at.address, port: at.port, interface: interfaceName, lastGood: isLast(at) })
    }
    for (const { sighting } of [...record.sightings()].reverse()) add(sighting, sighting.interface)
    for (const address of record.remembered) add(address, '')
    return [...found.values()]
  }

  /** The last address of each peer that has one, those seen last first: where to look at start. */
  remembered(limit: number): { peer: PeerId; address: string; port: number }[] {
    return [...this.#records.values()]
      .filter((record) => record.remembered.length > 0 && record.trust !== 'blocked')
      .sort((a, b) => b.lastSeen - a.lastSeen)
      .slice(0, limit)
      .flatMap(({ id, remembered: [last] }) => (last ? [{ peer: id, ...last }] : []))
  }

  #recordOf(peer: PeerId): PeerRecord {
    const known = this.#records.get(peer)
    if (known) {
      this.#records.delete(peer)
      this.#records.set(peer, known)
      if (this.#unproven.delete(peer)) this.#unproven.add(peer)
      return known
    }
    const record = new PeerRecord(peer)
    this.#records.set(peer, record)
    this.#unproven.add(peer)
    this.#makeRoom(peer)
    return record
  }

  /** Bounds the book: strangers go first, oldest first; then the proven that are neither there, trusted nor named. */
  #makeRoom(keep: PeerId): void {
    const [oldest] = this.#unproven
    if (this.#unproven.size > MAX_UNPROVEN && oldest && oldest !== keep) this.#evict(oldest)
    if (this.#records.size <= MAX_PEERS) return
    const idle = [...this.#records.values()].find((record) => !record.listed && record.id !== keep)
    if (idle) this.#evict(idle.id)
  }

  #evict(peer: PeerId): void {
    const record = this.#records.get(peer)
    this.#records.delete(peer)
    this.#unproven.delete(peer)
    if (record?.listed) for (const listener of this.#listeners) listener(peer, 'gone')
  }

  #vouch(record: PeerRecord): void {
    record.proven = true
    this.#unproven.delete(record.id)
  }

  /** A name that was only claimed never replaces a proven one. */
  #rename(record: PeerRecord, claimed: string, proven: boolean): boolean {
    const name = cleanName(claimed)
    if (name === '' || name === record.name || (record.proven && !proven)) return false
    record.name = name
    return true
  }

  async #decided(record: PeerRecord): Promise<void> {
    if (record.precious) this.#unproven.delete(record.id)
    else this.#unproven.add(record.id)
    await this.#save()
    this.#tell(record)
  }

  #tell(record: PeerRecord): void {
    for (const listener of this.#listeners) listener(record.id, record.listed ? 'changed' : 'gone')
  }

  #sweep(): void {
    const before = this.#options.clock.now() - SIGHTING_LIFETIME
    for (const record of this.#records.values()) if (record.expire(before)) this.#tell(record)
    this.#sweepTimer = this.#options.clock.after(SWEEP_INTERVAL, () => this.#sweep())
  }

  #saveSoon(): void {
    this.#saveTimer ??= this.#options.clock.after(SAVE_DELAY, () => {
      this.#save().catch((error: Error) =>
        this.#options.logger.warn('the peer book could not be written', { error: error.message }),
      )
    })
  }

  /** One write at a time, in order. */
  #save(): Promise<void> {
    this.#saveTimer?.cancel()
    this.#saveTimer = undefined
    const { file } = this.#options
    if (!file) return Promise.resolve()
    const write = (): Promise<void> =>
      writeBook(
        file,
        [...this.#records.values()].filter((record) => record.precious),
      )
    this.#saving = this.#saving.then(write, write)
    return this.#saving
  }
}
