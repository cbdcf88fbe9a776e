import { PartylineError } from '../errors.ts'

/** The topic of the signals. */
export const NOTICE_TOPIC = 'policy'
const MAX_NOTICE = 64

/** What a host tells a peer that asked to open a session: its owner has been asked, or has let it in. */
export type Notice = 'asking' | 'accepted'

const NOTICES: readonly string[] = ['asking', 'accepted'] satisfies Notice[]

export function encodeNotice(notice: Notice): Uint8Array {
  return Buffer.from(notice)
}

/** Throws `peer.malformed`. */
export function decodeNotice(content: Uint8Array): Notice {
  const text = content.length <= MAX_NOTICE ? Buffer.from(content).toString('latin1') : ''
  if (NOTICES.includes(text)) return text as Notice
  throw new PartylineError('peer.malformed', 'not a notice')
}
