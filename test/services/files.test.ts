import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { type ErrorCode, PartylineError } from '../../daemon/errors.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { FileService } from '../../daemon/services/files.ts'
import { cleanOfferName, decodeFilesMessage, encodeFilesMessage } from '../../daemon/services/files-message.ts'
import { MAX_ENDED, MAX_OFFERS, MAX_OFFERS_PER_PEER, MAX_OWN_OFFERS } from '../../daemon/services/files-registry.ts'
import type { SessionStream } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { Caller } from '../../ipc/api.ts'
import type { OfferView } from '../../ipc/methods.ts'
import { VirtualClock } from '../virtual-clock.ts'

const ANNA = 'anna'.padEnd(52, 'a') as PeerId
const BEN = 'ben'.padEnd(52, 'a') as PeerId
const ID = 'k3v9x2m4p7q8r5t6'
const CONTENT = { name: 'photos', files: 3, bytes: 1000 }

let clock: VirtualClock
let refusals: Refusals
let sent: { peer: PeerId; message: Record<string, unknown> }[]
let published: OfferView[]
let unreachable: ErrorCode | undefined
let blocked: Set<PeerId>
let audience: (string | undefined)[]
let take: (peer: PeerId, data: Uint8Array) => void
let accepting: { service: string; give: (stream: SessionStream, meta: string) => void; signal: AbortSignal }[]
let opened: { peer: PeerId; service: string; meta: string }[]
let files: FileService
let apps = 0
let attempts = 0

function app(user = 'self'): Caller & { leave: () => void } {
  const connection = new AbortController()
  const leave = (): void => connection.abort()
  const { signal } = connection
  const unused = (): void => {}
  return {
    id: ++apps,
    app: 'test',
    owner: false,
    user,
    deliver: async () => {},
    request: unused,
    hold: unused,
    signal,
    leave,
  }
}

function streamFrom(peer: PeerId): SessionStream & { readonly resets: string[] } {
  const resets: string[] = []
  return { peer, resets, reset: (code: string) => resets.push(code) } as unknown as ReturnType<typeof streamFrom>
}

beforeEach(() => {
  clock = new VirtualClock()
  refusals = new Refusals()
  sent = []
  published = []
  audience = []
  accepting = []
  opened = []
  unreachable = undefined
  blocked = new Set()
  files = new FileService({
    clock,
    logger: silentLogger,
    refusals,
    publish: (_event, params, user) => {
      published.push((params as { offer: OfferView }).offer)
      audience.push(user)
    },
    isBlocked: (peer) => blocked.has(peer),
    messages: {
      send: async (peer, _channel, data) => {
        attempts++
        if (unreachable) throw new PartylineError(unreachable)
        sent.push({ peer, message: JSON.parse(Buffer.from(data).toString()) })
      },
      handle: (_channel, handler) => {
        take = handler
      },
    },
    streams: {
      open: async (peer, service, _user, meta) => {
        opened.push({ peer, service, meta })
        return streamFrom(peer)
      },
      accept: (service, _user, signal) =>
        new Promise((resolve, reject) => {
          accepting.push({ service, signal, give: (stream, meta) => resolve({ stream, meta }) })
          signal.addEventListener('abort', () => reject(new PartylineError('local.closed')))
        }),
    },
  })
})

/** What a peer's daemon says; the code of its refusal, if it is refused. */
function tell(peer: PeerId, message: object): string {
  try {
    take(peer, Buffer.from(JSON.stringify(message)))
    return 'taken'
  } catch (error) {
    if (error instanceof PartylineError) return error.code
    throw error
  }
}

const announce = (peer: PeerId, offer = ID, content: object = CONTENT): string =>
  tell(peer, { op: 'offer', offer, ...content })

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const stateOf = (offer: string): string | undefined => files.list(app()).find((one) => one.offer === offer)?.state
const said = (op: string): unknown[] => sent.filter(({ message }) => message.op === op)

describe('an own offer', () => {
  test('is told to the peer and listed', async () => {
    const offer = await files.offer(ANNA, CONTENT, app())
    expect(offer).toMatchObject({ peer: ANNA, direction: 'out', state: 'offered', ...CONTENT })
    expect(sent).toEqual([{ peer: ANNA, message: { op: 'offer', offer: offer.offer, ...CONTENT } }])
    expect(files.list(app())).toEqual([offer])
    expect(published).toEqual([offer])
  })

  test('is not seen by other users here, nor theirs to end', async () => {
    const [anna, ben] = [app('anna'), app('ben')]
    await files.offer(ANNA, { offer: ID, ...CONTENT }, anna)
    expect([anna, ben].map((user) => files.list(user).length)).toEqual([1, 0])
    await expect(files.withdraw(ID, ben)).rejects.toMatchObject({ code: 'policy.other-user' })
    await expect(files.serve(ID, ben)).rejects.toMatchObject({ code: 'policy.other-user' })
    await expect(files.offer(ANNA, { offer: ID, ...CONTENT }, ben)).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
    expect(audience).toEqual(['anna'])
  })

  test('to a peer that cannot be reached is an error and leaves nothing', async () => {
    unreachable = 'network.unreachable'
    await expect(files.offer(ANNA, CONTENT, app())).rejects.toMatchObject({ code: 'network.unreachable' })
    expect(files.list(app())).toEqual([])
  })

  test('to a blocked peer is refused', async () => {
    blocked.add(ANNA)
    await expect(files.offer(ANNA, CONTENT, app())).rejects.toMatchObject({ code: 'policy.blocked' })
  })

  test('offered again under its id is the same offer and keeps its state', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    tell(ANNA, { op: 'state', offer: ID, state: 'accepted' })
    expect(await files.offer(ANNA, { offer: ID, ...CONTENT }, app())).toMatchObject({ state: 'accepted' })
    expect(files.list(app())).toHaveLength(1)
    await expect(files.offer(BEN, { offer: ID, ...CONTENT }, app())).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
  })

  test('is withdrawn 30 seconds after its app has gone, unless the app comes back', async () => {
    const [first, second] = [app(), app()]
    await files.offer(ANNA, { offer: ID, ...CONTENT }, first)
    first.leave()
    clock.advance(29_000)
    await files.offer(ANNA, { offer: ID, ...CONTENT }, second)
    clock.advance(60_000)
    expect(stateOf(ID)).toBe('offered')
    second.leave()
    clock.advance(31_000)
    expect(stateOf(ID)).toBe('withdrawn')
    expect(said('withdraw')).toHaveLength(1)
  })

  test('is told again in every new session, and the peer is dialled for it', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    files.sessionOpened(ANNA)
    await settle()
    expect(said('offer')).toHaveLength(1)
    files.sessionClosed(ANNA)
    files.sessionOpened(ANNA)
    await settle()
    expect(said('offer')).toHaveLength(2)
    files.sessionClosed(ANNA)
    clock.advance(1000)
    await settle()
    expect(said('offer')).toHaveLength(3)
  })

  test('is retried with growing pauses while the peer is away, and at once when it is seen', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    unreachable = 'network.unreachable'
    files.sessionClosed(ANNA)
    const pauses: number[] = []
    for (let next = clock.next; next !== undefined && pauses.length < 8; next = clock.next) {
      pauses.push(next - clock.now())
      clock.advance(next - clock.now())
      await settle()
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
    unreachable = undefined
    clock.advance(1000)
    files.peerSeen(ANNA)
    clock.advance(0)
    await settle()
    expect(said('offer')).toHaveLength(2)
  })

  test('is not retried more than twice a second, however often the peer is seen', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    unreachable = 'network.unreachable'
    files.sessionClosed(ANNA)
    clock.advance(500)
    await settle()
    const before = attempts
    for (let time = 0; time < 5000; time += 50) {
      files.peerSeen(ANNA)
      clock.advance(50)
      await settle()
    }
    expect(attempts - before).toBeGreaterThan(5)
    expect(attempts - before).toBeLessThanOrEqual(10)
  })

  test('follows what its receiver says, and nobody else', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    expect(tell(BEN, { op: 'state', offer: ID, state: 'accepted' })).toBe('peer.no-offer')
    expect(stateOf(ID)).toBe('offered')
    tell(ANNA, { op: 'state', offer: ID, state: 'accepted' })
    expect(stateOf(ID)).toBe('accepted')
    tell(ANNA, { op: 'state', offer: ID, state: 'done' })
    expect(stateOf(ID)).toBe('done')
    expect(tell(ANNA, { op: 'state', offer: ID, state: 'done' })).toBe('taken')
    expect(tell(ANNA, { op: 'state', offer: ID, state: 'accepted' })).toBe('peer.no-offer')
    expect(published.map(({ state }) => state)).toEqual(['offered', 'accepted', 'done'])
  })

  test('is withdrawn at the peer in the next session when it cannot be told at once', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    unreachable = 'network.lost'
    await files.withdraw(ID, app())
    expect(stateOf(ID)).toBe('withdrawn')
    unreachable = undefined
    files.sessionOpened(ANNA)
    await settle()
    expect(said('withdraw')).toHaveLength(1)
  })

  test('is served to its receiver only', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    expect(files.admits(ANNA, `partyline.files/${ID}`)).toBe(true)
    expect(files.admits(BEN, `partyline.files/${ID}`)).toBe(false)
    expect(files.admits(ANNA, 'partyline.files/unknown')).toBe(false)
    expect(files.admits(BEN, 'chess')).toBe(true)
    const serving = files.serve(ID, app())
    const other = streamFrom(BEN)
    accepting[0]?.give(other, '')
    await settle()
    expect(other.resets).toEqual(['peer.no-service'])
    accepting[1]?.give(streamFrom(ANNA), '{}')
    expect(await serving).toMatchObject({ meta: '{}', stream: { peer: ANNA } })
  })

  test('ends those who wait to serve it when it ends', async () => {
    await files.offer(ANNA, { offer: ID, ...CONTENT }, app())
    const serving = files.serve(ID, app())
    tell(ANNA, { op: 'state', offer: ID, state: 'refused' })
    await expect(serving).rejects.toMatchObject({ code: 'peer.no-offer' })
    await expect(files.serve(ID, app())).rejects.toMatchObject({ code: 'peer.no-offer' })
  })

  test('is one of a thousand at most', async () => {
    const caller = app()
    for (let index = 0; index < MAX_OFFERS; index++) await files.offer(ANNA, CONTENT, caller)
    await expect(files.offer(BEN, CONTENT, caller)).rejects.toMatchObject({ code: 'local.limit' })
    // Of that user; another has room, until there are too many in all.
    for (let index = MAX_OFFERS; index < MAX_OWN_OFFERS; index++)
      await files.offer(ANNA, CONTENT, app(`user ${index % 30}`))
    await expect(files.offer(BEN, CONTENT, app('one more'))).rejects.toMatchObject({ code: 'local.limit' })
  })
})

describe("a peer's offer", () => {
  test('is listed with a name that is safe to show', () => {
    announce(ANNA, ID, { name: 'a\u202e\nb\u0007 c', files: 1, bytes: 2 })
    expect(files.list(app())).toMatchObject([
      { offer: ID, peer: ANNA, direction: 'in', name: 'a b c', state: 'offered' },
    ])
    expect(published).toHaveLength(1)
  })

  test('from a blocked peer is refused and counted', () => {
    blocked.add(ANNA)
    expect(announce(ANNA)).toBe('policy.blocked')
    expect(files.list(app())).toEqual([])
    expect(refusals.snapshot()).toEqual({ 'policy.blocked': 1 })
  })

  test('is accepted, fetched and finished', async () => {
    announce(ANNA)
    await expect(files.fetch(ID, '{}', app())).rejects.toMatchObject({ code: 'peer.no-offer' })
    expect(await files.accept(ID, app())).toMatchObject({ state: 'accepted' })
    await files.fetch(ID, '{"manifest":true}', app())
    expect(opened).toEqual([{ peer: ANNA, service: `partyline.files/${ID}`, meta: '{"manifest":true}' }])
    await files.finish(ID, true, app())
    expect(said('state')).toMatchObject([{ message: { state: 'accepted' } }, { message: { state: 'done' } }])
    expect(stateOf(ID)).toBe('done')
  })

  test('stays as it was when accepting or finishing cannot be told', async () => {
    announce(ANNA)
    unreachable = 'network.lost'
    await expect(files.accept(ID, app())).rejects.toMatchObject({ code: 'network.lost' })
    expect(stateOf(ID)).toBe('offered')
    unreachable = undefined
    await files.accept(ID, app())
    unreachable = 'network.lost'
    await expect(files.finish(ID, true, app())).rejects.toMatchObject({ code: 'network.lost' })
    expect(stateOf(ID)).toBe('accepted')
  })

  test('is gone when its sender does not know it any more', async () => {
    announce(ANNA)
    unreachable = 'peer.no-offer'
    await expect(files.accept(ID, app())).rejects.toMatchObject({ code: 'peer.no-offer' })
    expect(stateOf(ID)).toBe('withdrawn')
  })

  test('is everybody’s here until it is taken, and then of one user and the owner', async () => {
    announce(ANNA)
    const [anna, ben, owner] = [app('anna'), app('ben'), { ...app('owner'), owner: true }]
    expect(files.list(ben)).toHaveLength(1)
    await files.accept(ID, anna)
    expect([anna, ben, owner].map((user) => files.list(user).length)).toEqual([1, 0, 1])
    for (const attempt of [
      () => files.accept(ID, ben),
      () => files.refuse(ID, ben),
      () => files.fetch(ID, '{}', ben),
      () => files.finish(ID, false, ben),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'policy.other-user' })
    await files.refuse(ID, owner)
    expect(stateOf(ID)).toBeUndefined()
    expect(files.list(anna)).toMatchObject([{ state: 'refused' }])
  })

  test('belongs to the app that took it, while that is connected', async () => {
    announce(ANNA)
    const [first, second] = [app(), app()]
    await files.accept(ID, first)
    await files.accept(ID, first)
    await expect(files.accept(ID, second)).rejects.toMatchObject({ code: 'local.limit' })
    first.leave()
    expect(await files.accept(ID, second)).toMatchObject({ state: 'accepted' })
  })

  test('announced again stays accepted, and its sender learns that', async () => {
    announce(ANNA)
    await files.accept(ID, app())
    sent.length = 0
    announce(ANNA)
    await settle()
    expect(stateOf(ID)).toBe('accepted')
    expect(said('state')).toMatchObject([{ peer: ANNA, message: { state: 'accepted' } }])
  })

  test('that ended is not offered twice: its sender learns how it ended', async () => {
    announce(ANNA)
    await files.accept(ID, app())
    await files.finish(ID, true, app())
    sent.length = 0
    announce(ANNA)
    await settle()
    expect(stateOf(ID)).toBe('done')
    expect(said('state')).toMatchObject([{ message: { state: 'done' } }])
  })

  test('is not taken over by another peer', () => {
    announce(ANNA)
    expect(announce(BEN)).toBe('peer.malformed')
    expect(tell(BEN, { op: 'withdraw', offer: ID })).toBe('peer.no-offer')
    expect(stateOf(ID)).toBe('offered')
    expect(tell(ANNA, { op: 'withdraw', offer: ID })).toBe('taken')
    expect(stateOf(ID)).toBe('withdrawn')
  })

  test('is refused here, and its sender told', async () => {
    announce(ANNA)
    await files.refuse(ID, app())
    expect(stateOf(ID)).toBe('refused')
    expect(said('state')).toMatchObject([{ message: { state: 'refused' } }])
    await expect(files.refuse(ID, app())).rejects.toMatchObject({ code: 'peer.no-offer' })
  })

  test('survives the loss of the session, and is dropped when the peer is gone for ten minutes', async () => {
    announce(ANNA)
    files.sessionClosed(ANNA)
    clock.advance(590_000)
    files.sessionOpened(ANNA)
    clock.advance(700_000)
    expect(stateOf(ID)).toBe('offered')
    files.sessionClosed(ANNA)
    clock.advance(400_000)
    files.peerSeen(ANNA)
    clock.advance(400_000)
    expect(stateOf(ID)).toBe('offered')
    clock.advance(300_000)
    expect(stateOf(ID)).toBe('withdrawn')
  })

  test('is one of a hundred of a peer, of a thousand in all, at most', () => {
    const id = (number: number): string => `offer${String(number).padStart(11, '0')}`
    for (let index = 0; index < MAX_OFFERS_PER_PEER; index++) expect(announce(ANNA, id(index))).toBe('taken')
    expect(announce(ANNA, id(MAX_OFFERS_PER_PEER))).toBe('peer.busy')
    for (let index = MAX_OFFERS_PER_PEER; index < MAX_OFFERS; index++)
      announce(`peer${Math.floor(index / 100)}`.padEnd(52, 'a') as PeerId, id(index))
    expect(announce(BEN, id(MAX_OFFERS))).toBe('peer.busy')
    expect(files.list(app())).toHaveLength(MAX_OFFERS)
    expect(refusals.snapshot()).toEqual({ 'peer.busy': 2 })
  })

  test('that ended is remembered for ten minutes, a thousand of them at most', () => {
    for (let index = 0; index < MAX_ENDED + 50; index++) {
      const offer = `offer${String(index).padStart(11, '0')}`
      announce(ANNA, offer)
      tell(ANNA, { op: 'withdraw', offer })
    }
    expect(files.list(app())).toHaveLength(MAX_ENDED)
    clock.advance(600_001)
    expect(files.list(app())).toEqual([])
  })
})

describe('what a peer says of offers', () => {
  test('is refused when it is nonsense, and nothing worse', () => {
    const codes = ['taken', 'peer.malformed', 'peer.oversized', 'peer.no-offer', 'peer.busy']
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((json) => Buffer.from(json)),
        ),
        (data) => {
          let code = 'taken'
          try {
            take(ANNA, data)
          } catch (error) {
            code = (error as PartylineError).code
          }
          expect(codes).toContain(code)
        },
      ),
    )
  })

  test('is refused beyond 4 KiB', () => {
    expect(announce(ANNA, ID, { ...CONTENT, more: 'x'.repeat(5000) })).toBe('peer.oversized')
  })

  test('arrives as it was sent', () => {
    const message = { op: 'offer', offer: ID, ...CONTENT } as const
    expect(decodeFilesMessage(encodeFilesMessage(message))).toEqual(message)
  })

  test('has names that are safe to show', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const clean = cleanOfferName(name)
        expect(clean).not.toMatch(/\p{C}/u)
        expect(clean).not.toBe('')
      }),
    )
  })
})
