import type { Element } from 'ltx'
import type { HubPerson } from '../../ipc/methods.ts'
import { cleanName } from '../identity/host-name.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { PeerId, Presence } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { parseAddress } from './address.ts'
import { foldLocal, parseNickname } from './login.ts'
import { presenceOf } from './person-presence.ts'

/** Most people and hosts followed at one hub. */
export const MAX_PEOPLE = 5000

/** Somebody who is at a hub, as the hub tells. */
export interface HubMember {
  /** `local@domain`. */
  readonly jid: string
  /** The peer id of a host; undefined for a person with an XMPP client. */
  readonly peer: PeerId | undefined
  readonly name: string
  readonly presence: Presence
}

/** What a presence stanza changed; `refused`: it is none that this hub may send. */
export type RosterChange =
  | { readonly kind: 'there'; readonly member: HubMember }
  | { readonly kind: 'gone'; readonly member: HubMember }
  | { readonly kind: 'refused'; readonly code: 'peer.impersonation' | 'peer.oversized' }

/** Who is at one hub, ourselves aside: presence stanzas in, changes out (RFC 6121 section 4). */
export class HubRoster {
  readonly #self: PeerId
  readonly #domain: string
  readonly #members = new Map<string, HubMember>()

  constructor(self: PeerId, domain: string) {
    this.#self = self
    this.#domain = domain
  }

  get size(): number {
    return this.#members.size
  }

  members(): HubMember[] {
    return [...this.#members.values()]
  }

  /** Who is there under an address, with or without a resource; undefined for nobody, and for an address of another domain. */
  find(jid: string): HubMember | undefined {
    const address = parseAddress(jid)
    return address && address.domain === this.#domain ? this.#members.get(address.local) : undefined
  }

  findPeer(peer: PeerId): HubMember | undefined {
    const member = this.#members.get(peer)
    return member?.peer === peer ? member : undefined
  }

  /** Takes a presence stanza; undefined where it changes nothing. */
  take(presence: Element): RosterChange | undefined {
    const { from = '', type } = presence.attrs
    const address = parseAddress(from)
    if (address?.domain !== this.#domain) return { kind: 'refused', code: 'peer.impersonation' }
    const { local } = address
    if (local === '' || local === this.#self) return undefined
    if (type === 'unavailable') return this.#leave(local)
    if (type !== undefined) return undefined
    const isHost = presence.getChild('host', NS.host) !== undefined
    // Only hosts, which the hub knows by their key, have addresses that are peer ids.
    if (isPeerId(local) !== isHost) return { kind: 'refused', code: 'peer.impersonation' }
    // No honest hub lets anybody in under another name; this one may look like somebody else's.
    if (!isHost && !parseNickname(local)) return { kind: 'refused', code: 'peer.impersonation' }
    if (!this.#members.has(local) && this.#members.size >= MAX_PEOPLE)
      return { kind: 'refused', code: 'peer.oversized' }
    const member = memberOf(local, this.#domain, presence)
    const before = this.#members.get(local)
    this.#members.set(local, member)
    return before && isSame(before, member) ? undefined : { kind: 'there', member }
  }

  people(): HubPerson[] {
    return this.members()
      .map(({ jid, peer, name, presence }) => ({ jid, name, kind: peer ? 'host' : 'chat', presence }) as const)
      .sort((a, b) => a.name.localeCompare(b.name) || a.jid.localeCompare(b.jid))
  }

  #leave(local: string): RosterChange | undefined {
    const member = this.#members.get(local)
    this.#members.delete(local)
    return member && { kind: 'gone', member }
  }
}

function memberOf(local: string, domain: string, stanza: Element): HubMember {
  const peer = isPeerId(local) ? local : undefined
  const nick = cleanName(stanza.getChildText('nick', NS.nick) ?? '')
  // Hosts call themselves what they like, as everywhere; a person's name is the address in other letters, or the address.
  const name = peer || foldLocal(nick) === local ? nick : cleanName(local)
  return { jid: `${local}@${domain}`, peer, name, presence: presenceOf(stanza) }
}

function isSame(a: HubMember, b: HubMember): boolean {
  return a.name === b.name && a.presence.show === b.presence.show && a.presence.text === b.presence.text
}
