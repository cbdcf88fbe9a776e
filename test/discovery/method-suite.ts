import { describe, expect, test } from 'vitest'
import type { Announcement, DiscoveryMethod } from '../../daemon/discovery/discovery.ts'
import type { NetworkChange, NetworkInterface } from '../../daemon/network/network.ts'
import { SightingLog } from './sighting-log.ts'

/** A method that is not started yet, with what it shall announce and where. */
export interface SuiteHost {
  readonly method: DiscoveryMethod
  readonly announcement: Announcement
  readonly interfaces: readonly NetworkInterface[]
}

/** An interface of that name whose addresses are not this machine's (TEST-NET-1, RFC 5737). */
const DEAD_INTERFACE: NetworkInterface = {
  name: 'dead0',
  index: 9999,
  kind: 'cable',
  participating: true,
  multicast: true,
  addresses: [
    { address: '192.0.2.7', family: 4, prefix: 24, scope: 'global', broadcast: '192.0.2.255' },
    { address: 'fe80::dead', family: 6, prefix: 64, scope: 'link-local' },
  ],
}

function changeOf(interfaces: readonly NetworkInterface[], part: Partial<NetworkChange> = {}): NetworkChange {
  return { interfaces, appeared: [], vanished: [], altered: [], slept: 0, ...part }
}

/** What every discovery method has to do, whichever way it finds peers. `create` makes hosts that can reach each other. */
export function describeMethod(title: string, create: () => Promise<SuiteHost>): void {
  describe(`${title}, as every discovery method`, () => {
    test('sees the other host with its name, port and method, and never itself', async () => {
      const [a, b] = await started(create)
      try {
        const seen = await a.log.untilSees(b.announcement.peer)
        await b.log.untilSees(a.announcement.peer)
        expect(seen).toMatchObject({ method: a.method.name, name: b.announcement.name, port: b.announcement.port })
        for (const { log, announcement } of [a, b])
          expect(log.sightings.map((one) => one.peer)).not.toContain(announcement.peer)
      } finally {
        await stopAll(a, b)
      }
    })

    test('takes a host away that stops', async () => {
      const [a, b] = await started(create)
      try {
        await a.log.untilSees(b.announcement.peer)
        await b.method.stop()
        await a.log.untilGone(b.announcement.peer)
      } finally {
        await stopAll(a, b)
      }
    })

    test('sees a host that starts later, and one that starts again', async () => {
      const a = await start(await create())
      let b = await start(await create())
      try {
        await a.log.untilSees(b.announcement.peer)
        await b.method.stop()
        await a.log.untilGone(b.announcement.peer)
        b = await start(await create())
        await a.log.untilSees(b.announcement.peer)
      } finally {
        await stopAll(a, b)
      }
    })

    test('tells the new name of a host', async () => {
      const [a, b] = await started(create)
      try {
        await a.log.untilSees(b.announcement.peer)
        b.method.renamed('somebody else')
        await a.log.until((log) => log.of(b.announcement.peer).some((one) => one.name === 'somebody else'))
      } finally {
        await stopAll(a, b)
      }
    })

    test('goes on after a network change, and after a sleep', async () => {
      const [a, b] = await started(create)
      try {
        await a.log.untilSees(b.announcement.peer)
        a.method.networkChanged(changeOf(a.interfaces, { altered: a.interfaces.map((one) => one.name) }))
        a.method.networkChanged(changeOf(a.interfaces, { slept: 60_000 }))
        const before = a.log.sightings.length
        await a.log.until((log) => log.sightings.slice(before).some((one) => one.peer === b.announcement.peer))
      } finally {
        await stopAll(a, b)
      }
    })

    test('does its work beside an interface that is dead', async () => {
      const host = await create()
      const a = await start({ ...host, interfaces: [DEAD_INTERFACE, ...host.interfaces] })
      const b = await start(await create())
      try {
        await a.log.untilSees(b.announcement.peer)
        for (const state of a.method.states())
          if (state.interface === DEAD_INTERFACE.name) expect(state.detail).not.toBe('')
      } finally {
        await stopAll(a, b)
      }
    })

    test('comes back when its interfaces vanish and appear again', async () => {
      const [a, b] = await started(create)
      try {
        await a.log.untilSees(b.announcement.peer)
        const names = a.interfaces.map((one) => one.name)
        a.method.networkChanged(changeOf([], { vanished: names }))
        const before = a.log.sightings.length
        a.method.networkChanged(changeOf(a.interfaces, { appeared: names }))
        await a.log.until((log) => log.sightings.slice(before).some((one) => one.peer === b.announcement.peer))
      } finally {
        await stopAll(a, b)
      }
    })

    test('stops when it never started, and twice', async () => {
      const { method, announcement, interfaces } = await create()
      await method.stop()
      const other = await create()
      await other.method.start(announcement, interfaces, new SightingLog())
      await Promise.all([other.method.stop(), other.method.stop()])
      await other.method.stop()
    })

    test('tells nothing more once it has stopped', async () => {
      const [a, b] = await started(create)
      try {
        await a.log.untilSees(b.announcement.peer)
        await a.method.stop()
        const before = a.log.sightings.length
        const c = await start(await create())
        await b.log.untilSees(c.announcement.peer)
        expect(a.log.sightings.length).toBe(before)
        await c.method.stop()
      } finally {
        await stopAll(a, b)
      }
    })

    test('names itself and its interfaces in its states', async () => {
      const [a, b] = await started(create)
      try {
        await a.log.untilSees(b.announcement.peer)
        const states = a.method.states()
        expect(states.map((state) => state.method)).toEqual(states.map(() => a.method.name))
        expect(states.map((state) => state.state)).toContain('active')
        for (const state of states) expect(state.detail).not.toBe('')
      } finally {
        await stopAll(a, b)
      }
    })
  })
}

interface Started extends SuiteHost {
  readonly log: SightingLog
}

async function start(host: SuiteHost): Promise<Started> {
  const log = new SightingLog()
  await host.method.start(host.announcement, host.interfaces, log)
  return { ...host, log }
}

async function started(create: () => Promise<SuiteHost>): Promise<[Started, Started]> {
  const a = await start(await create())
  const b = await start(await create())
  return [a, b]
}

async function stopAll(...hosts: readonly Started[]): Promise<void> {
  await Promise.all(hosts.map((host) => host.method.stop()))
}
