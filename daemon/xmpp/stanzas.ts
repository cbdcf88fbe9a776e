import { createHash } from 'node:crypto'
import { Element } from 'ltx'
import { cleanLines } from '../clean-text.ts'
import { NS } from './namespaces.ts'

/** Longest chat text, in bytes of UTF-8. */
const MAX_TEXT = 4096

/** Who an entity says it is (XEP-0030 section 3.1). */
interface DiscoIdentity {
  readonly category: string
  readonly type: string
  readonly name: string
}

const IDENTITY: DiscoIdentity = { category: 'client', type: 'pc', name: 'Partyline' }
const FEATURES: readonly string[] = [NS.caps, NS.chatStates, NS.discoInfo, NS.ping, NS.receipts, NS.signal]

/** This entity's capabilities, as presence tells them (XEP-0115 section 4). */
export const ENTITY_CAPS = {
  node: 'urn:partyline',
  hash: 'sha-1',
  ver: capsVersion([IDENTITY], FEATURES),
} as const

/** The verification string of capabilities without data forms (XEP-0115 section 5.1), with SHA-1 as clients know it. */
export function capsVersion(identities: readonly DiscoIdentity[], features: readonly string[]): string {
  const told = identities.map(({ category, type, name }) => `${category}/${type}//${name}`)
  const text = [...told.sort(), ...[...features].sort()].map((part) => `${part}<`).join('')
  return createHash('sha1').update(text).digest('base64')
}

/** An element with children; a string among them is text. Attributes that are undefined are left out. */
export function xml(
  name: string,
  attrs: Record<string, string | undefined> = {},
  ...children: readonly (Element | string)[]
): Element {
  const element = new Element(name, attrs)
  for (const child of children) {
    if (typeof child === 'string') element.t(child)
    else element.cnode(child)
  }
  return element
}

/** What an entity may do about an error (RFC 6120 section 8.3.2), by condition (section 8.3.3). */
const ERROR_TYPES = {
  'bad-request': 'modify',
  'item-not-found': 'cancel',
  'not-acceptable': 'modify',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
} as const

/** The error that answers a stanza, without what the stanza held. */
export function errorAnswer(stanza: Element, self: string, condition: keyof typeof ERROR_TYPES): Element {
  const reason = xml('error', { type: ERROR_TYPES[condition] }, xml(condition, { xmlns: NS.stanzas }))
  return answer(stanza, self, 'error', reason)
}

/** The result that answers an iq. */
export function resultAnswer(iq: Element, self: string, ...children: readonly Element[]): Element {
  return answer(iq, self, 'result', ...children)
}

function answer(stanza: Element, from: string, type: string, ...children: readonly Element[]): Element {
  return xml(stanza.getName(), { type, from, to: stanza.attrs.from, id: stanza.attrs.id }, ...children)
}

/** The answer to a disco#info query (XEP-0030 section 3.1): about us, or about the capabilities we told of. */
export function discoInfoAnswer(iq: Element, query: Element, self: string): Element {
  const { node } = query.attrs
  if (node !== undefined && node !== `${ENTITY_CAPS.node}#${ENTITY_CAPS.ver}`)
    return errorAnswer(iq, self, 'item-not-found')
  const info = xml('query', { xmlns: NS.discoInfo, node }, xml('identity', { ...IDENTITY }))
  for (const feature of FEATURES) info.cnode(xml('feature', { var: feature }))
  return resultAnswer(iq, self, info)
}

/** The text of a message's body, cleaned; undefined where it has none. */
export function bodyOf(message: Element): string | undefined {
  const text = message.getChildText('body', NS.client)
  return text === null ? undefined : cleanLines(text)
}

/**
 * The text once more as the HTML that iChat and libpurple send on the LAN, which is not XEP-0071: from a body alone libpurple takes
 * its text for HTML, and shows nothing of what is between angle brackets.
 */
export function asHtml(text: string): Element {
  return xml('html', { xmlns: NS.xhtml }, xml('body', {}, xml('font', {}, text)))
}

/** True for text that a message may carry. */
export function isChatText(text: string): boolean {
  return Buffer.byteLength(text) <= MAX_TEXT
}

const CHAT_STATES = ['active', 'composing', 'paused', 'inactive', 'gone'] as const

/** The chat state that a message tells (XEP-0085). */
export function chatStateOf(message: Element): (typeof CHAT_STATES)[number] | undefined {
  return CHAT_STATES.find((state) => message.getChild(state, NS.chatStates))
}
