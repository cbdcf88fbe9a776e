import { PartylineError } from '../errors.ts'

/** Stream errors for XML that is refused (RFC 6120 section 4.9.3). */
export type XmlCondition =
  | 'bad-format'
  | 'invalid-namespace'
  | 'not-well-formed'
  | 'policy-violation'
  | 'restricted-xml'
  | 'unsupported-encoding'

/** XML that no XMPP stream may hold: `peer.bad-xml`, or `peer.oversized` where a limit was reached. The message holds none of it. */
export class XmlError extends PartylineError {
  /** The stream error that tells the sender. */
  readonly condition: XmlCondition

  constructor(condition: XmlCondition, message: string) {
    super(condition === 'policy-violation' ? 'peer.oversized' : 'peer.bad-xml', message)
    this.name = 'XmlError'
    this.condition = condition
  }
}
