import { Element } from 'ltx'
import type { HubPerson } from '../../ipc/methods.ts'
import { PartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { PeerId } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { type Address, bareOf, parseAddress } from './address.ts'
import type { ExternalService } from './external-services.ts'
import { presenceOf } from './person-presence.ts'
import { answerIq, type RosterItem, rosterQuery } from './server-iq.ts'
import { errorTo, type StanzaCondition } from './stanza-error.ts'

/** Longest presence, in characters of XML: everyone who comes is sent everyone's. */
export const MAX_PRESENCE = 4096

/** Somebody who logged in: a host by its key, or a person by the PIN. */
export type MemberKind = HubPerson['kind']

/** A stanza for somebody who is logged in, whose full address `to` is. */
export interface Effect {
  readonly to: string
  readonly element: Element
}

interface Member {
  readonly jid: string
  readonly bare: string
  readonly kind: MemberKind
  name: string
  /** What it last told everyone; undefined while it has told nothing, or that it is not there. */
  presence: Element | undefined
  /** True once it asked for its list, which it is told changes of since (RFC 6121 section 2.1.6). */
  wantsPushes: boolean
  /** Whom it told of being there, while it has not told everyone. */
  readonly directed: Set<string>
}

interface RouterOptions {
  readonly domain: string
  /** The hub's name. */
  readonly name: string
  /** An id for what the hub sends of its own accord. */
  readonly newId: () => string
  /** STUN and TURN servers for a host, or for a person. */
  readonly services?: (host: PeerId | undefined) => readonly ExternalService[]
}

/**
 * Who is at the hub, and what goes to whom (RFC 6121). Everyone who is present is on everyone's list, and is told of everyone. An address
 * has one session at a time. Nothing is kept for somebody who is not there. No I/O: stanzas in, stanzas out.
 */
export class Router {
  readonly #options: RouterOptions
  readonly #members = new Map<string, Member>()

  constructor(options: RouterOptions) {
    this.#options = options
  }

  /** Everyone who is present, by name. */
  people(): HubPerson[] {
    return this.#present()
      .map(({ bare, name, kind, presence }) => ({ jid: bare, name, kind, presence: presenceOf(presence) }))
      .sort((a, b) => a.name.localeCompare(b.name) || a.jid.localeCompare(b.jid))
  }

  /** Somebody has bound a resource; `jid` is the full address. Whoever had the bare address before must have been logged out. */
  login(jid: string, name: string, kind: MemberKind): void {
    const bare = bareOf(jid)
    if (this.#members.has(bare)) throw new Error(`${bare} is logged in already`)
    this.#members.set(bare, {
      jid,
      bare,
      kind,
      name,
      presence: undefined,
      wantsPushes: false,
      directed: new Set(),
    })
  }

  /** Somebody's connection has ended, with or without a goodbye. */
  logout(jid: string): Effect[] {
    const member = this.#members.get(bareOf(jid))
    if (member?.jid !== jid) return []
    const effects = this.#leave(member, new Element('presence', { type: 'unavailable' }))
    this.#members.delete(member.bare)
    for (const one of this.#members.values()) one.directed.delete(member.bare)
    return effects
  }

  /** Takes a stanza of a session. Throws `peer.impersonation` where its `from` is somebody else. */
  stanza(jid: string, stanza: Element): Effect[] {
    const sender = this.#members.get(bareOf(jid))
    if (sender?.jid !== jid) return []
    const { from, to } = stanza.attrs
    if (from !== undefined && !this.#isOwn(sender, from))
      throw new PartylineError('peer.impersonation', `${sender.jid} spoke as ${from}`)
    if (to === undefined) return this.#toNobody(sender, stanza)
    const address = parseAddress(to)
    if (!address) return this.#refuse(sender, stanza, 'jid-malformed')
    if (address.domain !== this.#options.domain) return this.#refuse(sender, stanza, 'remote-server-not-found')
    if (address.local === '') return this.#toHub(sender, stanza)
    const receiver = this.#members.get(`${address.local}@${address.domain}`)
    if (stanza.name === 'presence') return this.#directPresence(sender, stanza, receiver)
    if (stanza.name === 'iq') return this.#iq(sender, stanza, address, receiver)
    return this.#message(sender, stanza, address, receiver)
  }

  #isOwn(sender: Member, from: string): boolean {
    const address = parseAddress(from)
    if (!address || `${address.local}@${address.domain}` !== sender.bare) return false
    return address.resource === '' || `${sender.bare}/${address.resource}` === sender.jid
  }

  #toNobody(sender: Member, stanza: Element): Effect[] {
    if (stanza.name === 'presence') return this.#presence(sender, stanza)
    if (stanza.name === 'iq') return this.#answer(sender, stanza, 'own-account')
    return [stamped(stanza, sender.jid, sender.jid)]
  }

  #toHub(sender: Member, stanza: Element): Effect[] {
    if (stanza.name === 'iq') return this.#answer(sender, stanza, 'hub')
    return stanza.name === 'message' ? this.#refuse(sender, stanza, 'service-unavailable') : []
  }

  /** Messages are for one who is there: somebody present, or the very session that is addressed (RFC 6121 section 8.5). */
  #message(sender: Member, stanza: Element, { resource }: Address, receiver: Member | undefined): Effect[] {
    const reached = receiver && (receiver.presence || receiver.jid === `${receiver.bare}/${resource}`)
    if (!reached || stanza.attrs.type === 'groupchat') return this.#refuse(sender, stanza, 'service-unavailable')
    return [stamped(stanza, sender.jid, receiver.jid)]
  }

  #iq(sender: Member, stanza: Element, { resource }: Address, receiver: Member | undefined): Effect[] {
    if (receiver && resource === '')
      return this.#answer(sender, stanza, receiver === sender ? 'own-account' : 'account')
    if (receiver?.jid !== `${receiver?.bare}/${resource}`) return this.#refuse(sender, stanza, 'service-unavailable')
    return isIq(stanza) ? [stamped(stanza, sender.jid, receiver.jid)] : this.#refuse(sender, stanza, 'bad-request')
  }

  #answer(sender: Member, iq: Element, target: 'hub' | 'own-account' | 'account'): Effect[] {
    if (iq.attrs.type === 'result' || iq.attrs.type === 'error') return []
    if (!isIq(iq)) return this.#refuse(sender, iq, 'bad-request')
    const asksForList = iq.attrs.type === 'get' && iq.getChild('query', NS.roster) !== undefined
    if (asksForList && target !== 'account') sender.wantsPushes = true
    const answer = answerIq(iq, sender.jid, target, {
      name: this.#options.name,
      roster: () =>
        this.#present()
          .filter((one) => one !== sender)
          .map(itemOf),
      services: () => this.#options.services?.(hostOf(sender)) ?? [],
    })
    return answer ? [{ to: sender.jid, element: answer }] : []
  }

  /** Presence for everyone (RFC 6121 sections 4.2, 4.4 and 4.5). */
  #presence(sender: Member, stanza: Element): Effect[] {
    const { type } = stanza.attrs
    if (type === 'unavailable') return this.#leave(sender, stanza)
    if (type !== undefined) return []
    if (stanza.toString().length > MAX_PRESENCE) return this.#refuse(sender, stanza, 'not-acceptable')
    const isNew = sender.presence === undefined
    const presence = screened(stanza, sender)
    const renamed = this.#rename(sender, presence)
    sender.presence = presence
    sender.directed.clear()
    const others = this.#present().filter((one) => one !== sender)
    return [
      ...(isNew || renamed ? this.#push([itemOf(sender)], 'both', sender) : []),
      stamped(presence, sender.jid, sender.jid),
      ...others.map((one) => stamped(presence, sender.jid, one.jid)),
      ...(isNew ? others.map((one) => stamped(one.presence ?? presence, one.jid, sender.jid)) : []),
    ]
  }

  #leave(sender: Member, goodbye: Element): Effect[] {
    const wasPresent = sender.presence !== undefined
    sender.presence = undefined
    const told = this.#present().filter((one) => wasPresent || sender.directed.has(one.bare))
    sender.directed.clear()
    const presence = screened(goodbye, sender)
    return [
      ...told.filter((one) => one !== sender).map((one) => stamped(presence, sender.jid, one.jid)),
      ...(wasPresent ? this.#push([itemOf(sender)], 'remove', sender) : []),
    ]
  }

  /** Presence for one (RFC 6121 sections 3 and 4.6). Everybody is subscribed to everybody, so a request to be is granted at once. */
  #directPresence(sender: Member, stanza: Element, receiver: Member | undefined): Effect[] {
    const { type } = stanza.attrs
    if (!receiver?.presence || receiver === sender) return []
    if (type === 'subscribe')
      return [
        {
          to: sender.jid,
          element: new Element('presence', { type: 'subscribed', from: receiver.bare, to: sender.bare }),
        },
      ]
    if (type === 'probe') return [stamped(receiver.presence, receiver.jid, sender.jid)]
    if (type !== undefined && type !== 'unavailable') return []
    if (stanza.toString().length > MAX_PRESENCE) return this.#refuse(sender, stanza, 'not-acceptable')
    if (type === 'unavailable') sender.directed.delete(receiver.bare)
    else if (!sender.presence) sender.directed.add(receiver.bare)
    return [stamped(screened(stanza, sender), sender.jid, receiver.jid)]
  }

  /** Hosts say their name in their presence (XEP-0172); people have the nickname they logged in with. */
  #rename(sender: Member, presence: Element): boolean {
    const nick = sender.kind === 'host' ? cleanName(presence.getChildText('nick', NS.nick) ?? '') : ''
    if (nick === '' || nick === sender.name) return false
    sender.name = nick
    return true
  }

  /** Tells those who asked for their list what is new in it. */
  #push(items: readonly RosterItem[], subscription: 'both' | 'remove', about: Member): Effect[] {
    const id = this.#options.newId()
    const query = rosterQuery(items, subscription)
    return [...this.#members.values()]
      .filter((one) => one.wantsPushes && one !== about)
      .map(({ jid }) => {
        const push = new Element('iq', { type: 'set', id, to: jid })
        push.children = [query]
        return { to: jid, element: push }
      })
  }

  #present(): Member[] {
    return [...this.#members.values()].filter((one) => one.presence !== undefined)
  }

  #refuse(sender: Member, stanza: Element, condition: StanzaCondition): Effect[] {
    const error = errorTo(stanza, sender.jid, condition)
    return error ? [{ to: sender.jid, element: error }] : []
  }
}

/** Whose key somebody logged in with. */
function hostOf({ kind, bare }: Member): PeerId | undefined {
  const [local = ''] = bare.split('@')
  return kind === 'host' && isPeerId(local) ? local : undefined
}

function itemOf({ bare, name }: Member): RosterItem {
  return { jid: bare, name }
}

/** An iq is one of four types, has an id, and asks one thing (RFC 6120 section 8.2.3). */
function isIq(iq: Element): boolean {
  const { type, id } = iq.attrs
  if (!id) return false
  if (type === 'get' || type === 'set') return iq.getChildElements().length === 1
  return type === 'result' || type === 'error'
}

/** Presence without what its sender may not say: only a host calls itself one, and a person has the nickname they logged in with. */
function screened(presence: Element, { kind, name }: Member): Element {
  if (kind === 'host') return presence
  const kept = new Element('presence', { ...presence.attrs })
  kept.children = presence.children.filter(
    (child) => typeof child === 'string' || ![NS.host, NS.nick].some((namespace) => child.getNS() === namespace),
  )
  if (presence.attrs.type === undefined) kept.c('nick', { xmlns: NS.nick }).t(name)
  return kept
}

/** A stanza as the receiver gets it. What is in it is shared, not copied: a presence goes to everyone. */
function stamped(stanza: Element, from: string, to: string): Effect {
  const element = new Element(stanza.name, { ...stanza.attrs, from, to })
  element.children = stanza.children
  return { to, element }
}
