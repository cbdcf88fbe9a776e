import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Caller } from '../../ipc/api.ts'
import { connect } from '../../ipc/client.ts'
import { MAX_USERS, UserSockets } from '../../ipc/user-sockets.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { HELLO, PlainApp, SELF, SocketHost, temporaryFolder } from './socket-host.ts'

/** Handlers that tell whose the caller is, in the place of its name. */
function seeing(): { users: string[]; 'peers.list': (_: unknown, caller: Caller) => [] } {
  const users: string[] = []
  return {
    users,
    'peers.list': (_, { user }) => {
      users.push(user)
      return []
    },
  }
}

const helloAs = (uid: unknown): string =>
  `${JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'hello', params: { app: 'test', protocol: 1, uid } })}\n`

async function socketFor(host: SocketHost, uid: unknown): Promise<string | undefined> {
  using app = await PlainApp.connect(host.app)
  app.send(helloAs(uid))
  const { result } = await app.answer()
  return (result as { socket?: string }).socket
}

describe.skipIf(process.platform === 'win32')('on a daemon that users share', () => {
  test('who tells whose they are is given a socket that only that user can connect to', async () => {
    await using host = await SocketHost.shared()
    const socket = await socketFor(host, 1001)
    expect(socket).toBe(join(host.users, '1001.sock'))
    expect(statSync(socket ?? '').mode & 0o777).toBe(0o600)
    expect(statSync(host.users).mode & 0o777).toBe(0o711)
    // Asked for again it is the same, and nothing more is granted.
    expect(await socketFor(host, 1001)).toBe(socket)
    expect(host.granted).toEqual([1001])
  })

  test('connections of one user are one user, others are not', async () => {
    const { users, ...handlers } = seeing()
    await using host = await SocketHost.shared(handlers)
    for (const uid of [1001, 1001, 1002]) {
      using app = await PlainApp.greeted((await socketFor(host, uid)) ?? '')
      await app.call(1, 'peers.list').answer()
    }
    expect(users).toEqual(['user 1001', 'user 1001', 'user 1002'])
  })

  test('a program that does not tell is a user of its own, and so is the owner', async () => {
    const { users, ...handlers } = seeing()
    await using host = await SocketHost.shared(handlers)
    for (const path of [host.app, host.app, host.control, host.control]) {
      using app = await PlainApp.greeted(path)
      await app.call(1, 'peers.list').answer()
    }
    expect(new Set(users).size).toBe(3)
    expect(users[2]).toBe(users[3])
  })

  test('a claim is of no use on the socket for all', async () => {
    const { users, ...handlers } = seeing()
    await using host = await SocketHost.shared(handlers)
    using app = await PlainApp.connect(host.app)
    app.send(helloAs(0))
    await app.answer()
    await app.call(1, 'peers.list').answer()
    expect(users[0]).not.toBe('user 0')
  })

  test.each([-1, 1.5, 0xff_ff_ff_ff, '0', '../x'])('%s is nobody', async (uid) => {
    await using host = await SocketHost.shared()
    using app = await PlainApp.connect(host.app)
    app.send(helloAs(uid))
    expect(await app.answer()).toMatchObject({ error: { data: { code: 'usage.invalid-argument' } } })
    expect(readdirSync(host.users)).toEqual([])
  })

  test('an event for one user is seen by that user and the owner', async () => {
    await using host = await SocketHost.shared()
    const apps: PlainApp[] = []
    for (const path of [await socketFor(host, 1001), await socketFor(host, 1002), host.control]) {
      const app = await PlainApp.greeted(path ?? '')
      await app.call(1, 'events.subscribe', { topics: ['streams'] }).answer()
      apps.push(app)
    }
    const [one, other, owner] = apps as [PlainApp, PlainApp, PlainApp]
    const closed = (stream: string) => ({ stream, peer: SELF, service: 'chess', clean: true })
    host.server.publish('streams.closed', closed('own'), 'user 1001')
    host.server.publish('streams.closed', closed('common'))
    for (const app of [one, owner]) expect(await app.answer()).toMatchObject({ params: { stream: 'own' } })
    expect(await other.answer()).toMatchObject({ params: { stream: 'common' } })
    for (const app of apps) app[Symbol.dispose]()
  })

  test('the SDK goes to its own socket by itself, with all its connections, and comes back after a restart', async () => {
    const { users, ...handlers } = seeing()
    const folder = await temporaryFolder()
    let host = await SocketHost.shared(handlers, undefined, folder)
    await using client = await connect({ app: 'test', socket: host.app, reconnect: true })
    await using second = await connect({ app: 'test', socket: host.app })
    await client.call('peers.list', {})
    await second.call('peers.list', {})
    const own = `user ${process.getuid?.()}`
    expect(users).toEqual([own, own])
    await second.close()
    await host.server.stop()
    expect(existsSync(join(host.users, `${process.getuid?.()}.sock`))).toBe(false)
    host = await SocketHost.shared(handlers, undefined, folder)
    await client.call('peers.list', {})
    expect(users).toEqual([own, own, own])
    await client.close()
    await host[Symbol.asyncDispose]()
  })

  test('where no socket can be given, everyone is served on the one for all', async () => {
    await using host = await SocketHost.shared({ 'peers.list': () => [] })
    host.cannotGrant = true
    await using client = await connect({ app: 'test', socket: host.app })
    expect(await client.call('peers.list', {})).toEqual([])
    expect(readdirSync(host.users)).toEqual([])
  })

  test('on a daemon of one’s own all are one user, and nobody is sent elsewhere', async () => {
    const { users, ...handlers } = seeing()
    await using host = await SocketHost.start(handlers)
    expect(await socketFor(host, 1001)).toBeUndefined()
    for (const path of [host.app, host.control]) {
      using app = await PlainApp.connect(path)
      app.send(HELLO)
      await app.answer()
      await app.call(1, 'peers.list').answer()
    }
    expect(users).toEqual(['self', 'self'])
  })
})

describe('sockets of users', () => {
  /** Sockets that are files only; `busy` are those that somebody is connected to. */
  async function sockets(): Promise<{ sockets: UserSockets; clock: VirtualClock; busy: Set<number>; folder: string }> {
    const clock = new VirtualClock()
    const busy = new Set<number>()
    const folder = join(await temporaryFolder(), 'users')
    mkdirSync(folder)
    writeFileSync(join(folder, '77.sock'), '')
    const made = new UserSockets({
      folder,
      clock,
      logger: { error: () => {}, warn: () => {}, info: () => {}, debug: () => {}, part: () => expect.unreachable() },
      open: async (_, uid) => ({ isIdle: () => !busy.has(uid), close: async () => void busy.delete(uid) }),
      grant: async () => {},
    })
    await made.start()
    return { sockets: made, clock, busy, folder }
  }

  test('that a killed daemon left are removed', async () => {
    const { folder } = await sockets()
    expect(readdirSync(folder)).toEqual([])
  })

  test(`are at most ${MAX_USERS}; those that nobody uses make room after a minute`, async () => {
    const { sockets: users, clock, busy } = await sockets()
    for (let uid = 0; uid < MAX_USERS; uid++) expect(await users.of(uid)).toBeDefined()
    busy.add(0)
    clock.advance(59_999)
    expect(await users.of(5000)).toBeUndefined()
    // Asked for again, it is in use.
    await users.of(1)
    clock.advance(1)
    expect(await users.of(5000)).toBeDefined()
    clock.advance(1)
    for (const uid of [0, 1, 5000]) expect(await users.of(uid)).toBeDefined()
  })

  test('are not asked of a system that cannot make them for a minute', async () => {
    const clock = new VirtualClock()
    let asked = 0
    const users = new UserSockets({
      folder: join(await temporaryFolder(), 'users'),
      clock,
      logger: { error: () => {}, warn: () => {}, info: () => {}, debug: () => {}, part: () => expect.unreachable() },
      open: async () => ({ isIdle: () => true, close: async () => {} }),
      grant: async () => {
        if (asked++ === 0) throw new Error('not now')
      },
    })
    await users.start()
    expect(await users.of(1)).toBeUndefined()
    expect(await users.of(1)).toBeUndefined()
    expect(asked).toBe(1)
    clock.advance(60_000)
    expect(await users.of(1)).toBeDefined()
  })
})
