import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import { XmlError } from '../../daemon/xmpp/xml-error.ts'
import { XmlGuard, XmlReader } from '../../daemon/xmpp/xml-reader.ts'

const HEADER = `<?xml version='1.0' encoding='UTF-8'?>\n<stream:stream xmlns='jabber:client' xmlns:stream='${NS.stream}' from='a' to='b'>`

/** What a reader says of pieces of a stream: one line an event. */
function read(pieces: readonly (string | Uint8Array)[], reader = new XmlReader()): string[] {
  return pieces.flatMap((piece) =>
    [...reader.push(Buffer.from(piece))].map((event) => {
      if (event.type === 'open') return `open ${JSON.stringify(event.attrs)}`
      return event.type === 'close' ? 'close' : event.element.toString()
    }),
  )
}

/** The stream error and the code that bytes are refused with, by the reader and by the guard alone. */
function refusal(...pieces: readonly (string | Uint8Array)[]): string {
  const guard = new XmlGuard()
  const seen = [() => read(pieces), () => pieces.map((piece) => guard.push(Buffer.from(piece)))].map((attempt) => {
    try {
      attempt()
      return 'taken'
    } catch (error) {
      if (!(error instanceof XmlError)) throw error
      return `${error.condition} ${error.code}`
    }
  })
  expect(seen[0]).toBe(seen[1])
  return seen[0] ?? ''
}

const within = (stanza: string): string => refusal(HEADER, stanza)
const repeat = (count: number, of: (index: number) => string): string =>
  Array.from({ length: count }, (_, n) => of(n)).join('')

describe('an XML reader', () => {
  test('reads a header, stanzas with white space between them, and the end', () => {
    const stanza = '<message to="b"><body>Grüße &amp; 🎉 &lt;&#x41;&#66;</body><x xmlns="y" a="&quot;\'"/></message>'
    expect(read([HEADER, ` \n${stanza}\t<presence/>\r\n`, '</stream:stream >\n'])).toEqual([
      `open ${JSON.stringify({ xmlns: 'jabber:client', 'xmlns:stream': NS.stream, from: 'a', to: 'b' })}`,
      '<message to="b"><body>Grüße &amp; 🎉 &lt;AB</body><x xmlns="y" a="&quot;&apos;"/></message>',
      '<presence/>',
      'close',
    ])
  })

  test('finds namespaces that the stream declares', () => {
    const reader = new XmlReader()
    const events = [...reader.push(Buffer.from(`${HEADER}<stream:features/><iq><ping xmlns='${NS.ping}'/></iq>`))]
    const [, features, iq] = events.map((event) => (event.type === 'stanza' ? event.element : undefined))
    expect(features?.is('features', NS.stream)).toBe(true)
    expect(iq?.getNS()).toBe(NS.client)
    expect(iq?.getChild('ping', NS.ping)).toBeDefined()
  })

  test('takes a header in single or double quotes, without a declaration, with any prefix, behind white space', () => {
    for (const header of [
      `<s:stream xmlns:s="${NS.stream}">`,
      ` \n<stream xmlns='${NS.stream}' >`,
      `<?xml version="1.0"?><stream:stream\nxmlns:stream = '${NS.stream}'>`,
      `<?xml version="1.0" encoding='utf-8' standalone='yes' ?><s:stream xmlns:s="${NS.stream}">`,
    ])
      expect(refusal(header)).toBe('taken')
  })

  test.each<[string, string, string]>([
    ['a document type', '<!DOCTYPE lolz [<!ENTITY lol "lol">]>', 'restricted-xml'],
    ['a comment', '<!-- psst -->', 'restricted-xml'],
    ['a CDATA section', '<message><![CDATA[<>]]></message>', 'restricted-xml'],
    ['a processing instruction', '<?php echo 1 ?>', 'restricted-xml'],
    ['an XML declaration', '<?xml version="1.0"?>', 'restricted-xml'],
    ['an entity of its own', '<message>&lol9;</message>', 'restricted-xml'],
    ['an entity in a value', '<message to="&nbsp;"/>', 'restricted-xml'],
    ['a reference to NUL', '<message>&#0;</message>', 'not-well-formed'],
    ['a reference to a surrogate', '<message>&#xD800;</message>', 'not-well-formed'],
    ['a reference beyond Unicode', '<message>&#x110000;</message>', 'not-well-formed'],
    ['an ampersand', '<message>this & that</message>', 'not-well-formed'],
    ['a control character', '<message>\u0007</message>', 'not-well-formed'],
    ['a control character in a value', '<message to="\u001b[2J"/>', 'not-well-formed'],
    ['a code point that is none', '<message>\uffff</message>', 'not-well-formed'],
    ['elements that overlap', '<message><body></message></body>', 'not-well-formed'],
    ['the end of something else', '</message>', 'not-well-formed'],
    ['a prefix that is not declared', '<x:message/>', 'not-well-formed'],
    ['a prefix of an attribute that is not declared', '<message x:y="1"/>', 'not-well-formed'],
    ['a prefix declared for something that is over', '<a><b xmlns:x="y"/><x:c/></a>', 'not-well-formed'],
    ['a prefix that is taken back', '<a xmlns:x=""/>', 'not-well-formed'],
    ['a prefix that is reserved', '<a xmlns:xmlns="y"/>', 'not-well-formed'],
    ['a prefix that means something else', '<a xmlns:xml="y"/>', 'not-well-formed'],
    ['an attribute that comes twice', '<a b="1" b="2"/>', 'not-well-formed'],
    ['an attribute without quotes', '<a b=1/>', 'not-well-formed'],
    ['an attribute without a value', '<a b/>', 'not-well-formed'],
    ['attributes that touch', '<a b="1"c="2"/>', 'not-well-formed'],
    ['a tag in a value', '<a b="<c/>"/>', 'not-well-formed'],
    ['a slash inside of a tag', '<a / b="1">', 'not-well-formed'],
    ['a name of three parts', '<a:b:c/>', 'not-well-formed'],
    ['an empty tag', '<>', 'not-well-formed'],
    ['a number for a name', '<1/>', 'not-well-formed'],
    ['text between stanzas', '<a/>hello', 'bad-format'],
    ['something behind the end', '</stream:stream><a/>', 'not-well-formed'],
  ])('refuses %s', (_, stanza, condition) => {
    expect(within(stanza)).toBe(`${condition} peer.bad-xml`)
  })

  test.each<[string, string | Uint8Array, string]>([
    ['a stanza before the header', `<message xmlns='jabber:client'><body>hi</body></message>`, 'invalid-namespace'],
    ['a stream of another namespace', '<stream:stream xmlns:stream="jabber:client">', 'invalid-namespace'],
    ['another element of the right namespace', `<s:features xmlns:s="${NS.stream}">`, 'invalid-namespace'],
    ['an empty stream', `<s:stream xmlns:s="${NS.stream}"/>`, 'bad-format'],
    ['a document type', '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'restricted-xml'],
    ['another instruction', '<?xml-stylesheet href="x"?>', 'restricted-xml'],
    ['two declarations', '<?xml version="1.0"?><?xml version="1.0"?>', 'restricted-xml'],
    ['a declaration behind white space', ' <?xml version="1.0"?>', 'not-well-formed'],
    ['a malformed declaration', '<?xml encoding="UTF-8"?>', 'not-well-formed'],
    ['another encoding', '<?xml version="1.0" encoding="ISO-8859-1"?>', 'unsupported-encoding'],
    ['UTF-16', Buffer.from(`\ufeff${HEADER}`, 'utf16le'), 'unsupported-encoding'],
    ['UTF-16 without a mark', Buffer.from(HEADER, 'utf16le'), 'not-well-formed'],
    ['a byte order mark', `\ufeff${HEADER}`, 'not-well-formed'],
    ['Latin-1', Buffer.from(`${HEADER}<a>ü</a>`, 'latin1'), 'unsupported-encoding'],
    ['an overlong form', Buffer.concat([Buffer.from(HEADER), Buffer.from([0xc0, 0xbc])]), 'unsupported-encoding'],
    [
      'an encoded surrogate',
      Buffer.concat([Buffer.from(`${HEADER}<a>`), Buffer.from([0xed, 0xa0, 0x80])]),
      'unsupported-encoding',
    ],
    ['text', 'GET / HTTP/1.1\r\n', 'not-well-formed'],
  ])('refuses to begin with %s', (_, bytes, condition) => {
    expect(refusal(bytes)).toBe(`${condition} peer.bad-xml`)
    expect(refusal(...Array.from(Buffer.from(bytes), (byte) => Uint8Array.of(byte)))).toBe(`${condition} peer.bad-xml`)
  })

  test.each<[string, string, string]>([
    ['a stanza', `<a>${'x'.repeat(65_529)}</a>`, `<a>${'x'.repeat(65_530)}</a>`],
    ['a value', `<a b="${'x'.repeat(65_527)}"/>`, `<a b="${'x'.repeat(65_528)}"/>`],
    ['the depth', repeat(32, () => '<a>') + repeat(32, () => '</a>'), repeat(33, () => '<a>')],
    ['the attributes', `<a ${repeat(64, (n) => ` a${n}=""`)}/>`, `<a ${repeat(65, (n) => ` a${n}=""`)}/>`],
    ['a name', `<${'a'.repeat(256)}/>`, `<${'a'.repeat(257)}/>`],
    ["an attribute's name", `<a ${'a'.repeat(256)}=""/>`, `<a ${'a'.repeat(257)}=""/>`],
    ['a reference', `<a>&#${'0'.repeat(253)}65;</a>`, `<a>&#${'0'.repeat(255)}65;</a>`],
  ])('bounds %s', (_, fits, exceeds) => {
    expect(within(fits)).toBe('taken')
    expect(within(exceeds)).toBe('policy-violation peer.oversized')
  })

  test('refuses a stanza too large before its end, and a header as well', () => {
    expect(refusal(HEADER, `<a>${'x'.repeat(70_000)}`)).toBe('policy-violation peer.oversized')
    expect(refusal(`<stream:stream from='${'x'.repeat(4100)}`)).toBe('policy-violation peer.oversized')
    expect(refusal(' '.repeat(4097))).toBe('policy-violation peer.oversized')
    expect(refusal(`<?xml ${' '.repeat(4097)}`)).toBe('policy-violation peer.oversized')
    expect(refusal(HEADER, `<${'a'.repeat(70_000)}`)).toBe('policy-violation peer.oversized')
  })

  test('lets keepalives pass for ever and keeps nothing of them', () => {
    expect(refusal(HEADER, ...Array.from({ length: 64 }, () => ' '.repeat(4096)), '<a/>')).toBe('taken')
  })

  test('reads a large stanza that comes byte by byte in linear time', () => {
    const stanza = Buffer.from(`<message><body>${'ü&lt;'.repeat(10_000)}</body></message>`)
    const reader = new XmlReader()
    read([HEADER], reader)
    const start = performance.now()
    const events = read(
      Array.from(stanza, (byte) => Uint8Array.of(byte)),
      reader,
    )
    expect(events).toEqual([stanza.toString()])
    // Scanning again with every byte would take 1.8 billion steps.
    expect(performance.now() - start).toBeLessThan(3000)
  })

  test('stays refused once it refused something', () => {
    const reader = new XmlReader()
    expect(() => read([HEADER, '<!-- -->'], reader)).toThrow(XmlError)
    expect(() => read(['<a/>'], reader)).toThrow(XmlError)
  })

  test('tells what came before a violation', () => {
    const reader = new XmlReader()
    const seen: string[] = []
    expect(() => {
      for (const { type } of reader.push(Buffer.from(`${HEADER}<a/><b/><!`))) seen.push(type)
    }).toThrow(XmlError)
    expect(seen).toEqual(['open', 'stanza', 'stanza'])
  })
})

const name = fc.constantFrom('message', 'body', 'x', 'iq', '__proto__', 'constructor', 'a-b.c_1')
const text = fc
  .string({ unit: 'grapheme', maxLength: 20 })
  // What XML cannot hold.
  .map((chars) => chars.replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '').replace(/[<&]/g, '&amp;'))
const value = text.map((chars) => chars.replaceAll('"', '&quot;'))
const attributes = fc
  .dictionary(fc.constantFrom('to', 'from', 'id', 'xmlns', 'xml:lang'), value, { maxKeys: 3 })
  .map((all) =>
    Object.entries(all)
      .map(([key, one]) => ` ${key}="${one}"`)
      .join(''),
  )
const { element } = fc.letrec<{ element: string; children: string }>((tie) => ({
  children: fc.array(fc.oneof(text, tie('element')), { maxLength: 3 }).map((all) => all.join('')),
  element: fc
    .tuple(name, attributes, tie('children'))
    .map(([tag, attrs, children]) => (children === '' ? `<${tag}${attrs}/>` : `<${tag}${attrs}>${children}</${tag} >`)),
}))
const stream = fc
  .array(fc.oneof(element, fc.constantFrom(' ', '\n')), { maxLength: 6 })
  .map((stanzas) => Buffer.from(`${HEADER}${stanzas.join('')}</stream:stream>`))

/** Bytes in pieces. */
function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

describe('whatever arrives', () => {
  test('a stream means the same however it is cut', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 12 }), (bytes, at) => {
        const whole = read([bytes])
        expect(read(cut(bytes, at))).toEqual(whole)
        expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(whole)
        expect(whole.at(-1)).toBe('close')
      }),
      { numRuns: 200 },
    )
  })

  test('nothing is thrown but an XmlError, and reader and guard agree', () => {
    const soup = fc
      .array(
        fc.constantFrom(
          '<',
          '>',
          '/',
          '"',
          "'",
          '=',
          ' ',
          'a',
          'xmlns',
          ':',
          '&',
          ';',
          '#',
          'amp',
          '?',
          '!',
          '<a',
          '</a>',
          '\xff',
        ),
        { maxLength: 60 },
      )
      .map((parts) => Buffer.from(parts.join(''), 'latin1'))
    const anything = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(soup, anything), fc.boolean(), (bytes, begun) => {
        refusal(begun ? HEADER : '', bytes)
      }),
      { numRuns: 2000 },
    )
  })

  test('a damaged stream is refused or read, and nothing else', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('<>&"\'/= ')))), {
      minLength: 1,
      maxLength: 4,
    })
    fc.assert(
      fc.property(stream, damage, (bytes, places) => {
        for (const [at, byte] of places) bytes[at % bytes.length] = byte
        refusal(bytes)
      }),
      { numRuns: 1000 },
    )
  })

  test('what a reader gives, ltx writes so that it is read again as the same', () => {
    fc.assert(
      fc.property(element, (stanza) => {
        const [once] = read([`${HEADER}${stanza}`]).slice(1)
        expect(read([`${HEADER}${once}`]).slice(1)).toEqual([once])
      }),
      { numRuns: 200 },
    )
  })
})
