import { PartylineError } from '../errors.ts'
import type { LocalCandidate } from '../nat/candidate.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import type { NetworkInterface } from '../network/network.ts'
import { type Openness, type PeerPolicy, SHARES, type Share } from '../peers/peer-policy.ts'
import type { PeerId, Trust } from '../types.ts'
import { mayLeave, tellable, tellableAddresses } from './disclosure.ts'
import { isOnLan, type LinkEnds, type Origin, originOf } from './origin.ts'

/** What may be done over metered networks. */
export const ON_METERED = ['all', 'messages', 'nothing'] as const
export type OnMetered = (typeof ON_METERED)[number]

/** What goes over a link: messages are small; streams, files and what is relayed for others are bulk. */
export type Use = 'messages' | 'bulk'

/** What the settings say now. */
export interface PolicySettings {
  readonly open: Readonly<Record<Origin, Openness>>
  readonly share: Share
  /** Whether ways through NAT are looked for at all. */
  readonly punch: boolean
  readonly onMetered: OnMetered
  /** Whether friends may use this host as a relay, and have it carry their signals. */
  readonly relays: boolean
  readonly carries: boolean
}

/** What becomes of a peer that wants to open a session. */
export type Decision = 'admit' | 'ask' | 'refuse'

/** A decision's value and whose it is. */
export interface Ruling<T> {
  readonly value: T
  readonly by: 'trust' | 'peer' | 'once' | 'settings'
}

/** Where packets leave and go to; without `to` anywhere on the internet. */
export interface Way {
  readonly from?: string
  readonly to?: string
}

interface PolicyOptions {
  readonly settings: () => PolicySettings
  /** What the owner said of a peer. */
  readonly peer: (peer: PeerId) => { readonly trust: Trust; readonly policy: PeerPolicy }
  /** What peers may learn, of all for whom that was decided. */
  readonly shares: () => Iterable<Share>
  /** The owner has let it in, for a while. */
  readonly isGranted: (peer: PeerId) => boolean
  readonly interfaces: () => readonly NetworkInterface[]
  /** The interfaces that a peer is seen on now. */
  readonly seenOn: (peer: PeerId) => readonly string[]
  /** True where packets that leave from an address of ours, or go to one of others, go over a metered network. */
  readonly isMetered: (way: Way) => boolean
}

/**
 * Who may do what: the one place that decides, from the settings, from what the owner said of the peer, and from where it comes. A blocked peer
 * gets nothing, a trusted one may open sessions; else what was said of the peer goes before the settings.
 */
export class Policy {
  readonly #options: PolicyOptions

  constructor(options: PolicyOptions) {
    this.#options = options
  }

  // Who may open a session

  /** What becomes of a peer that opens a session from there. */
  decide(peer: PeerId, origin: Origin): Ruling<Decision> {
    const { settings, peer: said, isGranted } = this.#options
    const { trust, policy } = said(peer)
    if (trust === 'blocked') return { value: 'refuse', by: 'trust' }
    if (trust === 'trusted') return { value: 'admit', by: 'trust' }
    const by = policy.open === undefined ? 'settings' : 'peer'
    const openness = policy.open ?? settings().open[origin]
    if (openness === 'open') return { value: 'admit', by }
    if (isGranted(peer)) return { value: 'admit', by: 'once' }
    return { value: openness === 'ask' ? 'ask' : 'refuse', by }
  }

  originOf(link: LinkEnds): Origin {
    return originOf(link, this.#options.interfaces())
  }

  /** Of an address without a link. */
  originAt(address: string): Origin {
    return isOnLan(address, this.#options.interfaces()) ? 'lan' : 'internet'
  }

  /** Of a peer that is known by a signal only: it is on our LAN where it is seen there. */
  originOfPeer(peer: PeerId): Origin {
    return this.#networksWith(peer).length > 0 ? 'lan' : 'internet'
  }

  // What a peer may learn

  /** `peer` undefined: somebody who is not known yet. */
  share(peer: PeerId | undefined): Ruling<Share> {
    const { settings, peer: said } = this.#options
    const { share, punch } = settings()
    const { trust, policy } = peer === undefined ? { trust: 'unknown', policy: {} as PeerPolicy } : said(peer)
    if (trust === 'blocked') return { value: 'none', by: 'trust' }
    if (!punch) return { value: 'none', by: 'settings' }
    return policy.share === undefined ? { value: share, by: 'settings' } : { value: policy.share, by: 'peer' }
  }

  /** The most that any peer may learn: no more is to be found out. */
  widestShare(): Share {
    const { settings, shares } = this.#options
    const { share, punch } = settings()
    if (!punch) return 'none'
    const all = new Set([share, ...shares()])
    return SHARES.find((one) => all.has(one)) ?? 'none'
  }

  /** The candidates that a peer may be told of. */
  candidates(peer: PeerId | undefined, all: readonly LocalCandidate[]): readonly LocalCandidate[] {
    const { isMetered } = this.#options
    const isIdle = this.#isIdleOnMetered
    const used = isIdle ? all.filter(({ kind, address }) => kind !== 'host' || !isMetered({ from: address })) : all
    return tellable(used, this.share(peer).value, this.#isSharedWith(peer))
  }

  /** The addresses of interfaces that a peer may be told of. */
  addresses(peer: PeerId | undefined, all: readonly string[]): readonly string[] {
    return tellableAddresses(all, this.share(peer).value, this.#isSharedWith(peer))
  }

  /** True where a packet for a peer may leave towards an address. */
  mayLeave(peer: PeerId, to: TransportAddress): boolean {
    return mayLeave(to, this.share(peer).value, this.#isSharedWith(peer))
  }

  /**
   * True where a peer's address may be dialled. With `none` no way is looked for and nothing is told; what is known is dialled all the same,
   * while with `relay` the peer is not to learn from where.
   */
  mayDial(peer: PeerId, address: string): boolean {
    const { value } = this.share(peer)
    if (this.#isIdleOnMetered && this.#options.isMetered({ to: address })) return false
    return value !== 'relay' || this.originAt(address) === 'lan'
  }

  /** True where it may be asked at an address whether a peer is there. */
  mayAsk(peer: PeerId, address: string): boolean {
    return this.originAt(address) === 'lan' || this.addresses(peer, [address]).length > 0
  }

  // What may be used for it

  /** False where the link goes over a metered network that is not for this. */
  mayUse({ local, remote, path }: LinkEnds, use: Use): boolean {
    const { settings, isMetered } = this.#options
    const { onMetered } = settings()
    if (onMetered === 'all' || (onMetered === 'messages' && use === 'messages')) return true
    if (!path) return !isMetered({ from: local.address, to: remote.address })
    return !isMetered(path.to.relay === undefined ? { to: path.to.address } : {})
  }

  /** Throws `policy.metered` where a link is not to be used for that. */
  checkUse(link: LinkEnds, use: Use): void {
    if (!this.mayUse(link, use))
      throw new PartylineError('policy.metered', 'the network that leads to the peer is metered, and kept for messages')
  }

  /** True where a peer may use this host as a relay. */
  mayRelay(peer: PeerId): Ruling<boolean> {
    const { settings, peer: said, isMetered } = this.#options
    const { trust, policy } = said(peer)
    if (trust !== 'trusted') return { value: false, by: 'trust' }
    const { relays, onMetered } = settings()
    if (!relays || (onMetered !== 'all' && isMetered({}))) return { value: false, by: 'settings' }
    return policy.relay === undefined ? { value: true, by: 'settings' } : { value: policy.relay, by: 'peer' }
  }

  /** True where this host carries signals for a peer. */
  mayCarry(peer: PeerId): Ruling<boolean> {
    const { settings, peer: said } = this.#options
    const { trust, policy } = said(peer)
    if (trust !== 'trusted') return { value: false, by: 'trust' }
    if (!settings().carries) return { value: false, by: 'settings' }
    return policy.signals === undefined ? { value: true, by: 'settings' } : { value: policy.signals, by: 'peer' }
  }

  get #isIdleOnMetered(): boolean {
    return this.#options.settings().onMetered === 'nothing'
  }

  /** Addresses on the networks that a peer is seen on. */
  #isSharedWith(peer: PeerId | undefined): (address: string) => boolean {
    if (peer === undefined) return () => false
    let common: readonly NetworkInterface[] | undefined
    return (address) => {
      common ??= this.#networksWith(peer)
      return common.length > 0 && isOnLan(address, common)
    }
  }

  #networksWith(peer: PeerId): readonly NetworkInterface[] {
    const { seenOn, interfaces } = this.#options
    const names = seenOn(peer)
    return interfaces().filter(({ name, participating }) => participating && names.includes(name))
  }
}
