/** What is used of ltx 3, which has no types of its own. */
declare module 'ltx' {
  export type Node = Element | string

  /** Null for text that is no whole element; throws for entities it does not know. */
  export function parse(text: string): Element | null

  export class Element {
    constructor(name: string, attrs?: Record<string, string | undefined>)
    name: string
    parent: Element | null
    children: Node[]
    attrs: Record<string, string | undefined>
    is(name: string, xmlns?: string): boolean
    getName(): string
    getNS(): string | undefined
    getChild(name: string, xmlns?: string): Element | undefined
    getChildren(name: string, xmlns?: string): Element[]
    getChildElements(): Element[]
    getChildText(name: string, xmlns?: string): string | null
    getText(): string
    /** Appends a new child and gives it. */
    c(name: string, attrs?: Record<string, string | undefined>): Element
    /** Appends a child and gives it. */
    cnode(child: Element): Element
    /** Appends text and gives the element. */
    t(text: string): this
    up(): Element
    toString(): string
  }

  /** Throws where the text is not well-formed. */
  export function parse(text: string): Element
}
