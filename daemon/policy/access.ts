import type { Publish } from '../../ipc/api.ts'
import type { Clock } from '../clock.ts'
import type { SettingsStore } from '../config/store.ts'
import type { HelloInvite } from '../connect/greeting.ts'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Openness, Share } from '../peers/peer-policy.ts'
import type { Refusals } from '../refusals.ts'
import type { SignalExchange } from '../signaling/signaller.ts'
import type { PeerId } from '../types.ts'
import { Gate } from './gate.ts'
import { MeteredNetworks } from './metered.ts'
import { askNetworkManager } from './network-manager.ts'
import { decodeNotice, encodeNotice, NOTICE_TOPIC, type Notice } from './notice.ts'
import { Notifier } from './notifier.ts'
import type { LinkEnds } from './origin.ts'
import { PeerRates } from './peer-rates.ts'
import { type OnMetered, Policy, type PolicySettings } from './policy.ts'
import { type AccessRequest, AccessRequests } from './requests.ts'
import { type PolicyView, peerPolicyView, policyView } from './view.ts'
import { wayOut } from './way-out.ts'

interface AccessOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly settings: SettingsStore
  readonly book: PeerBook
  readonly interfaces: () => readonly NetworkInterface[]
  readonly platform: NodeJS.Platform
  readonly env: NodeJS.ProcessEnv
  readonly signals: () => SignalExchange
  /** True for the bearer of a ticket of ours that is good, or of whom we hold one. */
  readonly admitsBearer: (peer: PeerId, invite: HelloInvite | undefined) => boolean
  /** A peer that a session is opened to says that its owner was asked, or has let us in. */
  readonly onNotice: (peer: PeerId, notice: Notice) => void
  /** The policy says something else than before. */
  readonly onChange: () => void
  readonly publish: Publish
}

/** Who may do what here, built and wired: the policy and what it goes by, those who ask, and the gate where peers knock. */
export class Access {
  readonly policy: Policy
  readonly requests: AccessRequests
  readonly gate: Gate
  readonly metered: MeteredNetworks
  readonly #options: AccessOptions
  readonly #rates: PeerRates
  #stops: readonly (() => void)[] = []

  constructor(options: AccessOptions) {
    const { clock, logger, settings, book, interfaces, env, publish, onChange } = options
    this.#options = options
    const notifier = new Notifier({ ...options, isWanted: () => settings.get('notify.desktop') })
    this.requests = new AccessRequests({
      clock,
      onNew: (request) => {
        const { title, text } = this.#announcement(request)
        logger.info('a peer asks to be let in', { peer: request.peer, from: request.from })
        notifier.show(title, text)
      },
      onChange: () => publish('requests.changed', {}),
    })
    this.metered = new MeteredNetworks({
      clock,
      logger,
      interfaces,
      named: () => settings.get('policy.metered'),
      ask: () => askNetworkManager(env),
      leavesFrom: wayOut,
      onChange,
    })
    this.policy = new Policy({
      settings: () => policySettings(settings),
      peer: (peer) => ({ trust: book.trust(peer), policy: book.policy(peer) }),
      shares: () => book.shares(),
      isGranted: (peer) => this.requests.isGranted(peer),
      interfaces,
      seenOn: (peer) => book.seenOn(peer),
      isMetered: (way) => this.metered.isMetered(way),
    })
    this.#rates = new PeerRates(clock, (kind) => settings.get(`policy.rate-${kind}`))
    this.gate = new Gate({ ...options, policy: this.policy, requests: this.requests, rates: this.#rates })
  }

  /** What the settings say, or what it comes to for one peer. */
  view(peer?: PeerId): PolicyView {
    const { settings, book } = this.#options
    const parts = { policy: this.policy, settings, book, metered: () => this.metered.names() }
    return peer === undefined ? policyView(parts) : peerPolicyView(peer, parts)
  }

  /** Begins to listen to signals, and to what changes. */
  start(): void {
    const { clock, signals, settings, onChange, refusals } = this.#options
    const unhandle = signals().handle(NOTICE_TOPIC, (peer, content) => {
      try {
        this.#options.onNotice(peer, decodeNotice(content))
      } catch {
        refusals.count('peer.malformed')
      }
    })
    this.#stops = [unhandle, settings.onChange(onChange)]
    // Whoever waits for the daemon need not wait for this.
    clock.after(0, () => void this.metered.look())
  }

  /** Safe to call twice. */
  stop(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
    this.metered.stop()
  }

  /** True for a peer whose signals may make this host look for a way to it; where the owner is to be asked, he is. */
  welcomes(peer: PeerId): boolean {
    const { admitsBearer, book } = this.#options
    const from = this.policy.originOfPeer(peer)
    const { value } = this.policy.decide(peer, from)
    if (book.isBlocked(peer)) return false
    if (value === 'admit' || admitsBearer(peer, undefined)) return true
    if (value === 'refuse' || !this.#rates.take('requests', peer)) return false
    if (this.requests.ask({ peer, name: book.get(peer).name, from, address: '', by: undefined }))
      this.#notify(peer, 'asking')
    return false
  }

  /** True where a peer may open a stream in a session over these ends. */
  admitsStream(peer: PeerId, link: LinkEnds | undefined): boolean {
    return (!link || this.policy.mayUse(link, 'bulk')) && this.#rates.take('streams', peer)
  }

  /** A friend vouches for somebody: the owner decides. */
  introduced({ by, peer, name }: { readonly by: PeerId; readonly peer: PeerId; readonly name: string }): void {
    this.requests.ask({ peer, name, from: this.policy.originOfPeer(peer), address: '', by })
  }

  /** Lets in a peer: for a while, from now on, or as a trusted one. Throws `policy.blocked`. */
  async accept(peer: PeerId, how: 'once' | 'always' | 'trust'): Promise<void> {
    const { book } = this.#options
    if (book.isBlocked(peer)) throw new PartylineError('policy.blocked')
    if (how === 'once') this.requests.grant(peer)
    else {
      if (how === 'trust') await book.setTrust(peer, 'trusted')
      else await book.setPolicy(peer, { ...book.policy(peer), open: 'open' })
      this.requests.forget(peer)
    }
    this.#notify(peer, 'accepted')
  }

  /** Does not let in a peer, and does not hear of it for a while; or ever, where it is blocked. */
  async refuse(peer: PeerId, isBlocked: boolean): Promise<void> {
    this.requests.refuse(peer)
    if (isBlocked) await this.#options.book.setTrust(peer, 'blocked')
  }

  #notify(peer: PeerId, notice: Notice): void {
    this.#options.signals().send(peer, NOTICE_TOPIC, encodeNotice(notice))
  }

  #announcement({ peer, name, by }: AccessRequest): { title: string; text: string } {
    const { book } = this.#options
    const who = name || peer.slice(0, 12)
    if (by === undefined) return { title: 'Partyline', text: `${who} asks to be let in (partyline requests)` }
    const friend = book.get(by).petname || book.get(by).name || by.slice(0, 12)
    return { title: 'Partyline', text: `${friend} introduces ${who} (partyline requests)` }
  }
}

function policySettings(settings: SettingsStore): PolicySettings {
  return {
    open: {
      lan: settings.get('policy.lan') as Openness,
      internet: settings.get('policy.internet') as Openness,
    },
    share: settings.get('nat.share') as Share,
    punch: settings.get('policy.punch'),
    onMetered: settings.get('policy.on-metered') as OnMetered,
    relays: settings.get('relay.friends'),
    carries: settings.get('friends.signals'),
  }
}
