import { expect, it } from 'vitest'
import { systemClock } from '../../daemon/clock.ts'
import { Connector } from '../../daemon/connect/connector.ts'
import { createTlsDial } from '../../daemon/link/tls-dial.ts'
import { LinkListener } from '../../daemon/link/tls-listen.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { IncomingStream } from '../../daemon/session/session.ts'
import { SessionManager } from '../../daemon/session/session-manager.ts'
import { LIMITS, newKey } from '../link/tls-host.ts'
import { Arrivals, drain, finish } from './loopback.ts'

/** Links, election and sessions of one host, wired as the daemon does it. */
class Host implements AsyncDisposable {
  readonly peer
  readonly sessions: SessionManager
  readonly streams = new Arrivals<IncomingStream>()
  readonly received: string[] = []
  readonly refusals = new Refusals()
  readonly #listener: LinkListener
  readonly #connector: Connector
  readonly #ports: Map<string, number>

  private constructor({ peer, certificate }: Awaited<ReturnType<typeof newKey>>, ports: Map<string, number>) {
    this.peer = peer
    this.#ports = ports
    const tls = tlsOptions(certificate)
    const common = { clock: systemClock, logger: silentLogger, refusals: this.refusals }
    this.#connector = new Connector({
      ...common,
      self: peer,
      instance: Math.random().toString(16).slice(2).padEnd(16, '0').slice(0, 16),
      dial: createTlsDial(tls),
      addressesOf: (other) => [{ address: '127.0.0.1', port: ports.get(other) ?? 0, interface: '', lastGood: true }],
      interfaces: () => [],
      isBlocked: () => false,
      name: () => 'host',
      port: () => this.#listener.port,
      greetingTimeout: 5000,
      holds: (other) => this.sessions.holds(other),
      suspend: (other, session) => this.sessions.suspend(other, session),
      onElected: (elected) => this.sessions.take(elected),
      onStream: (...stream) => this.sessions.takeStream(...stream),
    })
    this.#listener = new LinkListener({
      ...common,
      tls,
      limits: { ...LIMITS, perAddress: 512 },
      onLink: (link, greeted) => void this.#connector.accept(link, greeted),
    })
    this.sessions = new SessionManager({
      ...common,
      connect: (other, timeout) => this.#connector.connect(other, timeout),
      dialStream: (...stream) => this.#connector.dialStream(...stream),
      routeOf: () => 'lan',
      datagrams: undefined,
      resumeFor: () => 10_000,
      isHeld: () => false,
      idleClose: () => 0,
      onMessage: (message) => {
        this.received.push(Buffer.from(message.data).toString())
        message.accept()
      },
      onStream: (stream) => this.streams.add(stream),
      onOpened: () => {},
      onChanged: () => {},
      onStalled: () => {},
      onClosed: () => {},
    })
  }

  static async start(ports: Map<string, number>): Promise<Host> {
    const host = new Host(await newKey(), ports)
    ports.set(host.peer, await host.#listener.listen(0, true))
    return host
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sessions.stop()
    this.#connector.stop()
    await this.#listener.stop()
    this.#ports.delete(this.peer)
  }
}

it('two hosts that open a session to each other at once have one, and messages go both ways', async () => {
  const ports = new Map<string, number>()
  await using anna = await Host.start(ports)
  await using bert = await Host.start(ports)
  const [there, back] = await Promise.all([anna.sessions.open(bert.peer), bert.sessions.open(anna.peer)])
  expect(there.facts.id).toBe(back.facts.id)
  expect(there.facts.dialled).toBe(!back.facts.dialled)
  expect(there.facts.group).toBe('X25519MLKEM768')
  expect(back.facts.group).toBe('X25519MLKEM768')
  await Promise.all(
    Array.from({ length: 500 }, (_, i) =>
      Promise.all([there.send('c', Buffer.from(`${i}`)), back.send('c', Buffer.from(`${i}`))]),
    ),
  )
  const expected = Array.from({ length: 500 }, (_, i) => `${i}`)
  expect([anna.received, bert.received]).toEqual([expected, expected])
})

it('a hundred streams opened at once over TLS, from both sides, all end clean', async () => {
  const ports = new Map<string, number>()
  await using anna = await Host.start(ports)
  await using bert = await Host.start(ports)
  const session = await anna.sessions.open(bert.peer)
  const other = bert.sessions.get(anna.peer) ?? (await bert.sessions.open(anna.peer))
  const serve = async (host: Host, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const stream = await (await host.streams.next()).accept()
      const { bytes, clean } = await drain(stream)
      expect(clean).toBe(true)
      finish(stream, Buffer.alloc(bytes * 2))
      expect(await stream.outcome).toMatchObject({ clean: true, received: bytes })
    }
  }
  const ask = async (from: typeof session, i: number): Promise<void> => {
    const stream = await from.openStream('twice')
    finish(stream, Buffer.alloc(i * 100))
    expect(await drain(stream)).toEqual({ bytes: i * 200, clean: true })
    expect(await stream.outcome).toEqual({ clean: true, sent: i * 100, received: i * 200, unconfirmed: 0 })
  }
  const asked = Array.from({ length: 50 }, (_, i) => [ask(session, i), ask(other, i)]).flat()
  await Promise.all([serve(anna, 50), serve(bert, 50), ...asked])
  expect(session.facts.streams).toBe(0)
})

it('the goodbye of a host that stops reaches its peers', async () => {
  const ports = new Map<string, number>()
  await using bert = await Host.start(ports)
  const anna = await Host.start(ports)
  const session = await bert.sessions.open(anna.peer)
  // The other side may not have heard yet that they have a session.
  await session.ping()
  await anna[Symbol.asyncDispose]()
  expect(await session.closed).toEqual({ code: 'done', message: 'the host is shutting down', by: 'peer' })
})
