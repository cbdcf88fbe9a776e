import type { Element } from 'ltx'
import { cleanLines } from '../clean-text.ts'
import type { Presence } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { ENTITY_CAPS, xml } from '../xmpp/stanzas.ts'

const SHOWS = { available: undefined, away: 'away', busy: 'dnd' } as const

/** The presence of a host: what it tells of being there, its name (XEP-0172), what it can do (XEP-0115), and that it is a host. */
export function hostPresence({ show, text }: Presence, name: string): Element {
  const told = SHOWS[show]
  return xml(
    'presence',
    {},
    ...(told ? [xml('show', {}, told)] : []),
    ...(text === '' ? [] : [xml('status', {}, cleanLines(text))]),
    ...(name === '' ? [] : [xml('nick', { xmlns: NS.nick }, cleanLines(name))]),
    xml('host', { xmlns: NS.host }),
    xml('c', { xmlns: NS.caps, ...ENTITY_CAPS }),
  )
}
