import { Element } from 'ltx'
import { NS } from '../xmpp/namespaces.ts'
import { answerServices, type ExternalService } from './external-services.ts'
import { errorTo, resultTo } from './stanza-error.ts'

/** What the hub itself can do, as `disco#info` tells. */
const FEATURES = [NS.discoInfo, NS.discoItems, NS.ping, NS.roster, NS.vcard, NS.externalServices]

/** One line of the list of contacts that the hub keeps for everybody. */
export interface RosterItem {
  readonly jid: string
  readonly name: string
}

/** Whom a request is for: the hub, or somebody's account, for which the hub answers (RFC 6121 section 8.5.1). */
export type IqTarget = 'hub' | 'own-account' | 'account'

interface ServerIqOptions {
  /** The hub's name. */
  readonly name: string
  /** Everyone whom the asker has in its list. */
  readonly roster: () => readonly RosterItem[]
  /** STUN and TURN servers for the asker. */
  readonly services: () => readonly ExternalService[]
}

/** What the hub answers a request (`get` or `set`); what it does not know is `service-unavailable`. */
export function answerIq(
  iq: Element,
  asker: string,
  target: IqTarget,
  { name, roster, services }: ServerIqOptions,
): Element | undefined {
  const [query] = iq.getChildElements()
  if (!query) return errorTo(iq, asker, 'bad-request')
  const isGet = iq.attrs.type === 'get'
  const result = resultTo(iq, asker)
  switch (query.getNS()) {
    case NS.roster:
      if (target !== 'own-account') break
      if (!isGet) return errorTo(iq, asker, 'not-allowed', 'The hub keeps the list: everyone who is here is on it.')
      result.cnode(rosterQuery(roster()))
      return result
    case NS.discoInfo:
      // Nodes other than the hub itself have nothing to tell.
      if (!isGet || query.attrs.node) break
      result.cnode(target === 'hub' ? hubInfo(name) : accountInfo())
      return result
    case NS.discoItems:
      if (!isGet || query.attrs.node) break
      result.c('query', { xmlns: NS.discoItems })
      return result
    case NS.ping:
      return isGet ? result : errorTo(iq, asker, 'bad-request')
    case NS.vcard:
      if (!isGet) return errorTo(iq, asker, 'not-allowed', 'The hub keeps nothing of anybody.')
      result.c('vCard', { xmlns: NS.vcard })
      return result
    case NS.externalServices: {
      if (target === 'account' || !isGet) break
      const answer = answerServices(query, services())
      if (!answer) return errorTo(iq, asker, 'item-not-found')
      result.cnode(answer)
      return result
    }
  }
  return errorTo(iq, asker, 'service-unavailable')
}

/** A list of contacts; with `subscription` `remove` those who are no longer on it. */
export function rosterQuery(items: readonly RosterItem[], subscription: 'both' | 'remove' = 'both'): Element {
  const query = new Element('query', { xmlns: NS.roster })
  for (const { jid, name } of items)
    query.c('item', subscription === 'both' ? { jid, name, subscription } : { jid, subscription })
  return query
}

function hubInfo(name: string): Element {
  const info = new Element('query', { xmlns: NS.discoInfo })
  info.c('identity', { category: 'server', type: 'im', name })
  for (const feature of FEATURES) info.c('feature', { var: feature })
  return info
}

function accountInfo(): Element {
  const info = new Element('query', { xmlns: NS.discoInfo })
  info.c('identity', { category: 'account', type: 'registered' })
  return info
}
