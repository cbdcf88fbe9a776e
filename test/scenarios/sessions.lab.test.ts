import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { StatisticsView } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { Terminal } from '../lab/terminal.ts'
import { allSeeAll, Guest } from './party.ts'

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))

const missing = labMissing(['tmux'])

async function pair(lab: Lab): Promise<[Guest, Guest]> {
  const guests: [Guest, Guest] = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')]
  await allSeeAll(guests)
  await guests[0].client.call('sessions.open', { peer: guests[1].id })
  return guests
}

/** Measurements of the session from one guest to another, as soon as they are as wanted. */
async function measured(
  from: Guest,
  to: Guest,
  wanted: (statistics: StatisticsView) => boolean,
): Promise<StatisticsView> {
  const events = await from.client.events(['statistics'])
  for await (const event of events) {
    if (event.name !== 'sessions.measured' || event.params.peer !== to.id) continue
    if (wanted(event.params.statistics)) return event.params.statistics
  }
  throw new Error('the daemon has gone')
}

/** Sends a message every so many milliseconds until it is stopped. */
function tick(from: Guest, to: Guest, every: number, options: { reliable: boolean }): () => void {
  const timer = setInterval(() => {
    from.client.send(to.id, 'ticks', 'x'.repeat(100), options).catch(() => {})
  }, every)
  return () => clearInterval(timer)
}

async function listen(guest: Guest): Promise<{ count: number }> {
  const heard = { count: 0 }
  const messages = await guest.client.messages('ticks')
  void (async () => {
    for await (const _ of messages) heard.count++
  })()
  return heard
}

/** A switch in the cable: so long all flows, of each period, in ms. */
const FLOW = 1500
const PERIOD = 2200

describe.skipIf(missing)(`sessions between real hosts${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('measure what a fake network does to them, and are themselves again without it', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = await pair(lab)
    const heard = await listen(h2)
    const stop = tick(h1, h2, 5, { reliable: false })
    const before = await measured(h1, h2, ({ datagrams, out }) => datagrams.state === 'open' && out.loss !== null)
    expect(before).toMatchObject({ fake: null, datagrams: { mtu: 1472 } })
    expect(before.out.loss).toBeLessThan(0.1)

    const { code } = await h1.daemon.cli(['fake', h2.id, '--loss', '30', '--delay', '40'])
    expect(code).toBe(0)
    const worse = await measured(h1, h2, ({ out, rtt }) => (out.loss ?? 0) > 0.2 && (rtt.latest ?? 0) >= 80)
    expect(worse.fake).toMatchObject({ out: { loss: 0.3, delay: 40 }, in: { loss: 0.3, delay: 40 } })
    expect(worse.out.quality).toBeLessThan(0.8)
    expect((await h1.daemon.cli(['status', h2.id])).stdout).toContain('FAKE NETWORK')
    expect((await h1.daemon.cli(['status'])).stdout).toContain('FAKE NETWORK')
    const top = await Terminal.start(lab, 'h1', [process.execPath, MAIN, 'top', '--home', h1.daemon.home])
    const screen = await top.waitFor('FAKE')
    expect(screen).toMatch(/PEER\s+STATE\s+PING/)
    expect(screen).toContain('1 session   q leaves')
    await top.enter('q')
    await top.ended()
    expect((await h1.daemon.cli(['metrics'])).stdout).toMatch(
      /partyline_session_loss_out_ratio\{peer="\w{12}"\} 0\.[2-4]/,
    )
    expect(await h1.client.send(h2.id, 'ticks', 'reliable')).toMatchObject({ sent: true, via: 'link' })

    await h1.daemon.cli(['fake', h2.id, '--off'])
    const after = await measured(h1, h2, ({ out }) => (out.loss ?? 1) < 0.05)
    expect(after.fake).toBeNull()
    stop()
    expect(heard.count).toBeGreaterThan(100)
  })

  test('report a peer whose traffic stops and bursts in a regular pattern', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = await pair(lab)
    await listen(h1)
    const stalls = await h1.client.events(['sessions'])
    const stop = tick(h2, h1, 10, { reliable: true })
    const found = (async () => {
      for await (const event of stalls) if (event.name === 'sessions.stalled') return event.params
      throw new Error('the daemon has gone')
    })()
    let isFound = false
    void found.then(() => {
      isFound = true
    })
    // By the clock: what a busy machine is late by shall not add up.
    const begun = performance.now()
    const until = (at: number): Promise<void> => sleep(Math.max(0, begun + at - performance.now()))
    for (let round = 0; !isFound; round++) {
      await until(round * PERIOD + FLOW)
      h2.daemon.child.kill('SIGSTOP')
      await until((round + 1) * PERIOD)
      h2.daemon.child.kill('SIGCONT')
    }
    stop()
    const { peer, stall } = await found
    expect(peer).toBe(h2.id)
    expect(stall.silences).toBeGreaterThanOrEqual(5)
    expect(stall.medianSilence).toBeGreaterThan(400)
    expect(stall.burst).toBeGreaterThan(3)
  })

  test('send unreliable messages over the link while UDP is blocked, and say so', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = await pair(lab)
    await listen(h2)
    const stop = tick(h1, h2, 20, { reliable: false })
    const via = async (wanted: 'link' | 'datagram'): Promise<void> => {
      while ((await h1.client.send(h2.id, 'ticks', 'x', { reliable: false })).via !== wanted) await sleep(50)
    }
    await via('datagram')
    await lab.nft('h2', 'table inet cut { chain in { type filter hook input priority 0; meta l4proto udp drop; }; }')
    await via('link')
    const lost = await measured(h1, h2, ({ datagrams }) => datagrams.state === 'lost')
    expect(lost.totals.messagesOut).toBeGreaterThan(0)
    await lab.exec('h2', ['nft', 'delete', 'table', 'inet', 'cut'])
    await via('datagram')
    stop()
  })

  test('keep an interactive lane quick beside a bulk one on a slow line', async () => {
    await using lab = await Lab.up('lan', { n: 2, wire: ['h2:delay=2,rate=20000'] })
    const [h1, h2] = await pair(lab)
    for (const channel of ['bulk', 'quick']) {
      const messages = await h2.client.messages(channel)
      void (async () => {
        for await (const _ of messages);
      })()
    }
    /** Round trips of small messages in one lane while another is full, in ms. */
    const race = async (lane: number): Promise<number> => {
      let isOver = false
      const pour = async () => {
        while (!isOver) await h1.client.send(h2.id, 'bulk', Buffer.alloc(60_000), { lane: 1 })
      }
      const pouring = Array.from({ length: 8 }, pour)
      await sleep(1000)
      const times: number[] = []
      for (let i = 0; i < 20; i++) {
        const began = performance.now()
        await h1.client.send(h2.id, 'quick', 'x', { lane })
        times.push(performance.now() - began)
      }
      isOver = true
      await Promise.all(pouring)
      return times.sort((a, b) => a - b)[10] ?? 0
    }
    await h1.client.setLanes(h2.id, [
      { priority: 0, weight: 1 },
      { priority: 1, weight: 1 },
    ])
    const [first, last] = [await race(0), await race(1)]
    console.log(`round trip beside a bulk lane at 20 Mbit/s: ${first.toFixed(1)} ms, in it ${last.toFixed(1)} ms`)
    expect(first).toBeLessThan(last / 3)
  })
})
