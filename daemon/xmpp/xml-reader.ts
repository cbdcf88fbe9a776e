import { Element, parse } from 'ltx'
import { XmlError } from './xml-error.ts'
import { XmlScanner, type XmlUnit } from './xml-scanner.ts'

/** What arrives on an XMPP stream. */
export type XmlEvent =
  | { readonly type: 'open'; readonly attrs: Readonly<Record<string, string | undefined>> }
  /** The element's parent is the stream, so that namespaces declared there are found. */
  | { readonly type: 'stanza'; readonly element: Element }
  | { readonly type: 'close' }

/** Checks one XMPP stream as it arrives, for a parser that has no limits of its own. */
export class XmlGuard {
  readonly #input = new CheckedInput()

  /** Throws `XmlError` where the bytes hold what no XMPP stream may; again on every later call. */
  push(bytes: Uint8Array): void {
    this.#input.units(bytes).forEach(() => {})
  }
}

/** Reads one XMPP stream: the guard's limits, and then ltx. */
export class XmlReader {
  readonly #input = new CheckedInput()
  #stream = new Element('stream');

  /**
   * What the bytes complete, in order; each call has to be read to its end before the next. Throws `XmlError` where the bytes hold
   * what no XMPP stream may, after the events before it; again on every later call.
   */
  *push(bytes: Uint8Array): Generator<XmlEvent, void, void> {
    for (const unit of this.#input.units(bytes)) yield this.#event(unit)
  }

  #event({ kind, bytes }: XmlUnit): XmlEvent {
    if (kind === 'close') return { type: 'close' }
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
    if (kind === 'header') {
      this.#stream = parsed(`${text.slice(0, -1)}/>`)
      return { type: 'open', attrs: this.#stream.attrs }
    }
    const element = parsed(text)
    element.parent = this.#stream
    return { type: 'stanza', element }
  }
}

/** Bytes whose encoding and grammar are checked. */
class CheckedInput {
  readonly #scanner = new XmlScanner()
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  #failure: XmlError | undefined;

  *units(bytes: Uint8Array): Generator<XmlUnit, void, void> {
    if (this.#failure) throw this.#failure
    try {
      this.#checkEncoding(bytes)
      yield* this.#scanner.scan(bytes)
    } catch (error) {
      if (error instanceof XmlError) this.#failure = error
      throw error
    }
  }

  #checkEncoding(bytes: Uint8Array): void {
    try {
      this.#decoder.decode(bytes, { stream: true })
    } catch {
      throw new XmlError('unsupported-encoding', 'bytes that are no UTF-8')
    }
  }
}

/** An element out of text that the scanner let pass. */
function parsed(text: string): Element {
  try {
    const element = parse(text)
    if (element) return element
  } catch {
    // Told below: that ltx minds what the scanner does not must end a stream, and not the daemon.
  }
  throw new XmlError('not-well-formed', 'XML that cannot be read')
}
