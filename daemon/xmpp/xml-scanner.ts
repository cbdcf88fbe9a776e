import * as B from './xml-bytes.ts'
import { XmlError } from './xml-error.ts'
import { OpenElements } from './xml-names.ts'

/** Largest stanza, in bytes. */
const MAX_STANZA = 64 * 1024
/** Largest stream header, in bytes, with the XML declaration before it. */
const MAX_HEADER = 4 * 1024
/** Elements within each other, the stream around them not counted. */
const MAX_DEPTH = 32
const MAX_ATTRIBUTES = 64
/** Longest name of an element, an attribute or an entity, in bytes. */
const MAX_NAME = 256

const FIRST_ROOM = 512
/** A buffer that grew beyond this is given back after its stanza. */
const KEPT_ROOM = 8 * 1024

const DECLARATION =
  /^<\?xml\s+version\s*=\s*(["'])1\.[0-9]+\1(?:\s+encoding\s*=\s*(["'])([A-Za-z][A-Za-z0-9._-]*)\2)?(?:\s+standalone\s*=\s*(["'])(?:yes|no)\4)?\s*\?>$/

/** A complete part of a stream: its header, a stanza, or its closing tag. */
export interface XmlUnit {
  readonly kind: 'header' | 'stanza' | 'close'
  /** The tag or stanza, UTF-8; valid until the next unit is asked for. */
  readonly bytes: Uint8Array
}

/** Where the scanner is in the grammar. */
type State =
  | 'text'
  | 'tag'
  | 'start name'
  | 'end name'
  | 'end space'
  | 'after name'
  | 'before attribute'
  | 'attribute name'
  | 'before equals'
  | 'before value'
  | 'value'
  | 'empty'
  | 'reference'
  | 'declaration'

/**
 * Looks at each byte of an XMPP stream once, as it arrives, and refuses all that XMPP does not have (RFC 6120 section 11.1) or that is too
 * large, before a parser sees it. Holds the unit that is being received and nothing else. Encoding is not checked here.
 */
export class XmlScanner {
  readonly #open = new OpenElements()
  #unit = Buffer.allocUnsafe(FIRST_ROOM)
  #length = 0
  #state: State = 'text'
  #afterReference: 'text' | 'value' = 'text'
  /** Where in the unit the name, value or reference begins that is being read. */
  #mark = 0
  /** Where in the unit the header's tag begins, behind the declaration. */
  #tagAt = 0
  /** Where the value begins that a reference interrupts. */
  #valueAt = 0
  #quote = 0
  #element = ''
  #attribute = ''
  #attributes = new Map<string, string>()
  #stage: 'before' | 'inside' | 'after' = 'before'
  #declared = false
  #previous = 0
  #beforePrevious = 0;

  /** The units that end in these bytes. Throws `XmlError` at the first byte that is refused; nothing can be scanned after that. */
  *scan(bytes: Uint8Array): Generator<XmlUnit, void, void> {
    for (const byte of bytes) {
      this.#checkCharacter(byte)
      if (this.#state === 'text' && byte !== B.LESS && this.#isBetween(byte)) continue
      this.#keep(byte)
      const kind = this.#step(byte)
      if (!kind) continue
      yield { kind, bytes: this.#unit.subarray(this.#tagAt, this.#length) }
      this.#length = 0
      this.#tagAt = 0
      if (this.#unit.length > KEPT_ROOM) this.#unit = Buffer.allocUnsafe(FIRST_ROOM)
    }
  }

  #checkCharacter(byte: number): void {
    if (byte < B.SPACE && !B.isSpace(byte)) throw malformed('a control character')
    // U+FFFE and U+FFFF are no characters of XML.
    if (byte >= 0xbe && byte <= 0xbf && this.#previous === 0xbf && this.#beforePrevious === 0xef)
      throw malformed('a code point that is no character')
    this.#beforePrevious = this.#previous
    this.#previous = byte
  }

  /** True for white space outside of stanzas, which is not kept. */
  #isBetween(byte: number): boolean {
    if (this.#open.depth > 1) return false
    if (B.isSpace(byte)) {
      // White space before the header counts, so that nobody keeps a stream without one.
      if (this.#stage !== 'before') return true
      this.#keep(byte)
      return true
    }
    throw new XmlError(this.#stage === 'inside' ? 'bad-format' : 'not-well-formed', 'text outside of stanzas')
  }

  #keep(byte: number): void {
    if (this.#length >= (this.#stage === 'before' ? MAX_HEADER : MAX_STANZA))
      throw oversized(this.#stage === 'before' ? 'a stream header' : 'a stanza')
    if (this.#length === this.#unit.length) {
      const larger = Buffer.allocUnsafe(2 * this.#length)
      this.#unit.copy(larger)
      this.#unit = larger
    }
    this.#unit[this.#length++] = byte
  }

  #step(byte: number): XmlUnit['kind'] | undefined {
    switch (this.#state) {
      case 'text':
        if (byte === B.LESS) this.#beginTag()
        else if (byte === B.AMPERSAND) this.#beginReference('text')
        return undefined
      case 'tag':
        return this.#afterLess(byte)
      case 'start name':
        if (B.continuesName(byte)) return this.#checkLength()
        this.#element = this.#name()
        this.#attributes = new Map()
        return this.#afterName(byte)
      case 'end name':
        if (B.continuesName(byte)) return this.#checkLength()
        this.#element = this.#name()
        return this.#endTag(byte)
      case 'end space':
        return this.#endTag(byte)
      case 'after name':
        return this.#afterName(byte)
      case 'before attribute':
        if (B.isSpace(byte)) return undefined
        if (!B.startsName(byte)) return this.#afterName(byte)
        if (this.#attributes.size >= MAX_ATTRIBUTES) throw oversized('the number of attributes')
        return this.#begin('attribute name', this.#length - 1)
      case 'attribute name':
        if (B.continuesName(byte)) return this.#checkLength()
        this.#attribute = this.#name()
        if (this.#attributes.has(this.#attribute)) throw malformed('an attribute comes twice')
        return this.#beforeEquals(byte)
      case 'before equals':
        return this.#beforeEquals(byte)
      case 'before value':
        if (B.isSpace(byte)) return undefined
        if (byte !== B.QUOTE && byte !== B.DOUBLE_QUOTE) throw malformed('a value without quotes')
        this.#quote = byte
        return this.#begin('value', this.#length)
      case 'value':
        return this.#inValue(byte)
      case 'empty':
        if (byte !== B.GREATER) throw malformed('a slash inside of a tag')
        return this.#startTag(true)
      case 'reference':
        return this.#inReference(byte)
      case 'declaration':
        return this.#inDeclaration(byte)
    }
  }

  #begin(state: State, mark: number): undefined {
    this.#state = state
    this.#mark = mark
  }

  #beginTag(): void {
    if (this.#stage === 'after') throw malformed('something follows the end of the stream')
    if (this.#stage === 'before') this.#tagAt = this.#length - 1
    this.#state = 'tag'
  }

  #afterLess(byte: number): undefined {
    if (byte === B.SLASH) return this.#begin('end name', this.#length)
    if (B.startsName(byte)) return this.#begin('start name', this.#length - 1)
    if (byte === B.BANG) throw new XmlError('restricted-xml', 'a comment, a document type or a CDATA section')
    if (byte !== B.QUESTION) throw malformed('a tag without a name')
    if (this.#stage !== 'before' || this.#declared) throw new XmlError('restricted-xml', 'a processing instruction')
    if (this.#length > 2) throw malformed('an XML declaration that is not at the beginning')
    this.#state = 'declaration'
  }

  #inDeclaration(byte: number): undefined {
    if (byte !== B.GREATER) return undefined
    const declaration = this.#unit.toString('latin1', 0, this.#length)
    if (!/^<\?xml\s/.test(declaration)) throw new XmlError('restricted-xml', 'a processing instruction')
    const parts = DECLARATION.exec(declaration)
    if (!parts) throw malformed('a malformed XML declaration')
    if (parts[3] !== undefined && parts[3].toLowerCase() !== 'utf-8')
      throw new XmlError('unsupported-encoding', 'an encoding that is not UTF-8')
    this.#declared = true
    this.#state = 'text'
  }

  #checkLength(): undefined {
    if (this.#length - this.#mark > MAX_NAME) throw oversized('a name')
  }

  /** The name that ends before the byte just kept. */
  #name(): string {
    const name = this.#unit.toString('latin1', this.#mark, this.#length - 1)
    if (name === '' || !B.startsName(name.charCodeAt(0)) || !B.isQualifiedName(name))
      throw malformed('a malformed name')
    return name
  }

  /** Behind a start tag's name or an attribute. */
  #afterName(byte: number): XmlUnit['kind'] | undefined {
    if (byte === B.GREATER) return this.#startTag(false)
    if (B.isSpace(byte)) this.#state = 'before attribute'
    else if (byte === B.SLASH) this.#state = 'empty'
    else throw malformed('a malformed tag')
    return undefined
  }

  #beforeEquals(byte: number): undefined {
    if (byte === B.EQUALS) this.#state = 'before value'
    else if (B.isSpace(byte)) this.#state = 'before equals'
    else throw malformed('an attribute without a value')
  }

  #inValue(byte: number): undefined {
    if (byte === B.LESS) throw malformed('a < in a value')
    if (byte === B.AMPERSAND) {
      this.#valueAt = this.#mark
      return this.#beginReference('value')
    }
    if (byte !== this.#quote) return undefined
    this.#attributes.set(this.#attribute, this.#unit.toString('latin1', this.#mark, this.#length - 1))
    this.#state = 'after name'
  }

  #beginReference(from: 'text' | 'value'): undefined {
    this.#afterReference = from
    return this.#begin('reference', this.#length)
  }

  #inReference(byte: number): undefined {
    if (byte !== B.SEMICOLON) {
      const isPart = B.continuesName(byte) || (byte === B.HASH && this.#length - 1 === this.#mark)
      if (!isPart) throw malformed('an & that begins no reference')
      return this.#checkLength()
    }
    const kind = B.referenceKind(this.#unit.toString('latin1', this.#mark, this.#length - 1))
    if (kind === 'entity') throw new XmlError('restricted-xml', 'an entity')
    if (kind !== 'legal') throw malformed('a reference to no character')
    return this.#begin(this.#afterReference, this.#valueAt)
  }

  #startTag(isEmpty: boolean): XmlUnit['kind'] | undefined {
    this.#state = 'text'
    if (this.#open.depth > MAX_DEPTH) throw oversized('the depth of a stanza')
    this.#open.open(this.#element, this.#attributes)
    if (this.#stage === 'before') {
      if (isEmpty) throw new XmlError('bad-format', 'an empty stream')
      this.#stage = 'inside'
      return 'header'
    }
    if (!isEmpty) return undefined
    this.#open.close(this.#element)
    return this.#open.depth === 1 ? 'stanza' : undefined
  }

  #endTag(byte: number): XmlUnit['kind'] | undefined {
    if (B.isSpace(byte)) {
      this.#state = 'end space'
      return undefined
    }
    if (byte !== B.GREATER) throw malformed('a malformed end tag')
    this.#state = 'text'
    this.#open.close(this.#element)
    if (this.#open.depth > 0) return this.#open.depth === 1 ? 'stanza' : undefined
    this.#stage = 'after'
    return 'close'
  }
}

const malformed = (what: string): XmlError => new XmlError('not-well-formed', what)
const oversized = (what: string): XmlError => new XmlError('policy-violation', `${what} exceeds its limit`)
