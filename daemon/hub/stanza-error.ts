import { Element } from 'ltx'
import { NS } from '../xmpp/namespaces.ts'

/** What a client may do about an error (RFC 6120 section 8.3.2), by condition (section 8.3.3). */
const TYPES = {
  'bad-request': 'modify',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'remote-server-not-found': 'cancel',
  'service-unavailable': 'cancel',
} as const

export type StanzaCondition = keyof typeof TYPES

/** The error that answers a stanza; undefined for one that must not be answered, an error or a result (RFC 6120 section 8.3.1). */
export function errorTo(stanza: Element, to: string, condition: StanzaCondition, text = ''): Element | undefined {
  if (stanza.attrs.type === 'error' || (stanza.name === 'iq' && stanza.attrs.type === 'result')) return undefined
  const error = answerTo(stanza, to, 'error')
  const reason = error.c('error', { type: TYPES[condition] })
  reason.c(condition, { xmlns: NS.stanzas })
  if (text !== '') reason.c('text', { xmlns: NS.stanzas, 'xml:lang': 'en' }).t(text)
  return error
}

/** The result that answers an iq, with nothing in it yet. */
export function resultTo(iq: Element, to: string): Element {
  return answerTo(iq, to, 'result')
}

function answerTo(stanza: Element, to: string, type: 'error' | 'result'): Element {
  const { id, to: from } = stanza.attrs
  return new Element(stanza.name, { type, to, ...(from && { from }), ...(id && { id }) })
}
