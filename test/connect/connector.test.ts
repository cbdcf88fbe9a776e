import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../daemon/clock.ts'
import { Connector, type ElectedLink, type LinkGate } from '../../daemon/connect/connector.ts'
import { encodeGreeting, type Greeting, type HelloInvite, readGreeting } from '../../daemon/connect/greeting.ts'
import { type ErrorCode, PartylineError } from '../../daemon/errors.ts'
import type { Link } from '../../daemon/link/link.ts'
import { createTlsDial } from '../../daemon/link/tls-dial.ts'
import { LinkListener } from '../../daemon/link/tls-listen.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { formatHostPort } from '../../daemon/network/network.ts'
import type { KnownAddress } from '../../daemon/peers/peer-book.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId } from '../../daemon/types.ts'
import { type Keyed, LIMITS, newKey, until } from '../link/tls-host.ts'

const GREETING_TIMEOUT = 5000
/** Of a host that shall not wait for it. */
const SHORT_GREETING = 300

/** A connector with its port and key, on loopback. */
class Host implements AsyncDisposable {
  readonly peer: PeerId
  readonly connector: Connector
  readonly listener: LinkListener
  readonly refusals = new Refusals()
  readonly addresses = new Map<PeerId, KnownAddress[]>()
  readonly blocked = new Set<PeerId>()
  readonly elected: ElectedLink[] = []
  readonly streams: { peer: PeerId; session: string; stream: string; link: Link }[] = []
  readonly dial: ReturnType<typeof createTlsDial>
  knowsStreams = true
  /** The session it would go on with, and how far that got. */
  held = ''
  /** The way beside dialling: what is done when one is looked for. */
  readonly looked: PeerId[] = []
  /** Addresses that were dialled. */
  readonly dials: string[] = []
  /** The ticket of whom it joins. */
  invite: HelloInvite | undefined
  way: ((peer: PeerId, failed: (error: PartylineError) => void) => void) | undefined
  stopped = 0
  /** What becomes of peers that greet; everybody is let in otherwise. */
  verdict: ReturnType<LinkGate['greeted']> = { kind: 'admit' }
  readonly occasions: Parameters<LinkGate['greeted']>[1][] = []
  isUsable = true
  answersProbes = true
  received: number | undefined

  private constructor({ peer, certificate }: Keyed, greetingTimeout: number) {
    this.peer = peer
    const tls = tlsOptions(certificate)
    this.dial = createTlsDial(tls)
    this.connector = new Connector({
      self: peer,
      instance: randomBytes(8).toString('hex'),
      clock: systemClock,
      logger: silentLogger,
      refusals: this.refusals,
      dial: (target, expected, signal) => {
        this.dials.push(formatHostPort(target))
        return this.dial(target, expected, signal)
      },
      traversal: {
        reaches: () => this.way !== undefined,
        look: (other, failed) => {
          this.looked.push(other)
          this.way?.(other, failed)
          return () => this.stopped++
        },
      },
      addressesOf: (other) => this.addresses.get(other) ?? [],
      interfaces: () => [],
      isBlocked: (other) => this.blocked.has(other),
      gate: {
        greeted: (_, occasion) => {
          this.occasions.push(occasion)
          return this.verdict
        },
        mayUse: () => this.isUsable,
        mayAnswerOn: () => this.answersProbes,
      },
      name: () => `name of ${peer.slice(0, 4)}`,
      port: () => this.listener.port,
      inviteFor: () => this.invite,
      greetingTimeout,
      holds: () => ({ session: this.held, heard: true }),
      suspend: () => this.received,
      onElected: (elected) => {
        this.elected.push(elected)
        elected.link.socket.once('end', () => elected.link.destroy())
      },
      onStream: (other, session, stream, link, again) => {
        again?.answer(again.received + 1000)
        if (this.knowsStreams) this.streams.push({ peer: other, session, stream, link })
        return this.knowsStreams
      },
    })
    this.listener = new LinkListener({
      tls,
      limits: LIMITS,
      refusals: this.refusals,
      logger: silentLogger,
      onLink: (link, greeted) => void this.connector.accept(link, greeted),
    })
  }

  static async start(greetingTimeout = GREETING_TIMEOUT): Promise<Host> {
    const host = new Host(await newKey(), greetingTimeout)
    await host.listener.listen(0, true)
    return host
  }

  get at(): KnownAddress {
    return { address: '127.0.0.1', port: this.listener.port, interface: '', lastGood: false }
  }

  /** Makes the other's address known here. */
  sees(...others: Host[]): this {
    for (const other of others) this.addresses.set(other.peer, [other.at])
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connector.stop()
    await this.listener.stop()
  }
}

const code = (wanted: string): unknown => expect.objectContaining({ code: wanted })

describe('connecting', () => {
  test('elects one link, the same on both sides, and tells name and port of the peer', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    const session = await a.sees(b).connector.connect(b.peer)
    await until(() => b.elected.length === 1)
    expect(a.elected).toMatchObject([
      { session, name: `name of ${b.peer.slice(0, 4)}`, port: b.listener.port, group: 'X25519MLKEM768' },
    ])
    expect(b.elected).toMatchObject([
      { session, name: `name of ${a.peer.slice(0, 4)}`, port: a.listener.port, group: 'X25519MLKEM768' },
    ])
    expect(b.listener.counts).toEqual({ open: 1, halfOpen: 0 })
    expect({ ...a.refusals.snapshot(), ...b.refusals.snapshot() }).toEqual({})
  })

  test('hands over what came right behind the greeting', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    await a.sees(b).connector.connect(b.peer)
    await until(() => b.elected.length === 1)
    const [near, far] = [a.elected[0]?.link.socket, b.elected[0]?.link.socket]
    near?.write('from a')
    far?.write('from b')
    expect([String(await once(far ?? process, 'data')), String(await once(near ?? process, 'data'))]).toEqual([
      'from a',
      'from b',
    ])
  })

  test('from both sides at the same moment ends with one session, 200 times', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.sees(b)
    b.sees(a)
    for (let round = 0; round < 200; round++) {
      const sessions = await Promise.all([a.connector.connect(b.peer), b.connector.connect(a.peer)])
      expect(sessions[0]).toBe(sessions[1])
      await until(() => a.elected.length === 1 && b.elected.length === 1)
      const ends = [a.elected.pop(), b.elected.pop()]
      ends[round % 2]?.link.destroy()
      await until(() => ends.every((end) => end?.link.socket.destroyed))
    }
    await until(() => a.listener.counts.open + b.listener.counts.open === 0)
    expect({ ...a.refusals.snapshot(), ...b.refusals.snapshot() }).toEqual({})
  })

  test('shares one attempt among calls made meanwhile', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.sees(b)
    const sessions = await Promise.all([1, 2, 3].map(() => a.connector.connect(b.peer)))
    expect(new Set(sessions).size).toBe(1)
    expect(a.elected).toHaveLength(1)
  })

  test('goes past an address where another host lives now', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    await using other = await Host.start()
    a.addresses.set(b.peer, [other.at, b.at])
    await a.connector.connect(b.peer)
    expect(a.elected[0]?.link.remote.port).toBe(b.listener.port)
    expect(other.elected).toEqual([])
  })

  test('fails with what became of the addresses', async () => {
    await using a = await Host.start()
    await using other = await Host.start()
    const { peer } = await newKey()
    await expect(a.connector.connect(peer)).rejects.toEqual(code('peer.not-found'))
    a.addresses.set(peer, [other.at])
    await expect(a.connector.connect(peer)).rejects.toEqual(code('peer.wrong-key'))
    await other.listener.stop()
    a.addresses.set(peer, [{ ...a.at, port: 1 }])
    await expect(a.connector.connect(peer)).rejects.toMatchObject({
      code: 'network.unreachable',
      message: expect.stringContaining('127.0.0.1:1: connect ECONNREFUSED'),
    })
  })

  test('fails in time when the host accepts and says nothing', async () => {
    await using a = await Host.start()
    const mute = createServer((socket) => socket.on('error', () => {}))
    mute.listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { peer } = await newKey()
    a.addresses.set(peer, [{ ...a.at, port: (mute.address() as { port: number }).port }])
    await expect(a.connector.connect(peer, 100)).rejects.toEqual(code('network.timeout'))
    mute.close()
  })

  test('ends with local.stopping when the connector stops, and ever after', async () => {
    await using a = await Host.start()
    const mute = createServer((socket) => socket.on('error', () => {}))
    mute.listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { peer } = await newKey()
    a.addresses.set(peer, [{ ...a.at, port: (mute.address() as { port: number }).port }])
    const waiting = a.connector.connect(peer)
    a.connector.stop()
    await expect(waiting).rejects.toEqual(code('local.stopping'))
    await expect(a.connector.connect(peer)).rejects.toEqual(code('local.stopping'))
    mute.close()
  })
})

describe('a session that both hold', () => {
  test('goes on over the new link, and each is told how far the other got', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    for (const host of [a, b]) host.held = 'the-session'
    a.received = 100
    b.received = 200
    expect(await a.sees(b).connector.connect(b.peer)).toBe('the-session')
    await until(() => b.elected.length === 1)
    expect(a.elected).toMatchObject([{ session: 'the-session', resumedAt: 200 }])
    expect(b.elected).toMatchObject([{ session: 'the-session', resumedAt: 100 }])
  })

  test.each(['', 'another'])('is over when the other holds %j', async (held) => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.held = 'the-session'
    b.held = held
    expect(await a.sees(b).connector.connect(b.peer)).not.toBe('the-session')
    expect(a.elected).toMatchObject([{ resumedAt: undefined }])
  })

  test('and that ends while it is resumed is not elected; the next link begins a new one', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    for (const host of [a, b]) {
      host.held = 'the-session'
      host.received = 0
    }
    b.received = undefined
    const connecting = a.sees(b).connector.connect(b.peer)
    await until(() => b.listener.counts.open > 0)
    b.held = ''
    expect(await connecting).not.toBe('the-session')
  })
})

describe('a blocked peer', () => {
  test('is never dialled', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.sees(b).blocked.add(b.peer)
    await expect(a.connector.connect(b.peer)).rejects.toEqual(code('policy.blocked'))
    expect(b.listener.counts.open).toBe(0)
  })

  test('is refused once its key is known, told so, and counted', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    b.blocked.add(a.peer)
    await expect(a.sees(b).connector.connect(b.peer)).rejects.toEqual(code('policy.refused'))
    expect(b.refusals.snapshot()).toEqual({ 'policy.blocked': 1 })
    expect(b.elected).toEqual([])
  })
})

test('whoever joins by a ticket shows it in its greeting, and nobody else does', async () => {
  await using a = await Host.start()
  const { peer, certificate } = await newKey()
  const greetings: Greeting[] = []
  const listener = new LinkListener({
    tls: tlsOptions(certificate),
    limits: LIMITS,
    refusals: new Refusals(),
    logger: silentLogger,
    onLink: async (link) => {
      greetings.push(await readGreeting(link.socket))
      link.destroy()
    },
  })
  await listener.listen(0, true)
  a.addresses.set(peer, [{ address: '127.0.0.1', port: listener.port, interface: '', lastGood: false }])
  const invite = { id: 'mfzwizlnn5xgk', proof: Buffer.alloc(32, 7).toString('base64') }
  a.invite = invite
  const connecting = a.connector.connect(peer, 5000)
  await until(() => greetings.length > 0)
  a.invite = undefined
  await until(() => greetings.length > 1)
  a.connector.stop()
  await expect(connecting).rejects.toMatchObject({ code: 'local.stopping' })
  await listener.stop()
  expect(greetings.slice(0, 2).map((greeting) => greeting.kind === 'session' && greeting.invite)).toEqual([
    invite,
    undefined,
  ])
})

describe('a gate', () => {
  const refuse = (answer: ErrorCode | undefined) => ({ kind: 'refuse', code: 'policy.refused', answer }) as const

  test('refuses a peer, which is told so', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    b.verdict = refuse('policy.refused')
    await expect(a.sees(b).connector.connect(b.peer)).rejects.toEqual(code('policy.refused'))
    expect([b.elected.length, b.refusals.snapshot()]).toEqual([0, { 'policy.refused': 1 }])
  })

  test('that is silent tells nothing', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    b.verdict = refuse(undefined)
    await expect(a.sees(b).connector.connect(b.peer, 500)).rejects.toEqual(code('network.timeout'))
  })

  test('asks the owner meanwhile: the peer waits, and gets through when it is let in', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    b.verdict = refuse('policy.asking')
    const connecting = a.sees(b).connector.connect(b.peer)
    await until(() => b.occasions.length > 0)
    b.verdict = { kind: 'admit' }
    a.connector.noticed(b.peer, 'accepted')
    await connecting
    expect(b.occasions.length).toBeLessThanOrEqual(3)
  })

  test('that has asked the owner in vain: the peer is told that he was asked', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    b.verdict = refuse('policy.asking')
    await expect(a.sees(b).connector.connect(b.peer, 500)).rejects.toEqual(code('policy.asking'))
  })

  test('by a signal only: the same, though no way is found meanwhile', async () => {
    await using a = await Host.start()
    const { peer } = await newKey()
    a.way = (_, failed) => {
      a.connector.noticed(peer, 'asking')
      failed(new PartylineError('network.no-path'))
    }
    await expect(a.connector.connect(peer, 500)).rejects.toEqual(code('policy.asking'))
    a.connector.noticed(peer, 'accepted')
  })

  test('is told who is called here, and whose session goes on', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    for (const host of [a, b]) Object.assign(host, { held: 'the-session', received: 0 })
    b.way = () => {}
    const wanted = b.connector.connect(a.peer)
    await a.sees(b).connector.connect(b.peer)
    expect(b.occasions[0]).toMatchObject({ isWanted: true, goesOn: true, name: `name of ${a.peer.slice(0, 4)}` })
    expect(await wanted).toBe('the-session')
  })

  test('keeps links that this host dials from being used, and who lives here to itself', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.isUsable = false
    await expect(a.sees(b).connector.connect(b.peer)).rejects.toEqual(code('policy.metered'))
    expect(b.occasions).toEqual([])
    expect(await a.connector.probe(b.at)).toMatchObject({ peer: b.peer })
    b.answersProbes = false
    expect(await a.connector.probe(b.at)).toBeUndefined()
  })
})

describe('a way beside dialling', () => {
  const failing = (_: PeerId, failed: (error: PartylineError) => void): void =>
    failed(new PartylineError('network.no-path', 'two symmetric NATs'))

  test('is taken where no address is known, whoever dials its link', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    const dialB = async (): Promise<void> => {
      const link = await a.dial(b.at, b.peer, new AbortController().signal)
      await a.connector.take(link)
    }
    a.way = () => void dialB()
    const session = await a.connector.connect(b.peer)
    await until(() => b.elected.length === 1)
    expect(a.elected).toMatchObject([{ session, link: { dialled: true } }])
    expect(a.stopped).toBe(1)
  })

  test('is not looked for while an address on a network of ours answers', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.way = () => {}
    await a.sees(b).connector.connect(b.peer)
    expect(a.looked).toEqual([])
  })

  test('is looked for as soon as there is one, while an address is dialled that does not answer', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    const silent = createServer(() => {})
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const { port } = silent.address() as AddressInfo
    a.addresses.set(b.peer, [{ ...b.at, port }])
    const connecting = a.connector.connect(b.peer, 5000)
    await until(() => a.dials.length > 0)
    const dialB = async (): Promise<void> => {
      await a.connector.take(await a.dial(b.at, b.peer, new AbortController().signal))
    }
    a.way = () => void dialB()
    const session = await connecting
    expect(a.elected).toMatchObject([{ session }])
    silent.close()
  })

  test('that does not exist says why', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    a.way = failing
    await expect(a.connector.connect(b.peer)).rejects.toMatchObject({
      code: 'network.no-path',
      message: 'two symmetric NATs',
    })
  })

  test('takes addresses that the peer tells, also where nobody here looks', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    await a.connector.dialTold(b.peer, [{ address: '127.0.0.1', port: 9 }, b.at])
    await until(() => b.elected.length === 1)
    expect(a.elected).toMatchObject([{ link: { dialled: true } }])
  })

  test('dials nothing that is dialled anyway, and nothing of whom is blocked', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    await a.sees(b).connector.dialTold(b.peer, [b.at])
    a.addresses.clear()
    a.blocked.add(b.peer)
    await a.connector.dialTold(b.peer, [b.at])
    expect(a.dials).toEqual([])
  })

  test('moves a session that is alive when a better address is dialled', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    const session = await a.sees(b).connector.connect(b.peer)
    await until(() => b.elected.length === 1)
    for (const [host, received] of [
      [a, 10],
      [b, 20],
    ] as const) {
      host.held = session
      host.received = received
    }
    await a.connector.upgrade(b.peer, [b.at])
    await until(() => b.elected.length === 2)
    expect(a.elected[1]).toMatchObject({ session, resumedAt: 20 })
    expect(b.elected[1]).toMatchObject({ session, resumedAt: 10 })
  })

  test('moves nothing where the hosts do not hold the same session', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    await a.sees(b).connector.connect(b.peer)
    await until(() => b.elected.length === 1)
    await a.connector.upgrade(b.peer, [b.at])
    await until(() => a.listener.counts.open + b.listener.counts.open === 1)
    expect(a.elected).toHaveLength(1)
  })
})

const sessionWith = ({ peer, at }: Host) => ({ link: { peer, remote: at }, id: 's', announce: () => {} })

describe('a link for a stream', () => {
  test('reaches the session of its peer, with what was sent at once', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    const { link } = await a.connector.dialStream(sessionWith(b), 'd1')
    link.socket.write('content')
    await until(() => b.streams.length === 1)
    const [taken] = b.streams
    expect(taken).toMatchObject({ peer: a.peer, session: 's', stream: 'd1' })
    expect(String(await once(taken?.link.socket ?? process, 'data'))).toBe('content')
  })

  test('in the place of another tells how far the stream got, and is told', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    const { link, received } = await a.connector.dialStream(sessionWith(b), 'd1', { link: 2, received: 7 })
    expect(received).toBe(1007)
    b.streams[0]?.link.socket.write('goes on')
    expect(String(await once(link.socket, 'data'))).toBe('goes on')
  })

  test('is closed where nobody knows the stream', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    b.knowsStreams = false
    const { link } = await a.connector.dialStream(sessionWith(b), 'd1')
    await once(link.socket.resume(), 'end')
    expect(b.streams).toEqual([])
  })
})

describe('a probe', () => {
  test('tells who lives at an address, and opens nothing', async () => {
    await using a = await Host.start()
    await using b = await Host.start()
    expect(await a.connector.probe(b.at)).toEqual({
      peer: b.peer,
      name: `name of ${b.peer.slice(0, 4)}`,
      port: b.listener.port,
    })
    await until(() => b.listener.counts.open === 0)
    expect(b.elected).toEqual([])
    expect(b.refusals.snapshot()).toEqual({})
  })

  test('of an address without a host is undefined', async () => {
    await using a = await Host.start()
    expect(await a.connector.probe({ address: '127.0.0.1', port: 1 })).toBeUndefined()
  })
})

describe('a host that proves its key and then misbehaves', () => {
  test.each([
    ['greets with garbage', Buffer.from('\x00\x05hello'), 'peer.malformed'],
    ['announces a greeting too large', Buffer.from([0xff, 0xff, 0]), 'peer.oversized'],
    [
      'begins with a word out of turn',
      encodeGreeting({ kind: 'select', session: 'x', resumed: false, choice: 1 }),
      'peer.malformed',
    ],
    ['stops in the middle of its greeting', Buffer.from([0, 100, 1]), 'peer.handshake-timeout'],
    ['says nothing at all', Buffer.alloc(0), 'peer.handshake-timeout'],
  ] as const)('and %s is cut and counted', async (_how, bytes, wanted) => {
    await using a = await Host.start()
    await using b = await Host.start(SHORT_GREETING)
    const link = await a.dial(b.at, b.peer, AbortSignal.timeout(5000))
    link.socket.write(bytes)
    await once(link.socket.resume(), 'end')
    expect(b.refusals.snapshot()).toEqual({ [wanted]: 1 })
    link.destroy()
    await until(() => b.listener.counts.open === 0)
  })
})
