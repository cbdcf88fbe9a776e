import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import { KIND_NAMES, KINDS, type KindName } from '../nat/matrix/kinds.ts'
import { expectation } from '../nat/matrix/theory.ts'
import { addressesIn } from '../policy/address-scan.ts'
import { capture } from '../policy/capture.ts'
import { befriend, chat, openInternet, serverFile, startWithAccount } from './online.ts'
import { Guest } from './party.ts'

const missing = labMissing(['turnserver', 'prosody', 'openssl', 'ss'])
const title = (name: string): string => `${name}${missing ? ` (skipped: ${missing})` : ''}`
const STRAIGHT = ['direct', 'mapped', 'punched']

/** From nothing to a line of chat. Resolves with the route that the session ends on. */
async function meet(lab: Lab, kind: KindName): Promise<string> {
  const [a, b] = await Promise.all([startWithAccount(lab, 'a1', 'alice'), startWithAccount(lab, 'b1', 'bob')])
  await befriend(a, b)
  await chat(a, b)
  const { way } = expectation(KINDS[kind], KINDS[kind])
  const route = await a.untilRoute(b.id, ...(way === 'none' ? ['relay'] : STRAIGHT))
  await Promise.all([a.leave(), b.leave()])
  return route
}

/** Ends a server by the id that it wrote down, and waits until it is gone. */
async function stopServer(lab: Lab): Promise<void> {
  const pid = Number(serverFile(lab, 'pid'))
  process.kill(pid)
  const isThere = () => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  while (isThere()) await sleep(20)
}

describe.skipIf(missing)(title('two homes that have nothing but XMPP accounts'), () => {
  const kinds = [KIND_NAMES.filter((_, index) => index % 2 === 0), KIND_NAMES.filter((_, index) => index % 2 === 1)]
  // Two labs beside each other: they wait most of the time.
  test.concurrent.each(kinds.map((half) => [half.join(', '), half] as const))(
    'get from `invite` and `join` to a line of chat behind %s',
    async (_, half) => {
      await using lab = await Lab.up('nat-pair')
      await openInternet(lab)
      const routes: Record<string, string> = {}
      for (const kind of half) {
        await Promise.all([lab.nat('ra', kind), lab.nat('rb', kind)])
        routes[kind] = await meet(lab, kind)
      }
      expect(Object.keys(routes)).toEqual(half)
    },
    180_000,
  )
})

/** The first home's router. */
const OUTSIDE = '11.99.0.1'
const MAPPING = labMissing(['turnserver', 'prosody', 'openssl', 'ss', 'miniupnpd'])

describe.skipIf(MAPPING)(`a server that is gone${MAPPING ? ` (skipped: ${MAPPING})` : ''}`, () => {
  test('is missed by nobody who has met: sessions go on, and come back at a mapped address after both were restarted', async () => {
    await using lab = await Lab.up('upnp', { b: 'sym' })
    await openInternet(lab)
    const [a, b] = await Promise.all([startWithAccount(lab, 'a1', 'alice'), startWithAccount(lab, 'b1', 'bob')])
    await befriend(a, b)
    await b.untilRoute(a.id, 'mapped')
    await stopServer(lab)
    await chat(a, b, 'without a server')
    // What is known of each other is written within a second.
    while (!readFileSync(join(b.daemon.home, 'peers.json'), 'utf8').includes(OUTSIDE)) await sleep(50)
    await Promise.all([a.restart(), b.restart()])
    await Promise.all([b.untilRoute(a.id, 'mapped'), a.untilRoute(b.id, 'mapped')])
    await chat(a, b, 'after a restart')
    const accounts = await a.client.call('accounts.list', {})
    expect(accounts).toMatchObject([{ jid: 'alice@lab.test', state: 'waiting' }])
  }, 120_000)
})

/** So soon all is as before, in ms; and so long after that packets are counted, which are those of two hosts with their servers and friends. */
const BACK = 10_000
const STORM = 5000
const MAX_PACKETS = 1000

/** A router whose line is dead, though it does not say so. */
const CUT = `table inet cut {
  chain line {
    type filter hook forward priority -20
    oifname "wan" drop
    iifname "wan" drop
  }
}`

describe.skipIf(missing)(title('a home whose line is cut'), () => {
  test('goes on by itself; the far friend is away, and back when the line is, without a storm', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await openInternet(lab)
    const [a, b] = await Promise.all([startWithAccount(lab, 'a1', 'alice'), startWithAccount(lab, 'b1', 'bob')])
    const neighbour = await Guest.join(lab, 'a2')
    await Promise.all([a.untilSees(neighbour.id), neighbour.untilSees(a.id)])
    await befriend(a, b)
    await Promise.all([chat(a, neighbour), chat(a, b)])
    await a.untilRoute(b.id, ...STRAIGHT)
    const near = async () => (await a.client.call('sessions.list', {})).find(({ peer }) => peer === neighbour.id)
    await lab.nft('ra', CUT)
    await a.until((peers) => peers.some(({ id, state }) => id === b.id && state === 'away'))
    await chat(a, neighbour, 'still here')
    expect(await near()).toMatchObject({ state: 'open' })
    const watched = await capture(lab, 'ra', 'wan')
    await lab.nft('ra', 'delete table inet cut')
    const back = performance.now()
    await a.untilRoute(b.id, ...STRAIGHT)
    expect(performance.now() - back).toBeLessThan(BACK)
    await chat(a, b, 'back again')
    await sleep(STORM)
    const packets = await watched.end()
    expect(await near()).toMatchObject({ state: 'open', route: 'lan' })
    expect(packets.length).toBeLessThan(MAX_PACKETS)
  }, 120_000)
})

/** Not as short as an address, so that it stands nowhere by accident. */
const SECRET_NAMES = ['Annas Rechner in der Kueche', 'Bens Rechner auf dem Dachboden']
/** Where the XMPP server is. */
const SERVER = '10.99.0.20'
const SECRET_LINE = 'the key lies under the third flower pot'

describe.skipIf(missing)(title('an XMPP server'), () => {
  test('learns no address, name or message, and neither does whoever watches its line', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await openInternet(lab)
    const watched = await capture(lab, 'pub', 'eth0')
    const [a, b] = await Promise.all([
      startWithAccount(lab, 'a1', 'alice', { name: SECRET_NAMES[0] ?? '' }),
      startWithAccount(lab, 'b1', 'bob', { name: SECRET_NAMES[1] ?? '' }),
    ])
    await befriend(a, b)
    await a.client.call('chat.send', { peer: b.id, text: SECRET_LINE })
    await b.hears(SECRET_LINE)
    await Promise.all([a.leave(), b.leave()])
    const packets = (await watched.end()).filter(({ from, to }) => from === SERVER || to === SERVER)
    const log = serverFile(lab, 'log')
    // What it must know: who sends to whom, and that it is a signal.
    expect(log).toContain('alice@lab.test')
    const inner = ['192.168.1.11', '192.168.2.11']
    const texts = [...SECRET_NAMES, SECRET_LINE, a.id, b.id, 'wonder']
    expect(texts.filter((text) => log.includes(text))).toEqual([])
    expect(addressesIn(Buffer.from(log), inner)).toEqual([])
    expect(packets.length).toBeGreaterThan(50)
    const seen = Buffer.concat(packets.map(({ payload }) => payload))
    expect(texts.filter((text) => seen.includes(text))).toEqual([])
    expect(packets.filter(({ payload }) => addressesIn(payload, inner).length > 0)).toEqual([])
  }, 60_000)

  test('that drops, alters, repeats and delays what it carries achieves nothing but delay', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await openInternet(lab, 'tamper')
    const [a, b] = await Promise.all([startWithAccount(lab, 'a1', 'alice'), startWithAccount(lab, 'b1', 'bob')])
    await befriend(a, b)
    await a.client.call('sessions.open', { peer: b.id })
    await a.untilRoute(b.id, ...STRAIGHT)
    await chat(a, b)
    const [seenByA, seenByB] = await Promise.all([a.client.call('peers.list', {}), b.client.call('peers.list', {})])
    // Nobody else was made up, and nothing came twice.
    expect([seenByA, seenByB].map((peers) => peers.map(({ id, trust }) => [id, trust]))).toEqual([
      [[b.id, 'trusted']],
      [[a.id, 'trusted']],
    ])
    const lines = await b.client.call('chat.history', {})
    expect(lines.filter(({ direction }) => direction === 'in').map(({ text }) => text)).toEqual(['hello from a1'])
  }, 120_000)
})
