import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { StreamService } from '../../daemon/services/streams.ts'
import type { IncomingStream, Session, SessionStream, StreamOutcome } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const ANNA = 'a'.repeat(52) as PeerId
const CLEAN: StreamOutcome = { clean: true, sent: 1, received: 2, unconfirmed: 0 }

class Stream implements SessionStream {
  readonly id: string
  readonly peer = ANNA
  readonly service: string
  readonly whole = Promise.withResolvers<StreamOutcome>()
  readonly outcome = this.whole.promise
  readonly half = Promise.withResolvers<StreamOutcome>()
  readonly incoming = this.half.promise

  constructor(id: string, service = 'files') {
    this.id = id
    this.service = service
  }

  read(): void {}
  write(): boolean {
    return true
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  reset(): void {}
}

let lastId = 0

/** A stream that Anna opens, and what became of it. */
function incoming(service = 'files', accept?: () => Promise<SessionStream>) {
  const answers: string[] = []
  const id = `in${++lastId}`
  const stream: IncomingStream = {
    peer: ANNA,
    id,
    service,
    meta: `meta of ${id}`,
    accept: () => {
      answers.push('accepted')
      return accept ? accept() : Promise.resolve(new Stream(id, service))
    },
    refuse: (code) => answers.push(code),
  }
  return { stream, answers, id }
}

function create() {
  const clock = new VirtualClock()
  const closed: string[] = []
  const opened: Stream[] = []
  const session = {
    openStream: (service: string) => {
      const stream = new Stream(`out${++lastId}`, service)
      opened.push(stream)
      return Promise.resolve(stream)
    },
  } as unknown as Session
  const streams = new StreamService({
    clock,
    open: () => Promise.resolve(session),
    onClosed: ({ id }, { clean }) => closed.push(`${id} ${clean}`),
  })
  return { clock, closed, opened, streams }
}

const forever = (): AbortSignal => new AbortController().signal

describe('accepting', () => {
  it('gives waiting apps the streams in turn', async () => {
    const { streams } = create()
    const waiting = [streams.accept('files', 'self', forever()), streams.accept('files', 'self', forever())]
    const sent = [incoming(), incoming()]
    for (const { stream } of sent) streams.take(stream)
    const got = await Promise.all(waiting)
    expect(got.map(({ stream, meta }) => [stream.id, meta])).toEqual(sent.map(({ id }) => [id, `meta of ${id}`]))
  })

  it('refuses a stream to a service that nobody accepts', () => {
    const { streams } = create()
    const { stream, answers } = incoming()
    streams.take(stream)
    expect(answers).toEqual(['peer.no-service'])
  })

  it('is for apps of one user at a time', async () => {
    const { streams, clock, closed } = create()
    const abort = new AbortController()
    const first = streams.accept('files', 'anna', abort.signal)
    await expect(streams.accept('files', 'ben', forever())).rejects.toMatchObject({ code: 'policy.other-user' })
    abort.abort()
    await expect(first).rejects.toMatchObject({ code: 'local.closed' })
    // She may be back for the next.
    await expect(streams.accept('files', 'ben', forever())).rejects.toMatchObject({ code: 'policy.other-user' })
    clock.advance(2001)
    const accepting = streams.accept('files', 'ben', forever())
    streams.take(incoming().stream)
    await accepting
    expect(closed).toEqual([])
  })

  it('keeps streams for an app that will be back for the next', async () => {
    const { streams, clock } = create()
    const first = streams.accept('files', 'self', forever())
    streams.take(incoming().stream)
    await first
    clock.advance(1900)
    const early = incoming()
    streams.take(early.stream)
    expect(early.answers).toEqual([])
    clock.advance(1000)
    expect((await streams.accept('files', 'self', forever())).stream.id).toBe(early.id)
    clock.advance(5000)
    expect(early.answers).toEqual(['accepted'])
  })

  it('does not keep them for long, nor many', async () => {
    const { streams, clock } = create()
    const first = streams.accept('files', 'self', forever())
    streams.take(incoming().stream)
    await first
    const kept = Array.from({ length: 65 }, () => incoming())
    for (const { stream } of kept) streams.take(stream)
    expect(kept.map(({ answers }) => answers.join())).toEqual([...Array.from({ length: 64 }, () => ''), 'peer.busy'])
    clock.advance(5000)
    expect(kept.slice(0, 64).every(({ answers }) => answers.join() === 'peer.no-service')).toBe(true)
    const late = incoming()
    streams.take(late.stream)
    expect(late.answers).toEqual(['peer.no-service'])
  })

  it('still knows a service whose app comes and goes', async () => {
    const { streams, clock } = create()
    for (let i = 0; i < 3; i++) {
      const accepting = streams.accept('files', 'self', forever())
      streams.take(incoming().stream)
      await accepting
      clock.advance(1500)
    }
    const { stream, answers } = incoming()
    streams.take(stream)
    expect(answers).toEqual([])
  })

  it('ends when the app goes away, and leaves the stream to the next', async () => {
    const { streams } = create()
    const abort = new AbortController()
    const gone = streams.accept('files', 'self', abort.signal)
    const stays = streams.accept('files', 'self', forever())
    abort.abort()
    await expect(gone).rejects.toMatchObject({ code: 'local.closed' })
    await expect(streams.accept('files', 'self', abort.signal)).rejects.toMatchObject({ code: 'local.closed' })
    const { stream, id } = incoming()
    streams.take(stream)
    expect((await stays).stream.id).toBe(id)
  })

  it('goes on waiting when a stream comes to nothing', async () => {
    const { streams } = create()
    const accepting = streams.accept('files', 'self', forever())
    streams.take(incoming('files', () => Promise.reject(new PartylineError('network.lost'))).stream)
    await turn()
    const { stream, id } = incoming()
    streams.take(stream)
    expect((await accepting).stream.id).toBe(id)
  })

  it('is for so many apps', async () => {
    const { streams } = create()
    for (let i = 0; i < 256; i++) void streams.accept('files', 'self', forever())
    await expect(streams.accept('files', 'self', forever())).rejects.toMatchObject({ code: 'local.limit' })
    for (let i = 256; i < 4096; i++) void streams.accept(`service ${i}`, 'self', forever())
    await expect(streams.accept('one more', 'self', forever())).rejects.toMatchObject({ code: 'local.limit' })
  })
})

describe('outcomes', () => {
  it('are told when the stream ends, of one side or of both', async () => {
    const { streams, opened, closed } = create()
    const { id } = await streams.open(ANNA, 'files', 'self', 'about it')
    const [both, half] = [streams.outcome(id, 'both'), streams.outcome(id, 'incoming')]
    opened[0]?.half.resolve({ ...CLEAN, sent: 0 })
    expect(await half).toMatchObject({ sent: 0 })
    expect(closed).toEqual([])
    opened[0]?.whole.resolve(CLEAN)
    expect(await both).toEqual(CLEAN)
    expect(await streams.outcome(id, 'both')).toEqual(CLEAN)
    expect(closed).toEqual([`${id} true`])
  })

  it('of streams that never were are a mistake', async () => {
    await expect(create().streams.outcome('s1', 'both')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  })

  it('are remembered of the last thousand that ended, and of all that did not', async () => {
    const { streams, opened } = create()
    const open = await streams.open(ANNA, 'files', 'self')
    const ids: string[] = []
    for (let i = 0; i < 1100; i++) {
      ids.push((await streams.open(ANNA, 'files', 'self')).id)
      opened.at(-1)?.whole.resolve(CLEAN)
    }
    await turn()
    const [first = '', last = ''] = [ids[0], ids.at(-1)]
    await expect(streams.outcome(first, 'both')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    expect(await streams.outcome(last, 'both')).toEqual(CLEAN)
    opened[0]?.whole.resolve({ ...CLEAN, clean: false, error: 'peer.reset' })
    expect(await streams.outcome(open.id, 'both')).toMatchObject({ clean: false, error: 'peer.reset' })
  })
})
