import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { MAX_CHANNELS, MAX_UNRELIABLE } from '../../daemon/services/messages/app.ts'
import { MAX_LISTENERS, MAX_USER_CHANNELS } from '../../daemon/services/messages.ts'
import { MAX_MESSAGE } from '../../daemon/session/session.ts'
import { ANNA, BEN, FakeApp, MessageHost } from './message-apps.ts'

const limit = expect.objectContaining({ code: 'local.limit' })

describe('listening', () => {
  it('gives every listener of the channel the message, which is accepted when one has it', async () => {
    const host = new MessageHost()
    const [first, second, other] = [host.listener(), host.listener(), host.listener('other')]
    const slow = Promise.withResolvers<void>()
    first.handOver = () => new Promise(() => {})
    second.handOver = () => slow.promise
    const answers = host.arrive('e2e4', { number: 9, lane: 3, via: 'datagram' })
    await turn()
    for (const { got } of [first, second])
      expect(got).toEqual([
        {
          from: ANNA,
          channel: 'chess',
          data: Buffer.from('e2e4'),
          reliable: true,
          lane: 3,
          number: 9,
          via: 'datagram',
          at: host.clock.wall(),
        },
      ])
    expect(other.got).toEqual([])
    expect(answers).toEqual([])
    slow.resolve()
    await turn()
    expect(answers).toEqual(['accepted'])
  })

  it('refuses what nobody listens to, and what nobody listens to any more', () => {
    const host = new MessageHost()
    const app = host.listener()
    host.messages.unlisten(app, 'chess')
    host.messages.unlisten(app, 'chess')
    expect(host.arrive('x')).toEqual(['peer.no-listener'])
    host.listener().close()
    expect(host.arrive('x')).toEqual(['peer.no-listener'])
  })

  it('refuses a message only when none of the listeners took it', async () => {
    const host = new MessageHost()
    host.listener().handOver = () => Promise.reject(new PartylineError('local.closed'))
    const lost = host.arrive('x')
    await turn()
    expect(lost).toEqual(['peer.no-listener'])
    host.listener()
    const taken = host.arrive('x')
    await turn()
    expect(taken).toEqual(['accepted'])
  })

  it('keeps the order in which messages came', () => {
    const host = new MessageHost()
    const app = host.listener()
    for (let number = 1; number <= 100; number++) host.arrive('x', { number })
    expect(app.got.map(({ number }) => number)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
  })

  it('takes them from trusted peers only where the app wants that, and none from blocked ones', async () => {
    const host = new MessageHost()
    const app = host.listener('chess', 'trusted')
    host.trusted.add(BEN)
    expect(host.arrive('x')).toEqual(['peer.not-accepted'])
    const answers = host.arrive('y', { peer: BEN })
    await turn()
    expect(answers).toEqual(['accepted'])
    host.messages.listen(app, 'chess', 'all')
    host.arrive('z')
    expect(app.texts).toEqual(['y', 'z'])
    host.blocked.add(BEN)
    expect(host.arrive('x', { peer: BEN })).toEqual(['policy.blocked'])
  })

  it('bounds the apps of a channel, and the channels of an app', () => {
    const host = new MessageHost()
    const apps = Array.from({ length: MAX_LISTENERS }, () => host.listener())
    expect(() => host.listener()).toThrow(limit)
    const [app = new FakeApp()] = apps
    for (let i = 1; i < MAX_CHANNELS; i++) host.messages.listen(app, `c${i}`, 'all')
    expect(() => host.messages.listen(app, 'one more', 'all')).toThrow(limit)
    host.messages.listen(app, 'chess', 'ask')
  })
})

describe('users of one daemon', () => {
  const taken = expect.objectContaining({ code: 'policy.other-user' })

  it('do not get at a channel that an app of another has, until that is gone', () => {
    const host = new MessageHost()
    const [anna, ben] = [new FakeApp('anna'), new FakeApp('ben')]
    host.messages.listen(anna, 'chess', 'all')
    expect(() => host.messages.listen(ben, 'chess', 'all')).toThrow(taken)
    host.messages.listen(new FakeApp('anna'), 'chess', 'all')
    host.arrive('for anna')
    expect([anna.texts, ben.texts]).toEqual([['for anna'], []])
    anna.close()
    // Another app of the same user still has it.
    expect(() => host.messages.listen(ben, 'chess', 'all')).toThrow(taken)
    host.messages.listen(ben, 'go', 'all')
    expect(() => host.messages.listen(new FakeApp('anna'), 'go', 'all')).toThrow(taken)
    host.messages.unlisten(ben, 'go')
    host.messages.listen(new FakeApp('anna'), 'go', 'all')
  })

  it('listen to so many channels with all their apps, and no more', () => {
    const host = new MessageHost()
    const listen = (app: FakeApp, count: number): void => {
      for (let i = 0; i < count; i++) host.messages.listen(app, `${app.id} ${i}`, 'all')
    }
    const apps = Array.from({ length: MAX_USER_CHANNELS / MAX_CHANNELS }, () => new FakeApp('anna'))
    for (const app of apps) listen(app, MAX_CHANNELS)
    const more = new FakeApp('anna')
    expect(() => listen(more, 1)).toThrow(limit)
    listen(new FakeApp('ben'), 1)
    apps[0]?.close()
    listen(more, MAX_CHANNELS)
    expect(() => listen(new FakeApp('anna'), 1)).toThrow(limit)
  })

  it('share what an app may have waiting among many connections', async () => {
    const host = new MessageHost()
    const connections = (user: string, count: number): FakeApp[] =>
      Array.from({ length: count }, (_, i) => {
        const app = new FakeApp(user)
        app.handOver = () => new Promise(() => {})
        host.messages.listen(app, `${user} ${i}`, 'all')
        return app
      })
    const [many] = connections('anna', 16)
    const [one] = connections('ben', 1)
    for (let i = 0; i < 6; i++)
      for (const user of ['anna', 'ben']) host.arrive(new Uint8Array(MAX_MESSAGE), { channel: `${user} 0` })
    expect(one?.got).toHaveLength(4)
    expect(many?.got).toHaveLength(2)
  })
})

describe('an app that reads slowly', () => {
  it('holds the acknowledgement, and what is over its budget is refused', async () => {
    const host = new MessageHost()
    const app = host.listener()
    const slow = Promise.withResolvers<void>()
    app.handOver = () => slow.promise
    const sent = Array.from({ length: 6 }, (_, i) =>
      host.arrive(new Uint8Array(MAX_MESSAGE), { peer: i % 2 ? ANNA : BEN }),
    )
    await turn()
    expect(sent).toEqual([[], [], [], [], ['peer.busy'], ['peer.busy']])
    expect(host.refusals.snapshot()).toEqual({ 'peer.busy': 2 })
    slow.resolve()
    await turn()
    expect(sent.slice(0, 4)).toEqual(Array.from({ length: 4 }, () => ['accepted']))
    const next = host.arrive('x')
    await turn()
    expect(next).toEqual(['accepted'])
  })

  it('does not hold up another that listens too', async () => {
    const host = new MessageHost()
    host.listener().handOver = () => new Promise(() => {})
    const fast = host.listener()
    for (let i = 0; i < 20; i++) {
      const answers = host.arrive(new Uint8Array(MAX_MESSAGE))
      await turn()
      expect(answers).toEqual(['accepted'])
    }
    expect(fast.got).toHaveLength(20)
  })

  it('misses unreliable messages that it has no room for, without a word', async () => {
    const host = new MessageHost()
    const app = host.listener()
    app.handOver = () => new Promise(() => {})
    const sent = Array.from({ length: MAX_UNRELIABLE + 10 }, () => host.arrive('x', { reliable: false }))
    expect(app.got).toHaveLength(MAX_UNRELIABLE)
    expect(sent.every((answers) => answers.join() === 'accepted')).toBe(true)
    const large = host.listener('large')
    large.handOver = app.handOver
    for (let i = 0; i < 4; i++) host.arrive(new Uint8Array(MAX_MESSAGE), { channel: 'large', reliable: false })
    expect(large.got).toHaveLength(2)
  })
})

describe("the daemon's own channels", () => {
  it('answer by what their handler does', async () => {
    const host = new MessageHost()
    host.messages.handle('partyline.files', (_, data) => {
      if (data.length === 0) throw new PartylineError('peer.malformed')
    })
    const good = host.arrive('x', { channel: 'partyline.files' })
    const bad = host.arrive('', { channel: 'partyline.files' })
    await turn()
    expect([good, bad]).toEqual([['accepted'], ['peer.malformed']])
  })

  it('send without an app, and pass on what becomes of it', async () => {
    const host = new MessageHost()
    const session = host.open()
    const sending = host.messages.send(ANNA, 'partyline.files', Buffer.from('x'))
    await turn()
    expect(session.sent[0]).toMatchObject({ channel: 'partyline.files', text: 'x', options: {} })
    session.sent[0]?.reject('peer.no-listener')
    await expect(sending).rejects.toMatchObject({ code: 'peer.no-listener' })
    const large = Buffer.alloc(MAX_MESSAGE + 1)
    await expect(host.messages.send(ANNA, 'c', large)).rejects.toMatchObject({ code: 'usage.too-large' })
    expect(host.opened).toBe(1)
  })
})
