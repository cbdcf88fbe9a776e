import { NS } from './namespaces.ts'
import { xml } from './stanzas.ts'
import type { XmlCondition } from './xml-error.ts'

/** Stream errors that a serverless stream ends with (RFC 6120 section 4.9.3). */
export type StreamCondition =
  | XmlCondition
  | 'connection-timeout'
  | 'host-unknown'
  | 'improper-addressing'
  | 'internal-server-error'
  | 'invalid-from'
  | 'not-authorized'
  | 'unsupported-stanza-type'

interface Header {
  readonly from: string
  readonly to: string | undefined
  readonly id: string | undefined
  /** Absent towards who sent none, and so speaks an older protocol (RFC 6120 section 4.7.5). */
  readonly version: '1.0' | undefined
}

/** The beginning of a serverless stream (XEP-0174, "Initiating an XML stream"). */
export function streamHeader(header: Header): string {
  const tag = xml('stream:stream', { xmlns: NS.client, 'xmlns:stream': NS.stream, ...header }).toString()
  return `<?xml version='1.0' encoding='UTF-8'?>${tag.slice(0, -2)}>`
}

export const STREAM_END = '</stream:stream>'

/** There is nothing to negotiate on a serverless stream. */
export const NO_FEATURES = '<stream:features/>'

export function streamError(condition: StreamCondition): string {
  return xml('stream:error', {}, xml(condition, { xmlns: NS.streams })).toString()
}
