/** What strangers write, as it may be shown. Names have a rule of their own (`cleanName`), as they tell people apart. */

/** Longest text beside a presence, in characters. */
const MAX_PRESENCE_TEXT = 255
/** Longest reason in words of others that is told, in characters. */
const MAX_REASON = 200

/** Several lines as XML may hold and a screen may show them: line ends as LF, and of control characters only those and tabs. */
export function cleanLines(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(/(?![\t\n])\p{Cc}|[\ufffe\uffff]/gu, '')
}

/** Chat as a terminal may show it: several lines without tabs, and without direction overrides, which would turn what stands beside them. */
export function cleanChat(text: string): string {
  return cleanLines(text)
    .replace(/\t/g, ' ')
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, '')
    .trim()
}

/**
 * One line of at most `max` characters: white space folded; without control, format (direction overrides among them), private-use and unassigned
 * characters. Cleaning a clean line changes nothing.
 */
function cleanLine(text: string, max: number): string {
  const folded = text.replace(/\s+/gu, ' ').replace(/\p{C}/gu, '').replace(/ +/g, ' ').trim()
  return [...folded].slice(0, max).join('').trimEnd()
}

/** The text beside a presence: one line. */
export function cleanPresenceText(text: string): string {
  return cleanLine(text, MAX_PRESENCE_TEXT)
}

/** What others give as a reason, fit for a log and an error. */
export function cleanReason(text: string): string {
  return cleanLine(text, MAX_REASON)
}
