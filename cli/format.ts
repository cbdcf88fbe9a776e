import { stripVTControlCharacters, styleText } from 'node:util'
import type { Presence } from '../daemon/types.ts'
import { isContactId } from '../daemon/xmpp/contacts.ts'
import type { ChatLine, PeerView } from '../ipc/methods.ts'

/** Colours, or nothing where they are not wanted. */
export type Paint = (style: Parameters<typeof styleText>[0], text: string) => string

/** Colours on a terminal, unless NO_COLOR is set or `--no-color` was given. */
export function createPaint(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv, wanted: boolean): Paint {
  const colour = wanted && stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
  return (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text)
}

/** Columns aligned with two spaces between them; the width of colours does not count. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((row) => visibleWidth(row[i] ?? ''))))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - visibleWidth(cell)))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}

/** Characters that are seen, colours left out. */
export const visibleWidth = (text: string): number => [...stripVTControlCharacters(text)].length

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** `3.4 MiB` */
export function size(bytes: number): string {
  // What would be shown as 1024 of a unit is 1.0 of the next.
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes * (1 + 0.5 / 1024))) / 10))
  const value = bytes / 2 ** (10 * power)
  return `${power === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${UNITS[power]}`
}

/** Bits per second as people say it: `940 Mbit/s`. */
export function rate(bits: number): string {
  if (bits >= 999.5e6) return `${(bits / 1e9).toFixed(1)} Gbit/s`
  if (bits >= 999.5e3) return `${Math.round(bits / 1e6)} Mbit/s`
  return `${Math.round(bits / 1e3)} kbit/s`
}

/** `350 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min` */
export function duration(milliseconds: number): string {
  if (milliseconds < 9.95) return `${milliseconds.toFixed(milliseconds < 0.995 ? 2 : 1)} ms`
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`
  if (milliseconds < 59_500) return `${(milliseconds / 1000).toFixed(milliseconds < 9950 ? 1 : 0)} s`
  const seconds = Math.round(milliseconds / 1000)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** `██████░░░░  60 %  1.2 GiB of 2.0 GiB  940 Mbit/s  7 s left` */
export function progressBar(
  progress: { bytes: number; total: number; rate: number; remaining: number | null },
  width = 24,
): string {
  const share = progress.total === 0 ? 1 : progress.bytes / progress.total
  const full = Math.round(share * width)
  const bar = `${'█'.repeat(full)}${'░'.repeat(width - full)}`
  const left = progress.remaining === null ? '' : `  ${duration(progress.remaining)} left`
  return `${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${size(progress.bytes)} of ${size(progress.total)}  ${rate(progress.rate)}${left}`
}

/** What was said by somebody else, fit for one line of a terminal: no control or format characters, no line breaks. */
export function printable(text: string): string {
  return text.replace(/[\n\r\t\u2028\u2029]+/g, ' ').replace(/\p{C}/gu, '�')
}

/** Longest XMPP address shown, in characters. */
const MAX_ADDRESS = 40
/** Longest presence text in a table, in characters. */
const MAX_PRESENCE = 32

/** What tells somebody apart where there is little room: the beginning of a peer id, or `xmpp:` and the address of a plain XMPP client. */
export function shortId(id: string): string {
  return isContactId(id) ? cut(printable(id), MAX_ADDRESS) : printable(id.slice(0, 12))
}

/** The petname, else the name, else the beginning of the id. */
export function peerName(peer: { id: string; name: string; petname: string }): string {
  return printable(peer.petname || peer.name) || shortId(peer.id)
}

/** `away`, `busy: at lunch`; empty for somebody who is available and says nothing. */
export function presenceText({ show, text }: Presence): string {
  const said = cut(printable(text), MAX_PRESENCE)
  if (said !== '') return `${show}: ${said}`
  return show === 'available' ? '' : show
}

/** Who can read the chat with somebody: `encrypted`, or in capitals that it is not. */
export function chatSecrecy({ kind, sightings }: Pick<PeerView, 'kind' | 'sightings'>): string {
  if (kind === 'host') return 'encrypted'
  const [sighting] = sightings
  if (!sighting) return 'NOT encrypted'
  return sighting.method === 'hub'
    ? 'NOT encrypted end to end: the hub can read it'
    : 'NOT encrypted: everyone on this LAN can read it'
}

/** Stands beside every chat line that others than the two can read. */
export function secrecyMark({ encrypted }: Pick<ChatLine, 'encrypted'>): string {
  return encrypted ? '' : ' (not encrypted)'
}

/** At most so many characters, the last of them `…` where something was left out. */
export function cut(text: string, length: number): string {
  const characters = [...text]
  return characters.length > length ? `${characters.slice(0, length - 1).join('')}…` : text
}

/** How the session to a peer travels, and its round trip: `lan 0.31 ms`; empty without one. */
export function routeText({ route, rtt }: Pick<PeerView, 'route' | 'rtt'>): string {
  if (!route) return ''
  return rtt === null ? route : `${route} ${duration(rtt)}`
}

/** Where a peer is seen, as people would say it: `192.168.1.5 on eth0`; empty where it is not. */
export function whereSeen({ sightings }: Pick<PeerView, 'sightings'>): string {
  const rank = (address: string): number => (address.startsWith('fe80:') ? 1 : 0)
  const [best] = [...sightings].sort(
    (a, b) => rank(a.address) - rank(b.address) || a.interface.localeCompare(b.interface),
  )
  return best ? `${best.address}${best.interface ? ` on ${best.interface}` : ''}` : ''
}
