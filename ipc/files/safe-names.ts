/**
 * Names that come from a peer, made safe for any file system this may run on: what a name becomes does not depend on the
 * machine, so that a broken transfer finds its files again.
 */

/** What a file is called while it is being received: `NAME.KEY.partyline-part`. */
export const PART_SUFFIX = '.partyline-part'

/** Longest component made here, in bytes of UTF-8: file systems take 255, and ` (999)`, a key and the suffix still have to fit. */
const MAX_COMPONENT = 200
/** Components kept of a path; the deepest ones of a longer path. */
const MAX_DEPTH = 64

/** Device names that Windows reserves in every folder, whatever extension follows (learn.microsoft.com, "Naming Files"). */
const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)/i
/** Characters Windows forbids, the separators among them, and what no terminal should be shown. */
const FORBIDDEN = /[<>:"|?*\\/]|\p{Cc}|[\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/gu

/**
 * The components of a relative path below the receiving folder, for a path a peer gave (`/` separated). Never empty, never
 * absolute, no component is `.` or `..`; each is a name that Windows, macOS and Linux take as it is.
 */
export function safeComponents(remotePath: string): string[] {
  const components = remotePath
    .split('/')
    .filter((component) => component !== '' && component !== '.')
    .map(safeComponent)
  return components.length === 0 ? ['unnamed'] : components.slice(-MAX_DEPTH)
}

/** One name of a path, made safe. */
export function safeComponent(name: string): string {
  let safe = name.toWellFormed().normalize('NFC').replace(FORBIDDEN, '_')
  safe = shorten(safe).replace(/[. ]+$/u, (trailing) => '_'.repeat(trailing.length))
  if (safe === '') return 'unnamed'
  // A leading space or dash is legal, and a trap for whoever types the name.
  safe = safe.replace(/^[ -]/u, '_')
  if (RESERVED.test(safe)) safe = `_${safe}`
  if (safe.toLowerCase().endsWith(PART_SUFFIX)) safe = `${safe}_`
  return safe
}

/** `name (2).ext` for a name that is taken. */
export function numberedName(name: string, number: number): string {
  if (number === 0) return name
  const dot = name.lastIndexOf('.')
  const hasExtension = dot > 0 && name.length - dot <= 16
  const stem = hasExtension ? name.slice(0, dot) : name
  return `${stem} (${number})${hasExtension ? name.slice(dot) : ''}`
}

/** Cuts between characters and keeps a short extension. */
function shorten(name: string): string {
  if (Buffer.byteLength(name) <= MAX_COMPONENT) return name
  const extension = /\.[^. ]{1,16}$/u.exec(name)?.[0] ?? ''
  const room = MAX_COMPONENT - Buffer.byteLength(extension)
  let cut = ''
  let bytes = 0
  for (const character of name.slice(0, name.length - extension.length)) {
    bytes += Buffer.byteLength(character)
    if (bytes > room) break
    cut += character
  }
  return cut + extension
}
