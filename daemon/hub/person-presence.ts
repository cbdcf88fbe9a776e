import type { Element } from 'ltx'
import { cleanPresenceText } from '../clean-text.ts'
import { AVAILABLE, type Presence, type Show } from '../types.ts'

const SHOWS: Readonly<Record<string, Show>> = { away: 'away', xa: 'away', dnd: 'busy' }

/** What a presence stanza tells (RFC 6121 section 4.7.2). */
export function presenceOf(stanza: Element | undefined): Presence {
  if (!stanza) return AVAILABLE
  const show = SHOWS[stanza.getChildText('show') ?? ''] ?? 'available'
  return { show, text: cleanPresenceText(stanza.getChildText('status') ?? '') }
}
