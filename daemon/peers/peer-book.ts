import type { PeerView } from '../../ipc/methods.ts'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { Logger } from '../logger.ts'
import {
  AVAILABLE,
  type DiscoveryName,
  type HostPort,
  type Milliseconds,
  type PeerId,
  type Presence,
  type Route,
  type Sighting,
  type Trust,
  type UnixMilliseconds,
} from '../types.ts'
import { isContactId } from '../xmpp/contacts.ts'
import { readBook, writeBook } from './book-file.ts'
import { resolvePeer } from './peer-names.ts'
import { NO_POLICY, type PeerPolicy, type Share } from './peer-policy.ts'
import { PeerRecord } from './peer-record.ts'
import { NO_WAYS, type Ways } from './ways.ts'

/** Most strangers: never proven, and nothing decided about them. Forged sightings reach no further. */
export const MAX_STRANGERS = 10_000
/** Most peers that have proven their key and about which nothing is decided. Those that are decided are as many as the user decides. */
export const MAX_PROVEN = 50_000
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
  readonly #records = new Map<PeerId, PeerRecord>()
  /** The two kinds of peers that may be forgotten, each oldest first: a peer that is seen again goes to the end. */
  readonly #strangers = new Set<PeerId>()
  readonly #proven = new Set<PeerId>()
  /** Peers about which something was decided in the place of the settings. */
  readonly #ruled = new Set<PeerRecord>()
  readonly #listeners = new Set<ChangeListener>()
  #saveTimer: Timer | undefined
  #sweepTimer: Timer
  /** The last write, begun or not. */
  #saving: Promise<void> = Promise.resolve()
  /** A write that has not begun: what changes until then goes with it. */
  #queued: Promise<void> | undefined
  #unsaved = false
  #closed = false

  private constructor(options: BookOptions, records: readonly PeerRecord[]) {
    this.#options = options
    for (const record of records) {
      if (record.id === options.self) continue
      this.#records.set(record.id, record)
      record.shown = record.listed
      this.#file(record)
    }
    this.#sweepTimer = options.clock.after(SWEEP_INTERVAL, () => this.#sweep())
  }

  /** This host, which is never in the book. */
  get self(): PeerId {
    return this.#options.self
  }

  /** Reads the book. Throws `local.peers-damaged`. */
  static async open(options: BookOptions): Promise<PeerBook> {
    return new PeerBook(options, options.file ? await readBook(options.file) : [])
  }

  /** Writes what is left to write and stops. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true
    this.#sweepTimer.cancel()
    await (this.#unsaved ? this.#save() : this.#saving).catch((error: Error) => this.#warnUnsaved(error))
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
    const isNew = record.see(sighting, clock.now())
    const renamed = this.#rename(record, sighting.name, sighting.proven)
    const proven = sighting.proven && !record.proven
    if (proven) record.proven = true
    record.lastSeen = clock.wall()
    this.#file(record)
    if (record.precious) {
      this.#unsaved = true
      if (proven || renamed) this.#saveSoon()
    }
    if (isNew || renamed || proven) this.#tell(record)
  }

  gone(peer: PeerId, method: DiscoveryName, interfaceName: string, address?: string): void {
    const record = this.#records.get(peer)
    if (record?.unsee(method, interfaceName, address)) this.#unseen(record)
  }

  /** What a peer that is there tells of being there. */
  setPresence(peer: PeerId, presence: Presence): void {
    const record = this.#records.get(peer)
    if (!record || (record.presence.show === presence.show && record.presence.text === presence.text)) return
    record.presence = presence
    this.#tell(record)
  }

  /** What stands in the way of a direct link to a peer that is there; empty for nothing known. */
  setNote(peer: PeerId, note: string): void {
    const record = this.#records.get(peer)
    if (!record || record.note === note) return
    record.note = note
    this.#tell(record)
  }

  // What links and sessions tell

  /** The peer's key has proven itself over a link: its name is a fact now, and the address is worth remembering. */
  connected(peer: PeerId, name: string, route: Route, address: HostPort | undefined): void {
    if (peer === this.#options.self) return
    const record = this.#recordOf(peer)
    const { connection, proven } = record
    const renamed = this.#rename(record, name, true)
    record.connection = { route, rtt: connection?.rtt }
    record.proven = true
    record.lastSeen = this.#options.clock.wall()
    if (address) record.remember(address)
    this.#file(record)
    this.#saveSoon()
    if (renamed || !proven || connection?.route !== route) this.#tell(record)
  }

  disconnected(peer: PeerId): void {
    const record = this.#records.get(peer)
    if (!record?.connection) return
    record.connection = undefined
    this.#unseen(record)
  }

  measured(peer: PeerId, rtt: Milliseconds): void {
    const connection = this.#records.get(peer)?.connection
    if (connection) connection.rtt = rtt
  }

  /** How a peer may be reached from anywhere, as it said in a session or in a ticket: in the place of what it said before. */
  setWays(peer: PeerId, ways: Ways): void {
    const record = this.#records.get(peer)
    if (!record || JSON.stringify(record.ways) === JSON.stringify(ways)) return
    record.ways = ways
    this.#saveSoon()
    this.#tell(record)
  }

  /**
   * A peer that may never have been seen is to be met, on the word of a ticket: it is known, and where it may be reached, until what this
   * returns is called.
   */
  expect(peer: PeerId, name: string, ways: Ways): () => void {
    const record = this.#recordOf(peer)
    record.expected++
    this.#rename(record, name, false)
    this.#file(record)
    this.setWays(peer, ways)
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      record.expected--
      if (this.#records.get(peer) !== record) return
      this.#file(record)
      if (record.isForgettable) this.#drop(record)
    }
  }

  // What the user decides: written down before it returns

  /**
   * A petname as it would be kept. Throws `usage.invalid-argument` for one that looks like an id, cannot be shown, or is another's than
   * that peer's.
   */
  checkPetname(petname: string, peer?: PeerId): string {
    const name = cleanName(petname)
    if (name !== petname.normalize('NFC').trim() || isPeerId(name) || isContactId(name))
      throw new PartylineError('usage.invalid-argument', `${JSON.stringify(petname)} cannot be a petname`)
    for (const other of name === '' ? [] : this.#records.values())
      if (other.id !== peer && other.petname === name)
        throw new PartylineError('usage.invalid-argument', `${other.id.slice(0, 12)} is already called ${name}`)
    return name
  }

  /** Empty takes it away. Throws as `checkPetname`. */
  async setPetname(peer: PeerId, petname: string): Promise<void> {
    const name = this.checkPetname(petname, peer)
    await this.#decide(peer, (record) => {
      if (record.petname === name) return false
      record.petname = name
      return true
    })
  }

  async setTrust(peer: PeerId, trust: Trust): Promise<void> {
    await this.#decide(peer, (record) => {
      if (record.trust === trust) return false
      record.trust = trust
      return true
    })
  }

  /** Decides things about a peer in the place of the settings: all there is; empty for nothing. */
  async setPolicy(peer: PeerId, policy: PeerPolicy): Promise<void> {
    await this.#decide(peer, (record) => {
      if (JSON.stringify(record.policy) === JSON.stringify(policy)) return false
      record.policy = policy
      return true
    })
  }

  /** Forgets everything about a peer; it is new when it is seen again. */
  async forget(peer: PeerId): Promise<void> {
    const record = this.#records.get(peer)
    if (!record) return
    this.#drop(record)
    await this.#save()
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

  trust(peer: PeerId): Trust {
    return this.#records.get(peer)?.trust ?? 'unknown'
  }

  /** What was decided about a peer in the place of the settings. */
  policy(peer: PeerId): PeerPolicy {
    return this.#records.get(peer)?.policy ?? NO_POLICY
  }

  /** What peers may learn of this host's addresses, of all for whom that was decided. */
  shares(): Share[] {
    return [...this.#ruled].flatMap(({ policy }) => policy.share ?? [])
  }

  /** The interfaces that a peer is seen on now. */
  seenOn(peer: PeerId): string[] {
    const sightings = this.#records.get(peer)?.sightings() ?? []
    return [...new Set(sightings.flatMap(({ interface: on }) => (on === '' ? [] : [on])))]
  }

  /** When a peer was last seen, by the wall clock; undefined for one that never was. */
  lastSeen(peer: PeerId): UnixMilliseconds | undefined {
    return this.#records.get(peer)?.lastSeen || undefined
  }

  /** Everyone whom the user trusts and who is on no network of ours and at no hub, those seen last first. */
  far(): PeerId[] {
    // Who answers at a remembered address, elsewhere, is seen, and far all the same.
    const isNear = ({ method, interface: on }: Sighting): boolean => on !== '' || method === 'hub'
    return [...this.#records.values()]
      .filter((record) => record.trust === 'trusted' && !record.sightings().some(isNear))
      .sort((a, b) => b.lastSeen - a.lastSeen)
      .map(({ id }) => id)
  }

  /** Everyone whom the user trusts. */
  trusted(): PeerId[] {
    return [...this.#records.values()].flatMap(({ id, trust }) => (trust === 'trusted' ? [id] : []))
  }

  /** How a peer may be reached from anywhere, as it says. */
  ways(peer: PeerId): Ways {
    return this.#records.get(peer)?.ways ?? NO_WAYS
  }

  isPresent(peer: PeerId): boolean {
    return this.#records.get(peer)?.present ?? false
  }

  counts(): { seen: number; connected: number; away: number } {
    const counts = { seen: 0, connected: 0, away: 0 }
    for (const record of this.#records.values()) if (record.listed) counts[record.state]++
    return counts
  }

  /** Where to dial a peer: where it is seen now, proven sightings first, newest first, then where it was before, then where it says it is reached from outside. */
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
    for (const sighting of record.sightings()) if (sighting.port > 0) add(sighting, sighting.interface)
    for (const address of record.remembered) add(address, '')
    // It says itself that it is reached there: of those who are not trusted nobody is dialled for that.
    if (record.trust === 'trusted' || record.expected > 0) for (const address of record.ways.addresses) add(address, '')
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
    if (known) return known
    const record = new PeerRecord(peer)
    this.#records.set(peer, record)
    return record
  }

  /** Puts a record among its kind, as the latest, and bounds that kind. */
  #file(record: PeerRecord): void {
    this.#strangers.delete(record.id)
    this.#proven.delete(record.id)
    if (Object.keys(record.policy).length > 0) this.#ruled.add(record)
    else this.#ruled.delete(record)
    if (record.decided || record.expected > 0) return
    const kind = record.proven ? this.#proven : this.#strangers
    kind.add(record.id)
    makeRoom(kind, record.proven ? MAX_PROVEN : MAX_STRANGERS, (peer) => {
      const oldest = this.#records.get(peer)
      if (oldest?.connection) return false
      if (oldest) this.#drop(oldest)
      return true
    })
  }

  /** Listeners hear of it while its name can still be asked for. */
  #drop(record: PeerRecord): void {
    if (record.shown) this.#emit(record, 'gone')
    this.#records.delete(record.id)
    this.#strangers.delete(record.id)
    this.#proven.delete(record.id)
    this.#ruled.delete(record)
  }

  /** Something that showed the peer has gone; a stranger that nothing shows any more is forgotten. */
  #unseen(record: PeerRecord): void {
    if (!record.present) {
      record.presence = AVAILABLE
      record.note = ''
    }
    this.#tell(record)
    if (record.isForgettable) this.#drop(record)
  }

  /** A name that was only claimed never replaces a proven one. */
  #rename(record: PeerRecord, claimed: string, proven: boolean): boolean {
    const name = cleanName(claimed)
    if (name === '' || name === record.name || (record.proven && !proven)) return false
    record.name = name
    return true
  }

  async #decide(peer: PeerId, change: (record: PeerRecord) => boolean): Promise<void> {
    if (peer === this.#options.self)
      throw new PartylineError('usage.invalid-argument', 'this is the id of this host itself')
    const record = this.#recordOf(peer)
    const changed = change(record)
    this.#file(record)
    if (changed) this.#tell(record)
    if (record.isForgettable) this.#drop(record)
    // Also what an earlier, failed write left behind.
    if (changed || this.#unsaved) await this.#save()
  }

  #tell(record: PeerRecord): void {
    if (record.listed || record.shown) this.#emit(record, record.listed ? 'changed' : 'gone')
  }

  #emit(record: PeerRecord, change: 'changed' | 'gone'): void {
    record.shown = change === 'changed'
    for (const listener of this.#listeners) listener(record.id, change)
  }

  #sweep(): void {
    const before = this.#options.clock.now() - SIGHTING_LIFETIME
    for (const record of this.#records.values()) if (record.expire(before)) this.#unseen(record)
    this.#sweepTimer = this.#options.clock.after(SWEEP_INTERVAL, () => this.#sweep())
  }

  #saveSoon(): void {
    this.#unsaved = true
    if (this.#closed) return
    this.#saveTimer ??= this.#options.clock.after(SAVE_DELAY, () => {
      this.#save().catch((error: Error) => this.#warnUnsaved(error))
    })
  }

  #warnUnsaved(error: Error): void {
    this.#options.logger.warn('the peer book could not be written', { error: error.message })
  }

  /** Resolves when all that is known now is on disk. One write at a time, in order; those that wait are one. */
  #save(): Promise<void> {
    this.#saveTimer?.cancel()
    this.#saveTimer = undefined
    this.#queued ??= this.#saving.then(
      () => this.#write(),
      () => this.#write(),
    )
    this.#saving = this.#queued
    return this.#queued
  }

  async #write(): Promise<void> {
    this.#queued = undefined
    this.#unsaved = false
    const { file } = this.#options
    if (!file) return
    try {
      await writeBook(
        file,
        [...this.#records.values()].filter((record) => record.precious),
      )
    } catch (error) {
      this.#unsaved = true
      throw error
    }
  }
}

/** Removes the oldest of a kind until it fits; `remove` tells of those that cannot go. */
function makeRoom(kind: ReadonlySet<PeerId>, limit: number, remove: (peer: PeerId) => boolean): void {
  if (kind.size <= limit) return
  for (const peer of kind) if (remove(peer) && kind.size <= limit) return
}
