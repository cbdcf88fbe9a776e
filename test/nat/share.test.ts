import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../daemon/clock.ts'
import { SettingsStore } from '../../daemon/config/store.ts'
import type { PartylineError } from '../../daemon/errors.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { writeCheck } from '../../daemon/nat/ice/check-message.ts'
import { Nat } from '../../daemon/nat/nat.ts'
import { decodeRendezvous, encodeRendezvous } from '../../daemon/nat/rendezvous/description.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import type { Share } from '../../daemon/peers/peer-policy.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId } from '../../daemon/types.ts'
import { newKey } from '../link/tls-host.ts'
import { disclosureOf } from './disclosure.ts'
import { SimulatedPaths, TraversalHost } from './traversal-host.ts'

async function pair() {
  const paths = new SimulatedPaths()
  const [a, b] = await TraversalHost.pair(paths)
  const both = {
    [Symbol.asyncDispose]: async () => void (await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])),
  }
  return { paths, a, b, both }
}

const failure = (from: TraversalHost, to: TraversalHost): Promise<PartylineError> =>
  new Promise((resolve) => void from.traversal.look(to.peer, resolve))

describe('a host that shares the addresses of its relays only', () => {
  test('sends nothing to the peer but through them, checks included, and dials it nowhere', async () => {
    const { paths, a, b, both } = await pair()
    await using _both = both
    a.share = 'relay'
    a.candidates = [a.relayed]
    a.traversal.look(b.peer, () => {})
    const [near] = await a.untilLinks(1)
    await b.untilLinks(1)
    expect(near?.path?.route).toBe('relay')
    expect([...paths.sources]).not.toContain(a.address)
    expect(paths.sources).toContain(a.relay)
    expect(a.told).toEqual([])
  }, 20_000)

  test('is dialled again by a peer that still knows what it told before', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    // The first of them dials.
    const stop = b.traversal.look(a.peer, () => {})
    const [far] = await b.untilLinks(1)
    stop()
    if (!far) throw new Error('unreachable: there is one')
    const closed = once(far.socket, 'close')
    b.share = 'relay'
    b.candidates = [b.relayed]
    b.traversal.shareChanged()
    await closed
    b.traversal.look(a.peer, () => {})
    const [, again] = await b.untilLinks(2)
    expect(again?.path?.route).toBe('relay')
  }, 20_000)

  test('ends what was begun when it shared all', async () => {
    const { a, b, both } = await pair()
    await using _both = both
    a.traversal.look(b.peer, () => {})
    const [near] = await a.untilLinks(1)
    if (!near) throw new Error('unreachable: there is one')
    const closed = once(near.socket, 'close')
    a.share = 'relay'
    a.traversal.shareChanged()
    await closed
    expect([a.traversal.size, a.wants]).toEqual([0, 0])
  }, 20_000)
})

test('a host that shares none looks for no way, and says so; nor does a peer make it', async () => {
  const { paths, a, b, both } = await pair()
  await using _both = both
  a.share = 'none'
  expect(a.traversal.reaches(b.peer)).toBe(false)
  expect(await failure(a, b)).toMatchObject({ code: 'network.no-path', message: expect.stringContaining('policy') })
  await failure(b, a)
  expect([a.traversal.size, a.wants]).toEqual([0, 0])
  expect([...paths.sources]).not.toContain(a.address)
  expect(a.refusals.snapshot()['policy.refused']).toBeGreaterThan(0)
}, 20_000)

/** Resolves with true when the port of a host answers an authentic check that came straight there. */
async function answersChecks(share: Share): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'share-'))
  const refusals = new Refusals()
  const endpoint = new UdpEndpoint({ clock: systemClock, logger: silentLogger, refusals })
  await endpoint.bind(0)
  const settings = SettingsStore.open(join(folder, 'config.json'))
  const [us, { peer }] = await Promise.all([newKey(), newKey()])
  const described = Promise.withResolvers<{ readonly ufrag: string; readonly pwd: string }>()
  let signal: (peer: PeerId, content: Uint8Array) => void = () => {}
  const nat = new Nat({
    self: us.peer,
    instance: randomBytes(8).toString('hex'),
    clock: systemClock,
    logger: silentLogger,
    refusals,
    settings,
    endpoint,
    network: new SystemNetwork({ clock: systemClock, logger: silentLogger, include: [], exclude: [] }),
    tls: tlsOptions(us.certificate),
    signals: {
      reaches: () => ['hub'],
      send: (_, __, content) => {
        const signal = decodeRendezvous(content)
        if (signal.kind === 'describe') described.resolve(signal)
        return true
      },
      handle: (_, listener) => {
        signal = listener
        return () => {}
      },
    },
    disclosure: disclosureOf(() => share),
    isWelcome: () => true,
    onTold: () => {},
    onLink: () => {},
  })
  const socket = createSocket('udp4')
  try {
    const theirs = { ufrag: 'theirs', pwd: 'a'.repeat(22), candidates: [], link: 0, calls: 1 }
    const network = { udp: null, mapping: 'unknown', relay: false } as const
    const edition = { instance: '0123456789abcdef', attempt: 1, version: 1 }
    signal(peer, encodeRendezvous({ kind: 'describe', ...edition, ...theirs, network, seen: null }))
    const { ufrag, pwd } = await described.promise
    const role = { role: us.peer < peer ? 'controlled' : 'controlling', tieBreaker: randomBytes(8) } as const
    const check = { to: ufrag, from: 'theirs', priority: 1, nomination: undefined, ...role }
    const answered = once(socket, 'message').then(() => true)
    const refused = new Promise<boolean>((resolve) => {
      const look = setInterval(() => {
        if ((refusals.snapshot()['policy.refused'] ?? 0) === 0) return
        clearInterval(look)
        resolve(false)
      }, 10)
      void answered.then(() => clearInterval(look))
    })
    socket.send(writeCheck(randomBytes(12), check, pwd, 0), endpoint.port, '127.0.0.1')
    return await Promise.race([answered, refused])
  } finally {
    socket.close()
    await nat.close()
    await endpoint.close()
    rmSync(folder, { recursive: true })
  }
}

test('a check that comes straight is answered where all addresses are shared only', async () => {
  expect(await answersChecks('all')).toBe(true)
  expect(await answersChecks('relay')).toBe(false)
})
