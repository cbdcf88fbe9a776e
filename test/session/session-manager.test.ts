import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { MAX_SESSIONS, SessionManager } from '../../daemon/session/session-manager.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { BERT, electedLink as elected, linkOver, Side, socketPair } from './loopback.ts'

/** A manager, and what it told. */
class Host {
  readonly clock = new VirtualClock()
  readonly refusals = new Refusals()
  readonly told: string[] = []
  readonly manager: SessionManager
  idleClose = 0
  resumeFor = 0
  held = false
  #last = 0

  constructor(connect: (host: Host, peer: PeerId) => Promise<string>) {
    this.manager = new SessionManager({
      clock: this.clock,
      logger: silentLogger,
      refusals: this.refusals,
      connect: (peer) => connect(this, peer),
      dialStream: () => new Promise(() => {}),
      routeOf: () => 'lan',
      datagrams: undefined,
      resumeFor: () => this.resumeFor,
      isHeld: () => this.held,
      idleClose: () => this.idleClose,
      onMessage: (message) => message.accept(),
      onStream: (stream) => stream.refuse('peer.no-service'),
      onOpened: ({ facts }) => this.told.push(`opened ${facts.id}`),
      onStalled: () => {},
      onChanged: ({ facts }, { from, to, reason }) => this.told.push(`${facts.id} ${from} ${to}: ${reason}`),
      onClosed: ({ facts }, { code, by }) => this.told.push(`closed ${facts.id} ${code} ${by}`),
    })
  }

  /** A link to a peer is elected; returns the peer's side of it. */
  async elect(peer: PeerId = BERT, instance = 'first'): Promise<Side> {
    const [near, far] = await socketPair()
    this.manager.take(elected(`s${++this.#last}`, linkOver(near, peer, true), { instance }))
    return new Side(linkOver(far, BERT, false), () => new Promise(() => {}), this.clock)
  }
}

const unreachable = (): Promise<string> => Promise.reject(new PartylineError('network.unreachable'))

describe('SessionManager', () => {
  it('finds the session there is, and connects when there is none', async () => {
    const host = new Host(async (self) => {
      await self.elect()
      return 's1'
    })
    const session = await host.manager.open(BERT)
    expect(session.facts).toMatchObject({ id: 's1', peer: BERT, dialled: true, streams: 0 })
    expect(await host.manager.open(BERT)).toBe(session)
    expect(host.manager.get(BERT)).toBe(session)
    expect(host.manager.list()).toEqual([session])
    expect(host.told).toEqual(['opened s1'])
    await host.manager.stop()
  })

  it('rejects as connecting does', async () => {
    await expect(new Host(unreachable).manager.open(BERT)).rejects.toMatchObject({ code: 'network.unreachable' })
  })

  it('closes a session with a goodbye, and tells whether there was one', async () => {
    const host = new Host(unreachable)
    const far = await host.elect()
    expect(await host.manager.close(BERT, { code: 'done', message: 'bye' })).toBe(true)
    expect(await far.session.closed).toEqual({ code: 'done', message: 'bye', by: 'peer' })
    expect(await host.manager.close(BERT)).toBe(false)
    expect(host.told).toEqual(['opened s1', 'closed s1 done local'])
  })

  it('lets a new session take the place of the old one, whose end is told first', async () => {
    const host = new Host(unreachable)
    const old = await host.elect()
    await host.elect()
    expect(host.told).toEqual(['opened s1', 'closed s1 network.lost network', 'opened s2'])
    expect(host.manager.get(BERT)?.facts.id).toBe('s2')
    expect(await old.session.closed).toMatchObject({ code: 'network.lost', by: 'network' })
    await host.elect(BERT, 'second')
    expect(host.told.slice(3)).toEqual(['closed s2 peer.restarted network', 'opened s3'])
    await host.manager.stop()
  })

  it('forgets a session that was lost', async () => {
    const host = new Host(unreachable)
    const far = await host.elect()
    const session = host.manager.get(BERT)
    far.socket.destroy()
    expect(await session?.closed).toMatchObject({ code: 'network.lost', by: 'network' })
    expect(host.manager.list()).toEqual([])
  })

  it('looks for another link when one is lost, until the time for that is over', async () => {
    let tries = 0
    const host = new Host(() => {
      tries++
      return unreachable()
    })
    host.resumeFor = 30_000
    const far = await host.elect()
    const session = host.manager.get(BERT)
    const waiting = expect(session?.send('c', Buffer.from('x'))).rejects.toMatchObject({ code: 'network.lost' })
    far.socket.destroy()
    while (host.told.length < 2) await turn()
    expect(host.told[1]).toBe('s1 lan null: the link was lost')
    expect(session?.facts.state).toBe('resuming')
    expect(await host.manager.open(BERT)).toBe(session)
    for (let passed = 0; passed <= 30_000; passed += 100) {
      await turn()
      host.clock.advance(100)
    }
    await turn()
    expect(await session?.closed).toMatchObject({ code: 'network.lost', by: 'network' })
    await waiting
    expect(tries).toBeGreaterThan(10)
    expect(tries).toBeLessThan(40)
    expect(host.manager.list()).toEqual([])
  })

  it('tries at once when the network changes, and goes on with the link that was elected', async () => {
    let tries = 0
    const host = new Host(() => {
      tries++
      return unreachable()
    })
    host.resumeFor = 30_000
    const far = await host.elect()
    far.socket.destroy()
    while (tries < 1) await turn()
    await turn()
    host.manager.networkChanged([])
    while (tries < 2) await turn()
    expect(host.manager.holds(BERT)).toMatchObject({ session: 's1' })
    expect(host.manager.suspend(BERT, 'other')).toBeUndefined()
    const received = host.manager.suspend(BERT, 's1')
    const [near, there] = await socketPair()
    host.manager.take(elected('s1', linkOver(near, BERT, true), { resumedAt: 0 }))
    expect(host.told.slice(1)).toEqual(['s1 lan null: the link was lost', 's1 null lan: resumed on another link'])
    expect(received).toBeGreaterThanOrEqual(0)
    expect(host.manager.get(BERT)?.facts.state).toBe('open')
    there.destroy()
    await host.manager.stop()
  })

  it('closes what nobody used for a while, and nothing else', async () => {
    const host = new Host(unreachable)
    const far = await host.elect()
    host.idleClose = 60_000
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 1000) {
        host.clock.advance(1000)
        await far.session.ping()
      }
    }
    await pass(50_000)
    await host.manager.get(BERT)?.send('c', Buffer.from('x'))
    await pass(50_000)
    expect(host.manager.list()).toHaveLength(1)
    host.held = true
    await pass(50_000)
    expect(host.manager.list()).toHaveLength(1)
    host.held = false
    host.clock.advance(5000)
    expect(await far.session.closed).toMatchObject({ code: 'done', message: 'nobody used it', by: 'peer' })
    expect(host.manager.list()).toEqual([])
  })

  it('takes links of streams for the session they name only', async () => {
    const host = new Host(unreachable)
    const [near] = await socketPair()
    const [stream] = await socketPair()
    host.manager.take(elected('s1', linkOver(near, BERT, false)))
    const link = linkOver(stream, BERT, false)
    expect(host.manager.takeStream('c'.repeat(52) as PeerId, 's1', 'd1', link)).toBe(false)
    expect(host.manager.takeStream(BERT, 's2', 'd1', link)).toBe(false)
    expect(host.manager.takeStream(BERT, 's1', 'e1', link)).toBe(true)
    await host.manager.stop()
    expect(stream.destroyed).toBe(true)
  })

  it('says goodbye to everyone when it stops, and opens nothing more', async () => {
    const host = new Host(unreachable)
    const far = await host.elect()
    await host.manager.stop()
    await host.manager.stop()
    expect(await far.session.closed).toMatchObject({ code: 'done', by: 'peer' })
    await expect(host.manager.open(BERT)).rejects.toMatchObject({ code: 'local.stopping' })
    const [late] = await socketPair()
    host.manager.take(elected('late', linkOver(late, BERT, false)))
    expect(late.destroyed).toBe(true)
  })

  it('turns newcomers away when there are as many sessions as it bears', async () => {
    const host = new Host(unreachable)
    const [near] = await socketPair()
    // One socket serves them all: only their number matters here.
    near.setMaxListeners(0)
    for (let i = 0; i <= MAX_SESSIONS; i++) {
      const peer = `p${i}` as PeerId
      const link = { ...linkOver(near, peer, false), destroy: () => host.told.push(`destroyed ${peer}`) }
      host.manager.take(elected(`s${i}`, link))
    }
    expect(host.manager.list()).toHaveLength(MAX_SESSIONS)
    expect(host.told.at(-1)).toBe(`destroyed p${MAX_SESSIONS}`)
    expect(host.refusals.snapshot()).toEqual({ 'peer.too-many-links': 1 })
    await expect(host.manager.open(BERT)).rejects.toMatchObject({ code: 'local.limit' })
    near.destroy()
  })
})
