import { describe, expect, it } from 'vitest'
import type { ElectedLink } from '../../daemon/connect/connector.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { MAX_SESSIONS, SessionManager } from '../../daemon/session/session-manager.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { BERT, linkOver, Side, socketPair } from './loopback.ts'

/** A manager, and what it told. */
class Host {
  readonly clock = new VirtualClock()
  readonly refusals = new Refusals()
  readonly told: string[] = []
  readonly manager: SessionManager
  idleClose = 0
  #last = 0

  constructor(connect: (host: Host, peer: PeerId) => Promise<string>) {
    this.manager = new SessionManager({
      clock: this.clock,
      logger: silentLogger,
      refusals: this.refusals,
      connect: (peer) => connect(this, peer),
      dialStream: () => new Promise(() => {}),
      idleClose: () => this.idleClose,
      onMessage: (message) => message.accept(),
      onStream: (stream) => stream.refuse('peer.no-service'),
      onOpened: ({ facts }) => this.told.push(`opened ${facts.id}`),
      onClosed: ({ facts }, { code, by }) => this.told.push(`closed ${facts.id} ${code} ${by}`),
    })
  }

  /** A link to a peer is elected; returns the peer's side of it. */
  async elect(peer: PeerId = BERT): Promise<Side> {
    const [near, far] = await socketPair()
    const before = this.manager.get(peer)?.facts.id
    this.manager.take(elected(`s${++this.#last}`, linkOver(near, peer, true), before))
    return new Side(linkOver(far, BERT, false), () => new Promise(() => {}), this.clock)
  }
}

function elected(session: string, link: ElectedLink['link'], replaces?: string): ElectedLink {
  return { link, session, name: 'peer', port: 47_800, group: 'X25519', replaces }
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
    expect(host.told).toEqual(['opened s1', 'closed s1 peer.closed local', 'opened s2'])
    expect(host.manager.get(BERT)?.facts.id).toBe('s2')
    expect(await old.session.closed).toMatchObject({ code: 'peer.closed', by: 'peer' })
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
    host.clock.advance(5000)
    await pass(4000)
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
    expect(host.manager.takeStream(BERT, 's1', 'd1', link)).toBe(true)
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
