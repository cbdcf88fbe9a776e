import type { Clock, Timer } from '../clock.ts'
import { scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { KnownAddress } from '../peers/peer-book.ts'
import type { Carrier, HostPort, Milliseconds, PeerId, Route } from '../types.ts'
import { sortCandidates } from './candidates.ts'
import { isNear, rankOf } from './route.ts'

/** When a better way is dialled for the first time, by the host with the lower peer id; the other one lets it go first. */
const FIRST: Milliseconds = 400
const SECOND: Milliseconds = 1600
/** The pause grows by this factor, up to the last, and begins anew when there is news. */
const GROWTH = 4
const LONGEST: Milliseconds = 300_000

interface UpgradesOptions {
  readonly self: PeerId
  readonly clock: Clock
  readonly interfaces: () => readonly NetworkInterface[]
  readonly addressesOf: (peer: PeerId) => readonly KnownAddress[]
  /** Where packets reach the peer without a NAT of its own: what answers UDP there may answer TCP. */
  readonly openAddress: (peer: PeerId) => HostPort | undefined
  /** How the session with a peer travels; undefined where it has none, or looks for a link. */
  readonly present: (peer: PeerId) => { readonly route: Route; readonly carrier: Carrier } | undefined
  /** Dials the addresses and moves the session to the first that answers. */
  readonly upgrade: (peer: PeerId, addresses: readonly HostPort[]) => Promise<void>
}

/** Looks for TCP links that are better than what sessions travel on: on a network of ours, or straight to where no NAT is before the peer. */
export class Upgrades {
  readonly #options: UpgradesOptions
  readonly #timers = new Map<PeerId, Timer>()
  /** The better addresses that each peer was seen at last. */
  readonly #tried = new Map<PeerId, string>()
  #isStopped = false

  constructor(options: UpgradesOptions) {
    this.#options = options
  }

  /** There is news: a session began or changed its route, its peer was seen, or the network changed. */
  news(peer: PeerId): void {
    const { self } = this.#options
    this.#plan(peer, self < peer ? FIRST : SECOND)
  }

  /** The peer was seen somewhere: that is news only where its address is. */
  seen(peer: PeerId): void {
    const better = this.#better(peer)
      .map(({ address, port }) => `${address} ${port}`)
      .join()
    if (better === '' || better === this.#tried.get(peer)) return
    this.#tried.set(peer, better)
    this.news(peer)
  }

  /** Safe to call twice. */
  stop(): void {
    this.#isStopped = true
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
  }

  #plan(peer: PeerId, pause: Milliseconds): void {
    this.#timers.get(peer)?.cancel()
    this.#timers.delete(peer)
    if (this.#isStopped) return
    if (!this.#isImprovable(peer)) return void this.#tried.delete(peer)
    const timer = this.#options.clock.after(pause, () => void this.#try(peer, pause))
    this.#timers.set(peer, timer)
  }

  async #try(peer: PeerId, pause: Milliseconds): Promise<void> {
    this.#timers.delete(peer)
    const addresses = this.#better(peer)
    if (addresses.length > 0) await this.#options.upgrade(peer, addresses)
    if (!this.#timers.has(peer)) this.#plan(peer, Math.min(LONGEST, pause * GROWTH))
  }

  /** TCP on a LAN is as good as it gets. */
  #isImprovable(peer: PeerId): boolean {
    const present = this.#options.present(peer)
    return present !== undefined && !(present.route === 'lan' && present.carrier === 'tcp')
  }

  #better(peer: PeerId): readonly HostPort[] {
    const { present, addressesOf, openAddress, interfaces } = this.#options
    const now = present(peer)
    if (!now || !this.#isImprovable(peer)) return []
    const wantsDirect = rankOf(now.route) > rankOf('direct') || (now.route === 'direct' && now.carrier === 'udx')
    const isBetter = ({ address }: HostPort): boolean =>
      isNear(address, interfaces()) || (wantsDirect && scopeOf(address) === 'global')
    const better = sortCandidates(addressesOf(peer), interfaces()).filter(isBetter)
    const open = wantsDirect ? openAddress(peer) : undefined
    return open ? [...better, open] : better
  }
}
