import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GOODBYE, HANDSHAKE, IDLE, MAX_STREAM_SIGNAL } from '../../daemon/xmpp/lan-stream.ts'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import { ENTITY_CAPS } from '../../daemon/xmpp/stanzas.ts'
import { carry, newIdentity, StreamEnd } from './stream-end.ts'

/** What Finch 2.14.12 says, byte for byte (libpurple's Bonjour protocol, seen in the lab). */
const FINCH = {
  header: (from: string, to: string) =>
    `<?xml version="1.0" encoding="UTF-8" ?>\n<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" from="${from}" to="${to}">`,
  message: (from: string, to: string, text: string) =>
    `<message to='${to}' from='${from}' type='chat'><body>${text}</body><html xmlns='http://www.w3.org/1999/xhtml'><body><font>${text}</font></body></html><x xmlns='jabber:x:event'><composing/></x></message>`,
  end: '</stream:stream>',
}

const header = (attrs = "from='bob@h2' to='alice@h1' version='1.0'"): string =>
  `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${NS.stream}' ${attrs}>`
const bob = { instance: 'bob@h2', peer: undefined }

/** A stream that a plain client opened to us. */
function opened(attrs?: string): StreamEnd {
  const end = new StreamEnd('responder', 'alice@h1', { knows: bob })
  end.hears(header(attrs))
  end.says()
  end.told.length = 0
  return end
}

describe('with Finch', () => {
  test('a conversation that it begins', () => {
    const end = new StreamEnd('responder', 'alice@h1', { knows: bob })
    end.hears(FINCH.header('bob@h2', 'alice@h1'))
    // It speaks no XMPP 1.0: so no version, and no features.
    expect(end.says()).toMatch(
      /^<\?xml [^>]+\?><stream:stream xmlns="[^"]+" xmlns:stream="[^"]+" from="alice@h1" to="bob@h2" id="[0-9a-f]{32}">$/,
    )
    end.hears(FINCH.message('bob@h2', 'alice@h1', 'Hello Bob &amp; &lt;world&gt;, ünïcode'))
    expect(end.says()).toBe('')
    end.stream.sendChat('Hi <Alice> 🎉', 'id1', 0)
    expect(end.says()).toMatch(
      /^<message type="chat" id="id1" from="alice@h1" to="bob@h2"><body>Hi &lt;Alice&gt; 🎉<\/body>/,
    )
    end.stream.sendChatState(true, 0)
    expect(end.says()).toBe('')
    end.hears(FINCH.end)
    expect(end.says()).toBe('</stream:stream>')
    expect(end.told).toEqual(['opened', 'chat - Hello Bob & <world>, ünïcode', 'closed gracefully'])
  })

  test('a conversation that we begin', () => {
    const end = new StreamEnd('initiator', 'alice@h1', { remote: bob })
    expect(end.says()).toMatch(/ from="alice@h1" to="bob@h2" version="1.0">$/)
    end.hears(FINCH.header('bob@h2', 'alice@h1'))
    end.stream.sendChat('Hallo', 'id1', 0)
    end.hears(FINCH.message('bob@h2', 'alice@h1', 'Hi Alice'))
    end.stream.end(0)
    expect(end.says()).toMatch(/<\/message><\/stream:stream>$/)
    end.hears(FINCH.end)
    expect(end.told).toEqual(['opened', 'chat - Hi Alice', 'closed gracefully'])
  })

  test('it does not know us yet: the header, and at once the end', () => {
    const end = new StreamEnd('initiator', 'alice@h1', { remote: bob })
    end.hears(`${FINCH.header('bob@h2', 'alice@h1')}${FINCH.end}`)
    expect(end.told).toEqual(['opened', 'closed gracefully'])
  })
})

describe('a stream', () => {
  test('offers a 1.0 client features, which are none', () => {
    const end = new StreamEnd('responder', 'alice@h1', { knows: bob })
    end.hears(header())
    expect(end.says()).toMatch(/version="1.0"><stream:features\/>$/)
  })

  test('keeps what comes until its owner knows who it is', () => {
    const end = new StreamEnd('responder', 'alice@h1', { undecided: true })
    end.hears(`${header()}<message><body>one</body></message>`)
    end.hears('<message><body>two</body></message>')
    expect(end.told).toEqual(['asked bob@h2'])
    expect(end.says()).toBe('')
    end.stream.admit(bob, 0)
    expect(end.told.slice(1)).toEqual(['opened', 'chat - one', 'chat - two'])
  })

  test('keeps no more than so much of it', () => {
    const end = new StreamEnd('responder', 'alice@h1', { undecided: true })
    end.hears(header())
    for (let n = 0; n < 3; n++) end.hears(' '.repeat(60_000))
    expect(end.told).toEqual(['asked bob@h2', 'refused peer.oversized', 'closed peer.oversized'])
  })

  test('answers receipts, pings and questions about what it can do', () => {
    const end = opened()
    end.hears(`<message id='m1' type='chat'><body>hi</body><request xmlns='${NS.receipts}'/></message>`)
    expect(end.says()).toBe(`<message from="alice@h1" to="bob@h2"><received xmlns="${NS.receipts}" id="m1"/></message>`)
    end.hears(`<iq type='get' id='p' from='bob@h2' to='alice@h1'><ping xmlns='${NS.ping}'/></iq>`)
    expect(end.says()).toBe('<iq type="result" from="alice@h1" to="bob@h2" id="p"/>')
    end.hears(
      `<iq type='get' id='d'><query xmlns='${NS.discoInfo}' node='${ENTITY_CAPS.node}#${ENTITY_CAPS.ver}'/></iq>`,
    )
    expect(end.says()).toContain('<identity category="client" type="pc" name="Partyline"/>')
    for (const iq of [
      `type='get' id='v'><query xmlns='jabber:iq:version'/>`,
      `type='set' id='v'><ping xmlns='${NS.ping}'/>`,
    ]) {
      end.hears(`<iq ${iq}</iq>`)
      expect(end.says()).toContain(`<error type="cancel"><service-unavailable xmlns="${NS.stanzas}"/></error></iq>`)
    }
    expect(end.told).toEqual(['chat m1 hi'])
  })

  test('never answers results, errors, presence or features', () => {
    const end = opened()
    end.hears(`<iq type='result' id='1'/><iq type='error' id='2'><error/></iq><iq type='get'/>`)
    end.hears(
      `<presence/><stream:features/><message type='error' id='m'><body>no</body></message><message type='headline'><body>x</body></message>`,
    )
    expect(end.says()).toBe('')
    expect(end.told).toEqual(['undelivered m'])
  })

  test('tells chat states to who tells them, and hears them', () => {
    const end = opened()
    end.stream.sendChatState(true, 0)
    expect(end.says()).toBe('')
    end.hears(`<message type='chat'><composing xmlns='${NS.chatStates}'/></message>`)
    end.hears(`<message type='chat'><paused xmlns='${NS.chatStates}'/></message>`)
    end.hears(`<message type='chat'><body>hi</body><active xmlns='${NS.chatStates}'/></message>`)
    expect(end.told).toEqual(['composing true', 'composing false', 'chat - hi'])
    end.stream.sendChatState(true, 0)
    end.stream.sendChatState(false, 0)
    expect(end.says()).toMatch(/<composing xmlns="[^"]+"\/><\/message>.*<active xmlns="[^"]+"\/><\/message>$/)
  })

  test('sends a text back that is too long, and texts that come too fast', () => {
    const end = opened()
    end.hears(`<message id='long'><body>${'é'.repeat(2049)}</body></message>`)
    expect(end.says()).toMatch(/^<message type="error" .*id="long"><error type="modify"><not-acceptable /)
    for (let n = 0; n < 201; n++) end.hears(`<message id='m${n}'><body>x</body></message>`)
    expect(end.says()).toMatch(/^<message type="error" .*id="m200"><error type="wait"><resource-constraint /)
    expect(end.told.filter((one) => !one.startsWith('chat'))).toEqual([
      'refused peer.oversized',
      'refused peer.rate-limited',
    ])
    expect(end.told).toHaveLength(202)
    end.passes(1000)
    end.hears('<message><body>slower</body></message>')
    expect(end.told.at(-1)).toBe('chat - slower')
  })

  test('gives a text without what a screen does not show', () => {
    const end = opened()
    end.hears('<message><body>a&#x9b;31m\u007fb&#10;c</body></message><message><body> \n </body></message>')
    expect(end.told).toEqual(['chat - a31mb\nc'])
  })

  test.each<[string, string, string, string]>([
    ['to somebody else', "from='bob@h2' to='carol@h3'", 'host-unknown', 'peer.not-found'],
    ['from nobody', "to='alice@h1'", 'improper-addressing', 'peer.bad-xml'],
    ['from whom the roster does not know', "from='mallory' to='alice@h1'", 'invalid-from', 'peer.impersonation'],
    ['from ourselves', "from='alice@h1' to='alice@h1'", 'invalid-from', 'peer.impersonation'],
  ])('is refused that comes %s', (_, attrs, condition, code) => {
    const end = new StreamEnd('responder', 'alice@h1', { knows: bob })
    end.hears(header(attrs))
    expect(end.says()).toMatch(
      new RegExp(
        `^<\\?xml .*<stream:stream .*<stream:error><${condition} xmlns="${NS.streams}"/></stream:error></stream:stream>$`,
      ),
    )
    expect(end.told).toEqual([`refused ${code}`, `closed ${code}`])
  })

  test('is refused while we have no name', () => {
    const end = new StreamEnd('responder', '', { knows: bob })
    end.hears(header())
    expect(end.told).toEqual(['refused peer.not-found', 'closed peer.not-found'])
  })

  test.each<[string, string, string, string]>([
    [
      'a stanza of somebody else',
      `<message from='carol@h3'><body>hi</body></message>`,
      'invalid-from',
      'peer.impersonation',
    ],
    ['a question of somebody else', `<iq from='alice@h1' type='get' id='1'/>`, 'invalid-from', 'peer.impersonation'],
    [
      'a signal of a plain client',
      `<message><signal xmlns='${NS.signal}'>AAAA</signal></message>`,
      'not-authorized',
      'peer.impersonation',
    ],
    ['a document type', '<!DOCTYPE x>', 'restricted-xml', 'peer.bad-xml'],
    ['a stanza too large', `<message><body>${'x'.repeat(66_000)}`, 'policy-violation', 'peer.oversized'],
    [
      'what is no stanza',
      `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`,
      'unsupported-stanza-type',
      'peer.bad-xml',
    ],
  ])('ends at %s', (_, xml, condition, code) => {
    const end = opened()
    end.hears(xml)
    expect(end.says()).toBe(`<stream:error><${condition} xmlns="${NS.streams}"/></stream:error></stream:stream>`)
    end.hears('<message><body>more</body></message>')
    expect(end.told).toEqual([`refused ${code}`, `closed ${code}`])
    expect(end.says()).toBe('')
    expect(end.stream.deadline).toBeUndefined()
  })

  test('ends where somebody else answers than was dialled', () => {
    const end = new StreamEnd('initiator', 'alice@h1', { remote: bob })
    end.hears(FINCH.header('carol@h3', 'alice@h1'))
    expect(end.told).toEqual(['refused peer.impersonation', 'closed peer.impersonation'])
  })

  test('ends with the error that the other side tells', () => {
    const end = opened()
    end.hears(`<stream:error><conflict xmlns='${NS.streams}'/></stream:error></stream:stream>`)
    expect(end.told).toEqual(['closed network.lost'])
    expect(end.says()).toBe('</stream:stream>')
    expect(end.reason).toBe('the other side ended the stream: conflict')
  })

  test.for([
    [
      '<stream:error><a\u009b31m xmlns="urn:x"/></stream:error>',
      'the other side ended the stream: an unknown condition',
    ],
    ['<\u009b31m:message/>', 'a namespace prefix that is not declared'],
    ['<message xmlns:\u202e=""/>', 'a namespace prefix that cannot be declared so'],
  ])('says why in words of ours: %j', ([text, reason]) => {
    const end = opened()
    end.hears(text ?? '')
    expect(end.reason).toBe(reason)
  })

  test.each(['initiator', 'responder'] as const)('waits for a header for five seconds, as %s', (role) => {
    const end = new StreamEnd(role, 'alice@h1', role === 'initiator' ? { remote: bob } : { knows: bob })
    end.passes(HANDSHAKE - 1)
    end.hears('<?xml version=')
    expect(end.told).toEqual([])
    end.passes(1)
    expect(end.told).toEqual(['refused peer.handshake-timeout', 'closed peer.handshake-timeout'])
    expect(end.says()).toMatch(/<connection-timeout .*<\/stream:stream>$/)
  })

  test('waits no longer for its owner, either', () => {
    const end = new StreamEnd('responder', 'alice@h1', { undecided: true })
    end.hears(header())
    end.passes(HANDSHAKE)
    end.stream.admit(bob, end.now)
    expect(end.told).toEqual(['asked bob@h2', 'refused peer.handshake-timeout', 'closed peer.handshake-timeout'])
  })

  test('ends after ten minutes without a byte, and not before', () => {
    const end = opened()
    end.passes(IDLE - 1)
    end.hears(' ')
    end.passes(IDLE - 1)
    end.stream.sendChat('still there?', 'id', end.now)
    end.says()
    end.passes(IDLE - 1)
    expect(end.told).toEqual([])
    end.passes(1)
    expect(end.says()).toBe('</stream:stream>')
    end.hears('<message><body>late</body></message>')
    end.passes(GOODBYE)
    expect(end.told).toEqual(['chat - late', 'closed gracefully'])
  })

  test('tells a lost connection from one that was ended', () => {
    const lost = opened()
    lost.stream.lost()
    const ended = opened()
    ended.stream.end(0)
    ended.stream.lost()
    expect([lost.told, ended.told]).toEqual([['closed network.lost'], ['closed gracefully']])
  })
})

describe('two Partyline hosts', () => {
  const a = newIdentity()
  const b = newIdentity()

  function pair(claimed = { ofA: a.peer, ofB: b.peer }, self = { a, b }): [StreamEnd, StreamEnd] {
    return [
      new StreamEnd('initiator', 'alice@h1', { identity: self.a, remote: { instance: 'bob@h2', peer: claimed.ofB } }),
      new StreamEnd('responder', 'bob@h2', { identity: self.b, knows: { instance: 'alice@h1', peer: claimed.ofA } }),
    ]
  }

  test('prove their keys to each other, and carry signals and receipts', () => {
    const [alice, bob] = pair()
    carry(alice, bob)
    expect(alice.told).toEqual(['opened', `proven ${b.peer}`])
    expect(bob.told).toEqual(['opened', `proven ${a.peer}`])
    const largest = Buffer.alloc(MAX_STREAM_SIGNAL, 0xab)
    alice.stream.sendSignal(Buffer.from([0, 255]), 0)
    alice.stream.sendSignal(largest, 0)
    bob.stream.sendChat('grüß dich', 'x1', 0)
    bob.stream.sendChatState(true, 0)
    carry(alice, bob)
    expect(bob.told.slice(2)).toEqual(['signal 00ff', `signal ${largest.toString('hex')}`, 'receipt x1'])
    expect(alice.told.slice(2)).toEqual(['chat x1 grüß dich', 'composing true'])
    alice.stream.end(0)
    carry(alice, bob)
    expect([alice.told.at(-1), bob.told.at(-1)]).toEqual(['closed gracefully', 'closed gracefully'])
  })

  test('refuse a key that is not the one announced', () => {
    const mallory = newIdentity()
    const [alice, bob] = pair(undefined, { a: mallory, b })
    carry(alice, bob)
    expect(bob.told).toEqual(['opened', 'refused peer.impersonation', 'closed peer.impersonation'])
    const [liar, deceived] = pair(undefined, { a: { ...mallory, peer: a.peer }, b })
    carry(liar, deceived)
    expect(deceived.told).toEqual(['opened', 'refused peer.bad-signature', 'closed peer.bad-signature'])
  })

  test('refuse a proof from another stream', () => {
    const [alice, bob] = pair()
    bob.hears(alice.says())
    alice.hears(bob.says())
    const proof = alice.says()
    expect(proof).toContain('<proof ')
    const again = new StreamEnd('responder', 'bob@h2', {
      identity: b,
      knows: { instance: 'alice@h1', peer: a.peer },
      randomBytes: (size) => new Uint8Array(size).fill(8),
    })
    const [once] = pair()
    again.hears(`${once.says()}${proof}`)
    expect(again.told).toEqual(['opened', 'refused peer.bad-signature', 'closed peer.bad-signature'])
  })

  test('wait five seconds for a proof, and take no signal without one', () => {
    const [alice, bob] = pair()
    bob.hears(alice.says())
    bob.passes(HANDSHAKE)
    expect(bob.told).toEqual(['opened', 'refused peer.handshake-timeout', 'closed peer.handshake-timeout'])
    const [eager, careful] = pair()
    careful.hears(eager.says())
    careful.hears(`<message><signal xmlns='${NS.signal}'>AAAA</signal></message>`)
    expect(careful.told).toEqual(['opened', 'refused peer.impersonation', 'closed peer.impersonation'])
    eager.stream.sendSignal(Buffer.from('x'), 0)
    expect(eager.says()).toBe('')
  })

  test('drop signals that are too large or no base64, and go on', () => {
    const [alice, bob] = pair()
    carry(alice, bob)
    bob.told.length = 0
    for (const text of ['A'.repeat(MAX_STREAM_SIGNAL * 1.4), '', 'AAA', 'AA==AA==', 'Ä'])
      bob.hears(`<message><signal xmlns='${NS.signal}'>${text}</signal></message>`)
    bob.hears(`<message><signal xmlns='${NS.signal}'>AAAA</signal></message>`)
    expect(bob.told).toEqual(['refused peer.oversized', ...Array(4).fill('refused peer.bad-signal'), 'signal 000000'])
  })
})

describe('whatever arrives', () => {
  const parts = fc.constantFrom(
    header(),
    FINCH.header('bob@h2', 'alice@h1'),
    FINCH.message('bob@h2', 'alice@h1', 'hi'),
    FINCH.end,
    `<iq type='get' id='p'><ping xmlns='${NS.ping}'/></iq>`,
    `<iq type='get' id='d'><query xmlns='${NS.discoInfo}'/></iq>`,
    `<message id='m'><body>x</body><request xmlns='${NS.receipts}'/><composing xmlns='${NS.chatStates}'/></message>`,
    `<proof xmlns='${NS.identity}' peer='x' sig='AAAA'/>`,
    `<message><signal xmlns='${NS.signal}'>AAAA</signal></message>`,
    `<stream:error/>`,
    '<presence/>',
    '<',
    '&',
    ' ',
  )

  test('a stream closes at most once, says nothing after that, and never throws', () => {
    const bytes = fc.oneof(
      parts.map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 20 }).map((some) => Buffer.from(some)),
    )
    const step = fc.oneof(
      { weight: 8, arbitrary: bytes },
      { weight: 1, arbitrary: fc.constantFrom('end', 'lost', 'chat', 'state', 'signal') },
      { weight: 1, arbitrary: fc.nat(IDLE) },
    )
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 12 }), (responds, steps) => {
        const end = new StreamEnd(
          responds ? 'responder' : 'initiator',
          'alice@h1',
          responds ? { knows: bob } : { remote: bob },
        )
        for (const one of steps) {
          const wasClosed = end.told.some((line) => line.startsWith('closed'))
          end.says()
          if (typeof one === 'number') end.passes(one)
          else if (typeof one !== 'string') end.hears(one)
          else if (one === 'end') end.stream.end(end.now)
          else if (one === 'lost') end.stream.lost()
          else if (one === 'chat') end.stream.sendChat('x', 'y', end.now)
          else if (one === 'state') end.stream.sendChatState(true, end.now)
          else end.stream.sendSignal(Buffer.from('x'), end.now)
          if (wasClosed) expect(end.says()).toBe('')
        }
        const closings = end.told.filter((line) => line.startsWith('closed'))
        expect(closings.length).toBeLessThanOrEqual(1)
        expect(end.told).not.toContain('refused local.internal')
        expect(end.told.indexOf(closings[0] ?? '')).toBe(closings.length ? end.told.length - 1 : -1)
      }),
      { numRuns: 500 },
    )
  })
})
