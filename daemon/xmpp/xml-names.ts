import { NS } from './namespaces.ts'
import { XmlError } from './xml-error.ts'

const XML_NAMESPACE = 'http://www.w3.org/XML/1998/namespace'

interface OpenElement {
  readonly name: string
  /** The namespaces that it declares, by prefix; `''` is the default one. */
  readonly declared: ReadonlyMap<string, string>
}

/** The elements that are open, with the namespaces they declare ("Namespaces in XML 1.0"). */
export class OpenElements {
  readonly #elements: OpenElement[] = []

  get depth(): number {
    return this.#elements.length
  }

  /** Opens an element. Throws `XmlError` for undeclared prefixes, misused reserved ones, and a first element that is no stream. */
  open(name: string, attributes: ReadonlyMap<string, string>): void {
    const declared = new Map<string, string>()
    for (const [attribute, value] of attributes) {
      const prefix = declaredPrefix(attribute)
      if (prefix === undefined) continue
      const isReserved = prefix === 'xmlns' || (prefix === 'xml' && value !== XML_NAMESPACE)
      if (isReserved || (prefix !== '' && value === ''))
        throw new XmlError('not-well-formed', 'a namespace prefix that cannot be declared so')
      declared.set(prefix, value)
    }
    this.#elements.push({ name, declared })
    this.#namespaceOf(prefixOf(name))
    for (const attribute of attributes.keys()) {
      const prefix = prefixOf(attribute)
      if (prefix !== '' && prefix !== 'xmlns') this.#namespaceOf(prefix)
    }
    if (this.depth === 1) this.#checkStream(name)
  }

  /** Closes the innermost element. Throws `XmlError` where its name is another. */
  close(name: string): void {
    if (this.#elements.pop()?.name !== name) throw new XmlError('not-well-formed', 'elements are not nested')
  }

  #checkStream(name: string): void {
    const prefix = prefixOf(name)
    if (this.#namespaceOf(prefix) !== NS.stream || name !== (prefix === '' ? 'stream' : `${prefix}:stream`))
      throw new XmlError('invalid-namespace', 'the first element is no stream')
  }

  #namespaceOf(prefix: string): string {
    if (prefix === 'xml') return XML_NAMESPACE
    for (let at = this.#elements.length - 1; at >= 0; at--) {
      const namespace = this.#elements[at]?.declared.get(prefix)
      if (namespace !== undefined) return namespace
    }
    if (prefix !== '') throw new XmlError('not-well-formed', 'a namespace prefix that is not declared')
    return ''
  }
}

/** The prefix that an attribute declares: `''` for `xmlns`, undefined where it declares none. */
function declaredPrefix(attribute: string): string | undefined {
  if (attribute === 'xmlns') return ''
  return attribute.startsWith('xmlns:') ? attribute.slice(6) : undefined
}

function prefixOf(name: string): string {
  return name.slice(0, Math.max(0, name.indexOf(':')))
}
