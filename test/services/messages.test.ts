import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { type DeliveredMessage, MessageService } from '../../daemon/services/messages.ts'
import type { IncomingMessage, Session } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'

const ANNA = 'a'.repeat(52) as PeerId
const WALL = 1_800_000_000_000

/** A message from Anna, and what was answered. */
function incoming(data: string | Uint8Array, options: { channel?: string; reliable?: boolean; number?: number } = {}) {
  const answers: string[] = []
  const message: IncomingMessage = {
    peer: ANNA,
    channel: options.channel ?? 'chess',
    data: typeof data === 'string' ? Buffer.from(data) : data,
    reliable: options.reliable ?? true,
    lane: 0,
    number: options.number ?? 1,
    accept: () => answers.push('accepted'),
    refuse: (code) => answers.push(code),
  }
  return { message, answers }
}

function service(send: Session['send'] = () => Promise.resolve()): MessageService {
  const session = { send } as Session
  return new MessageService({ open: () => Promise.resolve(session), wall: () => WALL })
}

describe('listening', () => {
  it('gives every listener of the channel the message, and accepts it when they have it', async () => {
    const messages = service()
    const got: DeliveredMessage[] = []
    const first = Promise.withResolvers<void>()
    messages.listen('chess', (message) => {
      got.push(message)
      return first.promise
    })
    messages.listen('chess', async (message) => void got.push(message))
    messages.listen('other', async () => expect.unreachable())
    const { message, answers } = incoming('e2e4', { number: 9 })
    messages.take(message)
    await turn()
    expect(got).toHaveLength(2)
    expect(got[0]).toMatchObject({ from: ANNA, channel: 'chess', reliable: true, lane: 0, number: 9, at: WALL })
    expect(answers).toEqual([])
    first.resolve()
    await turn()
    expect(answers).toEqual(['accepted'])
  })

  it('refuses what nobody listens to, and what nobody listens to any more', () => {
    const messages = service()
    const unlisten = messages.listen('chess', () => Promise.resolve())
    unlisten()
    unlisten()
    const { message, answers } = incoming('x')
    messages.take(message)
    expect(answers).toEqual(['peer.no-listener'])
  })

  it('refuses a message only when none of the listeners took it', async () => {
    const messages = service()
    const gone = (): Promise<void> => Promise.reject(new PartylineError('local.closed'))
    const unlisten = messages.listen('chess', gone)
    messages.listen('chess', () => {
      throw new Error('a listener that fails at once')
    })
    const lost = incoming('x')
    messages.take(lost.message)
    await turn()
    expect(lost.answers).toEqual(['peer.no-listener'])
    unlisten()
    messages.listen('chess', () => Promise.resolve())
    const taken = incoming('x')
    messages.take(taken.message)
    await turn()
    expect(taken.answers).toEqual(['accepted'])
  })

  it('keeps the order in which messages came', async () => {
    const messages = service()
    const got: number[] = []
    messages.listen('chess', async ({ number }) => void got.push(number))
    for (let number = 1; number <= 100; number++) messages.take(incoming('x', { number }).message)
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
  })

  it('holds the acknowledgement of a slow app, and bounds what waits for it', async () => {
    const messages = service()
    const slow = Promise.withResolvers<void>()
    messages.listen('chess', () => slow.promise)
    const sent = Array.from({ length: 40 }, () => incoming(new Uint8Array(512 * 1024)))
    for (const { message } of sent) messages.take(message)
    await turn()
    expect(sent.map(({ answers }) => answers.join())).toEqual([
      ...Array.from({ length: 32 }, () => ''),
      ...Array.from({ length: 8 }, () => 'peer.busy'),
    ])
    slow.resolve()
    await turn()
    expect(sent.slice(0, 32).every(({ answers }) => answers.join() === 'accepted')).toBe(true)
    const next = incoming('x')
    messages.take(next.message)
    await turn()
    expect(next.answers).toEqual(['accepted'])
  })

  it('leaves unreliable messages out that a slow app has no room for, without a word', async () => {
    const messages = service()
    let given = 0
    messages.listen('game', () => {
      given++
      return new Promise(() => {})
    })
    const sent = Array.from({ length: 100 }, () => incoming('x', { channel: 'game', reliable: false }))
    for (const { message } of sent) messages.take(message)
    await turn()
    expect(given).toBe(64)
    expect(sent.every(({ answers }) => answers.join() === 'accepted')).toBe(true)
  })

  it('bounds the listeners of a channel', () => {
    const messages = service()
    for (let i = 0; i < 256; i++) messages.listen('chess', () => Promise.resolve())
    expect(() => messages.listen('chess', () => Promise.resolve())).toThrow(
      expect.objectContaining({ code: 'local.limit' }),
    )
  })
})

describe("the daemon's own channels", () => {
  it('answer by what their handler does', async () => {
    const messages = service()
    messages.handle('partyline.files', (_, data) => {
      if (data.length === 0) throw new PartylineError('peer.malformed')
    })
    const [good, bad] = [
      incoming('x', { channel: 'partyline.files' }),
      incoming('', { channel: 'partyline.files' }),
    ] as const
    messages.take(good.message)
    messages.take(bad.message)
    await turn()
    expect(good.answers).toEqual(['accepted'])
    expect(bad.answers).toEqual(['peer.malformed'])
  })
})

describe('sending', () => {
  it('opens a session and passes on what becomes of the message', async () => {
    const sent: unknown[] = []
    const messages = service(async (...args) => {
      sent.push(args)
      throw new PartylineError('peer.no-listener')
    })
    const data = Buffer.from('x')
    await expect(messages.send(ANNA, 'chess', data, { lane: 3 })).rejects.toMatchObject({ code: 'peer.no-listener' })
    expect(sent).toEqual([['chess', data, { lane: 3 }]])
  })

  it('refuses what is too large before it opens a session', async () => {
    const messages = new MessageService({ open: () => expect.unreachable(), wall: () => WALL })
    await expect(messages.send(ANNA, 'c', Buffer.alloc(512 * 1024 + 1))).rejects.toMatchObject({
      code: 'usage.too-large',
    })
  })
})
