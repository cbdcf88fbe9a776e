/** Longest address of an account that is taken, in characters: `local@domain`. */
const MAX_LENGTH = 256
/** What RFC 7622 section 3.3.1 forbids in a local part, and what no domain holds; both in the form that servers compare, lower case. */
const USER_JID =
  /^[^\s\p{C}"&'/:<>@]{1,128}@(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/u

/** True for the bare address of an account (RFC 7622), `user@example.org`, in lower case; domains beyond ASCII in their ASCII form. */
export function isUserJid(text: string): boolean {
  return text.length <= MAX_LENGTH && USER_JID.test(text) && text === text.toLowerCase()
}
