import type { Element } from 'ltx'
import { AVAILABLE, type Presence, type Show } from '../types.ts'

const MAX_TEXT = 255

const SHOWS: Readonly<Record<string, Show>> = { away: 'away', xa: 'away', dnd: 'busy' }

/** What a presence stanza tells (RFC 6121 section 4.7.2). */
export function presenceOf(stanza: Element | undefined): Presence {
  if (!stanza) return AVAILABLE
  const text = (stanza.getChildText('status') ?? '').replace(/\s+/gu, ' ').replace(/\p{C}/gu, '').trim()
  return { show: SHOWS[stanza.getChildText('show') ?? ''] ?? 'available', text: [...text].slice(0, MAX_TEXT).join('') }
}
