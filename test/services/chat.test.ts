import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { ChatService, decodeChat, MAX_CHAT_MESSAGE } from '../../daemon/services/chat.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { ChatLine } from '../../ipc/methods.ts'
import { VirtualClock } from '../virtual-clock.ts'

const ANNA = 'anna'.padEnd(52, 'a') as PeerId
const BEN = 'ben'.padEnd(52, 'a') as PeerId

let clock: VirtualClock
let refusals: Refusals
let keep: number
let blocked: Set<PeerId>
let sent: { peer: PeerId; message: { text: string; id: string } }[]
let failure: PartylineError | undefined
let published: ChatLine[]
let take: (peer: PeerId, data: Uint8Array) => void
let chat: ChatService

beforeEach(() => {
  clock = new VirtualClock()
  refusals = new Refusals()
  keep = 10
  blocked = new Set()
  sent = []
  failure = undefined
  published = []
  chat = new ChatService({
    clock,
    refusals,
    keep: () => keep,
    isBlocked: (peer) => blocked.has(peer),
    publish: (_event, params) => published.push((params as { line: ChatLine }).line),
    messages: {
      send: async (peer, _channel, data) => {
        if (failure) throw failure
        sent.push({ peer, message: JSON.parse(Buffer.from(data).toString()) })
      },
      handle: (_channel, handler) => {
        take = handler
      },
    },
  })
})

let number = 0
function hear(peer: PeerId, text: string, id = `line${String(++number).padStart(12, '0')}`): string {
  try {
    take(peer, Buffer.from(JSON.stringify({ text, id, at: 1 })))
    return 'taken'
  } catch (error) {
    return (error as PartylineError).code
  }
}

describe('chat', () => {
  test('sends a line to the peer and shows it to the other apps here', async () => {
    const line = await chat.send(ANNA, 'ready?')
    expect(line).toEqual({ peer: ANNA, direction: 'out', text: 'ready?', at: clock.wall(), encrypted: true })
    expect(sent).toMatchObject([{ peer: ANNA, message: { text: 'ready?' } }])
    expect(published).toEqual([line])
  })

  test('keeps no line that did not arrive', async () => {
    failure = new PartylineError('network.unreachable')
    await expect(chat.send(ANNA, 'ready?')).rejects.toMatchObject({ code: 'network.unreachable' })
    expect(chat.history()).toEqual([])
  })

  test('sends what the other side can read', async () => {
    await chat.send(ANNA, 'two\r\nlines')
    const [first] = sent
    expect(decodeChat(Buffer.from(JSON.stringify(first?.message)))).toMatchObject({ text: 'two\nlines' })
  })

  test('takes a line with no app there, at the time of this host', () => {
    clock.advance(5000)
    hear(ANNA, 'hello')
    const line = { peer: ANNA, direction: 'in', text: 'hello', at: clock.wall(), encrypted: true }
    expect(chat.history()).toEqual([line])
    expect(published).toEqual([line])
  })

  test('takes a line that is sent twice once', () => {
    hear(ANNA, 'hello', 'abcdefghabcdefgh')
    expect(hear(ANNA, 'hello', 'abcdefghabcdefgh')).toBe('taken')
    hear(BEN, 'hello', 'abcdefghabcdefgh')
    expect(chat.history()).toHaveLength(2)
  })

  test('removes what would play with a terminal', () => {
    hear(ANNA, '\u001b[31mred\u0007\u202e\nnext\tword')
    expect(chat.history()[0]?.text).toBe('[31mred\nnext word')
    expect(hear(ANNA, '\u0000\u0001')).toBe('peer.malformed')
  })

  test('hears nothing from blocked peers, and says nothing to them', async () => {
    blocked.add(ANNA)
    expect(hear(ANNA, 'hello')).toBe('policy.blocked')
    await expect(chat.send(ANNA, 'hello')).rejects.toMatchObject({ code: 'policy.blocked' })
    expect(chat.history()).toEqual([])
    expect(refusals.snapshot()).toEqual({ 'policy.blocked': 1 })
  })

  test('keeps the last lines only, as many as the setting says', () => {
    for (let index = 0; index < 25; index++) hear(ANNA, `line ${index}`)
    expect(chat.history().map(({ text }) => text)).toEqual(
      Array.from({ length: 10 }, (_, index) => `line ${index + 15}`),
    )
    keep = 0
    hear(ANNA, 'unkept')
    expect(chat.history()).toEqual([])
    expect(published.at(-1)?.text).toBe('unkept')
  })

  test('gives the last lines of one peer or of all', () => {
    hear(ANNA, 'one')
    hear(BEN, 'two')
    hear(ANNA, 'three')
    expect(chat.history(ANNA).map(({ text }) => text)).toEqual(['one', 'three'])
    expect(chat.history(undefined, 2).map(({ text }) => text)).toEqual(['two', 'three'])
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
