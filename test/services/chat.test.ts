import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { type ErrorCode, PartylineError } from '../../daemon/errors.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { ChatService, decodeChat, MAX_CHAT_MESSAGE } from '../../daemon/services/chat.ts'
import { ChatHistory } from '../../daemon/services/chat-history.ts'
import type { ContactChat } from '../../daemon/services/contact-chat.ts'
import type { SignalExchange } from '../../daemon/signaling/signaller.ts'
import type { ContactId, PeerId } from '../../daemon/types.ts'
import { contactId } from '../../daemon/xmpp/contacts.ts'
import type { ChatLine } from '../../ipc/methods.ts'
import { VirtualClock } from '../virtual-clock.ts'

const ANNA = 'anna'.padEnd(52, 'a') as PeerId
const BEN = 'ben'.padEnd(52, 'a') as PeerId
const ALICE = contactId('alice@h1')

type Taker = (peer: PeerId, content: Uint8Array) => void

/** Signals that arrive when the test says so. */
class FakeSignals implements SignalExchange {
  readonly reachable = new Set<PeerId>()
  readonly sent: { readonly peer: PeerId; readonly topic: string; readonly content: Uint8Array }[] = []
  readonly #takers = new Map<string, Taker>()

  reaches(peer: PeerId) {
    return this.reachable.has(peer) ? (['hub'] as const) : []
  }

  send(peer: PeerId, topic: string, content: Uint8Array): boolean {
    this.sent.push({ peer, topic, content })
    return true
  }

  handle(topic: string, taker: Taker) {
    this.#takers.set(topic, taker)
    return () => {}
  }

  bring(peer: PeerId, topic: string, content: string | Uint8Array): void {
    this.#takers.get(topic)?.(peer, Buffer.from(content))
  }

  /** Ids of the lines sent to a peer. */
  ids(peer: PeerId): string[] {
    return this.sent.flatMap((one) => (one.peer === peer && one.topic === 'chat' ? [decodeChat(one.content).id] : []))
  }
}

let clock: VirtualClock
let refusals: Refusals
let keep: number
let blocked: Set<PeerId>
let ways: Set<PeerId>
let sent: { peer: PeerId; message: { text: string; id: string } }[]
let failure: Error | undefined
let signals: FakeSignals
let handedOver: [ContactId, string][]
let composed: [ContactId, boolean][]
let contacts: ContactChat
let published: ChatLine[]
let states: unknown[]
let take: Taker
let chat: ChatService

beforeEach(async () => {
  clock = new VirtualClock()
  refusals = new Refusals()
  keep = 10
  blocked = new Set()
  ways = new Set([ANNA, BEN])
  composed = []
  sent = []
  failure = undefined
  signals = new FakeSignals()
  handedOver = []
  published = []
  states = []
  contacts = {
    send: async (contact, text) => {
      if (failure) throw failure
      handedOver.push([contact, text])
      return contact === ALICE ? 'lan' : 'hub'
    },
    composing: (...told) => void composed.push(told),
  }
  chat = new ChatService({
    clock,
    refusals,
    isBlocked: (peer) => blocked.has(peer),
    hasWay: (peer) => ways.has(peer),
    signals,
    contacts,
    history: await ChatHistory.open({ keep: () => keep, store: () => true, logger: silentLogger }),
    publish: (event, params) => {
      if (event === 'chat.received') published.push((params as { line: ChatLine }).line)
      else states.push([event, params])
    },
    messages: {
      send: async (peer, _channel, data) => {
        sent.push({ peer, message: JSON.parse(Buffer.from(data).toString()) })
        if (failure) throw failure
      },
      handle: (_channel, handler) => {
        take = handler
      },
    },
  })
})

const SESSION = { encrypted: true, via: 'session' } as const

let number = 0
const newId = (): string => `line${String(++number).padStart(12, '0')}`
const encoded = (text: string, id: string): string => JSON.stringify({ text, id, at: 1 })

function hear(peer: PeerId, text: string, id = newId()): string {
  try {
    take(peer, Buffer.from(encoded(text, id)))
    return 'taken'
  } catch (error) {
    return (error as PartylineError).code
  }
}

/** Lets everything happen that waits for nothing but its turn. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('chat', () => {
  test('sends a line to the peer and shows it to the other apps here', async () => {
    const line = await chat.send(ANNA, 'ready?')
    expect(line).toEqual({ peer: ANNA, direction: 'out', text: 'ready?', at: clock.wall(), ...SESSION })
    expect(sent).toMatchObject([{ peer: ANNA, message: { text: 'ready?' } }])
    expect(published).toEqual([line])
  })

  test('keeps no line that did not arrive', async () => {
    failure = new PartylineError('network.unreachable')
    await expect(chat.send(ANNA, 'ready?')).rejects.toMatchObject({ code: 'network.unreachable' })
    expect(chat.lines()).toEqual([])
  })

  test('sends what the other side can read', async () => {
    await chat.send(ANNA, 'two\r\nlines')
    const [first] = sent
    expect(decodeChat(Buffer.from(JSON.stringify(first?.message)))).toMatchObject({ text: 'two\nlines' })
  })

  test('takes a line with no app there, at the time of this host', () => {
    clock.advance(5000)
    hear(ANNA, 'hello')
    const line = { peer: ANNA, direction: 'in', text: 'hello', at: clock.wall(), ...SESSION }
    expect(chat.lines()).toEqual([line])
    expect(published).toEqual([line])
  })

  test('takes a line that is sent twice once', () => {
    hear(ANNA, 'hello', 'abcdefghabcdefgh')
    expect(hear(ANNA, 'hello', 'abcdefghabcdefgh')).toBe('taken')
    hear(BEN, 'hello', 'abcdefghabcdefgh')
    expect(chat.lines()).toHaveLength(2)
  })

  test('removes what would play with a terminal', () => {
    hear(ANNA, '\u001b[31mred\u0007\u202e\nnext\tword')
    expect(chat.lines()[0]?.text).toBe('[31mred\nnext word')
    expect(hear(ANNA, '\u0000\u0001')).toBe('peer.malformed')
  })

  test('hears nothing from blocked peers, and says nothing to them', async () => {
    blocked.add(ANNA)
    expect(hear(ANNA, 'hello')).toBe('policy.blocked')
    await expect(chat.send(ANNA, 'hello')).rejects.toMatchObject({ code: 'policy.blocked' })
    expect(chat.lines()).toEqual([])
    expect(refusals.snapshot()).toEqual({ 'policy.blocked': 1 })
  })

  test('takes no endless row of lines from a peer, whose sender is told', () => {
    for (let times = 0; times < 200; times++) expect(hear(ANNA, 'x')).toBe('taken')
    expect(hear(ANNA, 'x')).toBe('peer.rate-limited')
    expect(hear(BEN, 'x')).toBe('taken')
    expect(refusals.snapshot()).toEqual({ 'peer.rate-limited': 1 })
    clock.advance(1000)
    for (let times = 0; times < 20; times++) expect(hear(ANNA, 'x')).toBe('taken')
    expect(hear(ANNA, 'x')).toBe('peer.rate-limited')
  })

  test('keeps the last lines only, as many as the setting says', () => {
    for (let index = 0; index < 25; index++) hear(ANNA, `line ${index}`)
    expect(chat.lines().map(({ text }) => text)).toEqual(Array.from({ length: 10 }, (_, index) => `line ${index + 15}`))
    keep = 0
    hear(ANNA, 'unkept')
    expect(chat.lines()).toEqual([])
    expect(published.at(-1)?.text).toBe('unkept')
  })

  test('gives the last lines of one peer or of all', () => {
    hear(ANNA, 'one')
    hear(BEN, 'two')
    hear(ANNA, 'three')
    expect(chat.lines(ANNA).map(({ text }) => text)).toEqual(['one', 'three'])
    expect(chat.lines(undefined, 2).map(({ text }) => text)).toEqual(['two', 'three'])
  })

  test('refuses lines that are empty or too long', async () => {
    await expect(chat.send(ANNA, ' \n ')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await expect(chat.send(ANNA, 'ü'.repeat(3000))).rejects.toMatchObject({ code: 'usage.too-large' })
    expect(hear(ANNA, 'ü'.repeat(3000))).toBe('peer.oversized')
    expect(hear(ANNA, 'x'.repeat(5000))).toBe('peer.malformed')
    expect(() => take(ANNA, new Uint8Array(MAX_CHAT_MESSAGE + 1))).toThrow(
      expect.objectContaining({ code: 'peer.oversized' }),
    )
  })

  test('takes a line of 4 KiB, whatever its characters', async () => {
    for (const text of ['x'.repeat(4096), 'ü'.repeat(2048), '"'.repeat(4096)]) {
      await chat.send(ANNA, text)
      const data = Buffer.from(JSON.stringify(sent.at(-1)?.message))
      expect(decodeChat(data).text).toBe(text)
    }
  })

  test('refuses nonsense, and nothing worse', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((json) => Buffer.from(json)),
        ),
        (data) => {
          expect(() => take(ANNA, data)).toThrow(expect.objectContaining({ code: 'peer.malformed' }))
        },
      ),
    )
  })
})

describe('chat with somebody no session can be had with', () => {
  beforeEach(() => {
    ways.delete(ANNA)
    signals.reachable.add(ANNA)
  })

  test('goes as a signal, sealed, and is kept once the other side says that it has it', async () => {
    const sending = chat.send(ANNA, 'grüß dich')
    clock.advance(0)
    expect(sent).toEqual([])
    expect(signals.sent).toMatchObject([{ peer: ANNA, topic: 'chat' }])
    expect(decodeChat(signals.sent[0]?.content ?? new Uint8Array()).text).toBe('grüß dich')
    await settled()
    expect(chat.lines()).toEqual([])
    signals.bring(ANNA, 'chat-ack', signals.ids(ANNA)[0] ?? '')
    const line = { peer: ANNA, direction: 'out', text: 'grüß dich', at: clock.wall() }
    expect(await sending).toEqual({ ...line, encrypted: true, via: 'signal' })
    expect(chat.lines()).toEqual([await sending])
    expect(published).toEqual([await sending])
    clock.advance(10_000)
    expect(signals.ids(ANNA)).toHaveLength(1)
  })

  test('is sent again after 1 and 3 seconds as the same line, then given up with what was wrong', async () => {
    const sending = chat.send(ANNA, 'hallo')
    const refused = expect(sending).rejects.toMatchObject({ code: 'network.unreachable' })
    const times: number[] = []
    for (let tenths = 0; tenths < 100; tenths++) {
      const before = signals.sent.length
      clock.advance(tenths === 0 ? 0 : 100)
      if (signals.sent.length > before) times.push(clock.now())
    }
    await refused
    expect(times).toEqual([0, 1000, 3000])
    expect(new Set(signals.ids(ANNA)).size).toBe(1)
    expect(chat.lines()).toEqual([])
    expect(clock.next).toBeUndefined()
  })

  test('a late acknowledgement still counts, one by somebody else or of something else does not', async () => {
    const sending = chat.send(ANNA, 'hallo')
    clock.advance(5900)
    const [id = ''] = signals.ids(ANNA)
    signals.bring(BEN, 'chat-ack', id)
    signals.bring(ANNA, 'chat-ack', 'somethingelse000')
    signals.bring(ANNA, 'chat-ack', new Uint8Array(8192))
    await settled()
    expect(chat.lines()).toEqual([])
    signals.bring(ANNA, 'chat-ack', id)
    signals.bring(ANNA, 'chat-ack', id)
    expect(await sending).toMatchObject({ via: 'signal' })
    expect(chat.lines()).toHaveLength(1)
  })

  test.each<[ErrorCode, string]>([
    ['network.unreachable', 'signal'],
    ['network.lost', 'signal'],
    ['network.timeout', 'signal'],
    ['policy.blocked', 'refused'],
    ['peer.closed', 'refused'],
    ['peer.wrong-key', 'refused'],
  ])('where the session fails with %s it is: %s', async (code, outcome) => {
    ways.add(ANNA)
    failure = new PartylineError(code)
    const sending = chat.send(ANNA, 'hallo').then(
      ({ via }) => via,
      (error) => {
        expect(error).toBe(failure)
        return 'refused'
      },
    )
    await settled()
    clock.advance(0)
    for (const id of signals.ids(ANNA)) signals.bring(ANNA, 'chat-ack', id)
    expect(await sending).toBe(outcome)
  })

  test('where no signaller reaches the peer either, the session is tried and its failure told', async () => {
    signals.reachable.clear()
    failure = new PartylineError('network.unreachable')
    await expect(chat.send(ANNA, 'hallo')).rejects.toBe(failure)
    expect(signals.sent).toEqual([])
  })

  test('refuses a line that fits no signal', async () => {
    await expect(chat.send(ANNA, '"'.repeat(4096))).rejects.toMatchObject({ code: 'usage.too-large' })
    clock.advance(10_000)
    expect(signals.sent).toEqual([])
  })

  test('waits for a bounded number of acknowledgements', async () => {
    const sending = Array.from({ length: 1001 }, () => chat.send(ANNA, 'hallo').catch(({ code }) => code))
    await settled()
    clock.advance(6000)
    const outcomes = (await Promise.all(sending)) as ErrorCode[]
    expect(Map.groupBy(outcomes, (code) => code).get('local.limit')).toHaveLength(1)
    expect(signals.sent).toHaveLength(3000)
  })

  test('a signal that brings a line is acknowledged each time, and the line taken once, however it came', () => {
    const id = newId()
    for (let times = 0; times < 3; times++) signals.bring(ANNA, 'chat', encoded('hallo', id))
    expect(hear(ANNA, 'hallo', id)).toBe('taken')
    const line = { peer: ANNA, direction: 'in', text: 'hallo', at: clock.wall() }
    expect(chat.lines()).toEqual([{ ...line, encrypted: true, via: 'signal' }])
    const acknowledged = signals.sent.map(({ peer, topic, content }) => [peer, topic, Buffer.from(content).toString()])
    expect(acknowledged).toEqual(Array.from({ length: 3 }, () => [ANNA, 'chat-ack', id]))
  })

  test('a line that may have arrived through the session goes as a signal of the same id', async () => {
    ways.add(ANNA)
    failure = new PartylineError('network.lost')
    const sending = chat.send(ANNA, 'hallo')
    await settled()
    clock.advance(0)
    const [id = ''] = signals.ids(ANNA)
    expect(sent.map(({ message }) => message.id)).toEqual([id])
    signals.bring(ANNA, 'chat-ack', id)
    await sending
  })

  test('nonsense, blocked peers and too many lines are refused and counted, and not acknowledged', () => {
    signals.bring(ANNA, 'chat', 'no JSON')
    signals.bring(ANNA, 'chat', encoded('x'.repeat(4097), newId()))
    blocked.add(BEN)
    signals.bring(BEN, 'chat', encoded('hallo', newId()))
    expect(signals.sent).toEqual([])
    for (let times = 0; times < 100; times++) signals.bring(ANNA, 'chat', encoded('hallo', newId()))
    // The two that were malformed took their share.
    expect(published).toHaveLength(28)
    expect(refusals.snapshot()).toEqual({ 'peer.malformed': 2, 'policy.blocked': 1, 'peer.rate-limited': 72 })
    clock.advance(1000)
    for (let times = 0; times < 100; times++) signals.bring(ANNA, 'chat', encoded('hallo', newId()))
    expect(published).toHaveLength(38)
  })
})

describe('chat with plain XMPP clients', () => {
  test.each([
    [ALICE, 'lan'],
    [contactId('bob@hub-den.local'), 'hub'],
  ] as const)('%s is said to be sent in the clear, by %s', async (contact, via) => {
    const line = await chat.send(contact, ' grüß dich\r\n\u001b[2J')
    expect(line).toEqual({
      peer: contact,
      direction: 'out',
      text: 'grüß dich\n[2J',
      at: clock.wall(),
      encrypted: false,
      via,
    })
    expect(handedOver).toEqual([[contact, 'grüß dich\n[2J']])
    expect(published).toEqual([line])
    expect(chat.lines(contact)).toEqual([line])
  })

  test('keeps no line that could not be handed over', async () => {
    failure = new PartylineError('network.timeout')
    await expect(chat.send(ALICE, 'hallo')).rejects.toBe(failure)
    await expect(chat.send(ALICE, ' ')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await expect(chat.send(ALICE, 'ü'.repeat(2049))).rejects.toMatchObject({ code: 'usage.too-large' })
    expect(chat.lines()).toEqual([])
  })

  test('takes their lines, cleaned, as what they are', () => {
    chat.arrived(ALICE, 'hallo\u202e\u0007', 'lan')
    chat.arrived(ALICE, '\u0000', 'lan')
    const line = { peer: ALICE, direction: 'in', text: 'hallo', at: clock.wall(), encrypted: false, via: 'lan' }
    expect(chat.lines()).toEqual([line])
    expect(published).toEqual([line])
  })

  test('refuses what is too long or too much, of each sender by itself', () => {
    chat.arrived(ALICE, 'ü'.repeat(2049), 'hub')
    for (let times = 0; times < 100; times++) chat.arrived(ALICE, 'hallo', 'hub')
    expect(published).toHaveLength(30)
    chat.arrived(contactId('bob@h2'), 'hallo', 'hub')
    expect(published).toHaveLength(31)
    expect(refusals.snapshot()).toEqual({ 'peer.oversized': 1, 'peer.rate-limited': 70 })
    clock.advance(500)
    for (let times = 0; times < 100; times++) chat.arrived(ALICE, 'hallo', 'hub')
    expect(published).toHaveLength(36)
  })

  test('are told when the user is writing; hosts are not', () => {
    chat.compose(ALICE, true)
    chat.compose(ANNA, true)
    chat.compose(ALICE, false)
    expect(composed).toEqual([
      [ALICE, true],
      [ALICE, false],
    ])
  })

  test('tells when they are writing', () => {
    chat.composing(ALICE, true)
    chat.composing(ALICE, false)
    expect(states).toEqual([
      ['chat.state', { peer: ALICE, composing: true }],
      ['chat.state', { peer: ALICE, composing: false }],
    ])
  })

  test('that say so without end do not drown other events', () => {
    for (let times = 0; times < 100; times++) chat.composing(ALICE, times % 2 === 0)
    chat.composing(contactId('bob@h2'), true)
    expect(states).toHaveLength(11)
    expect(refusals.snapshot()).toEqual({ 'peer.rate-limited': 90 })
    clock.advance(1000)
    chat.composing(ALICE, true)
    expect(states).toHaveLength(12)
  })
})
