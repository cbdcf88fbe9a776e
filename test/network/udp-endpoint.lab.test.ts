import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { HostPort } from '../../daemon/types.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import type { Command, Report } from './endpoint-worker.ts'

const missing = labMissing()
const WORKER = new URL('./endpoint-worker.ts', import.meta.url).pathname
const PORT = 47800
const at = (address: string): HostPort => ({ address, port: PORT })

/** An endpoint on a host, once no IPv6 address there is being checked for doubles any more. */
async function start(lab: Lab, host: string) {
  while ((await lab.exec(host, ['ip', '-6', '-o', 'addr', 'show', 'tentative'])).stdout !== '');
  const { stdin, stdout } = lab.spawn(host, [process.execPath, WORKER])
  if (!stdin || !stdout) throw new Error('the worker has no pipes')
  const reports: Report[] = []
  const watchers = new Set<() => void>()
  createInterface(stdout).on('line', (line) => {
    reports.push(JSON.parse(line) as Report)
    for (const look of watchers) look()
  })
  /** The oldest report of its kind that is as wanted; those are taken away. */
  const next = <Event extends Report['event']>(
    event: Event,
    isWanted: (report: Extract<Report, { event: Event }>) => boolean = () => true,
  ): Promise<Extract<Report, { event: Event }>> =>
    new Promise((resolve) => {
      const look = (): void => {
        const index = reports.findIndex(
          (one) => one.event === event && isWanted(one as Extract<Report, { event: Event }>),
        )
        const [found] = index < 0 ? [] : reports.splice(index, 1)
        if (!found) return
        watchers.delete(look)
        resolve(found as Extract<Report, { event: Event }>)
      }
      watchers.add(look)
      look()
    })
  const tell = (command: Command): void => void stdin.write(`${JSON.stringify(command)}\n`)
  const send = async (to: HostPort | readonly HostPort[], size = 100, count = 1) => {
    tell({ do: 'send', to: Array.isArray(to) ? to : [to as HostPort], size, count })
    return (await next('sent')).results
  }
  const announce = async (to: HostPort): Promise<string> => {
    tell({ do: 'announce', to })
    return (await next('announced')).error
  }
  const hello = await next('hello')
  const linkLocal = (name: string): string =>
    hello.interfaces
      .find((one) => one.name === name)
      ?.addresses.find(({ family, scope }) => family === 6 && scope === 'link-local')?.address ?? ''
  return { hello, reports, next, send, announce, linkLocal }
}

describe.skipIf(missing).concurrent(`the UDP endpoint of real hosts${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('carries datagrams by IPv4, IPv6 and link-local addresses, which keep their zone', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
    for (const [to, from] of [
      ['192.168.50.2', '192.168.50.1'],
      ['fd00:50::2', 'fd00:50::1'],
      [`${b.linkLocal('eth0')}%eth0`, `${a.linkLocal('eth0')}%eth0`],
    ] as const) {
      await a.send(at(to), 1200, 3)
      for (let i = 0; i < 3; i++) expect(await b.next('received')).toMatchObject({ size: 1200, from: at(from) })
      await b.send(at(from), 900)
      expect(await a.next('received')).toMatchObject({ size: 900, from: at(to) })
    }
    for (const to of ['192.168.50.255', 'ff12::7061:7274%eth0']) expect(await a.announce(at(to))).toBe('')
    expect(await b.next('received')).toMatchObject({ size: 10, from: at('192.168.50.1') })
  })

  test('tells the zone of link-local senders on two networks apart, also when one comes back', async () => {
    await using lab = await Lab.up('lan-multi')
    const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
    for (const zone of ['eth0', 'eth1', 'eth0']) {
      await a.send(at(`${b.linkLocal(zone)}%${zone}`))
      expect((await b.next('received')).from).toEqual(at(`${a.linkLocal(zone)}%${zone}`))
    }
    await lab.link('h2', 'down', 'eth1')
    await lab.link('h2', 'up', 'eth1')
    const to = at(`${a.linkLocal('eth1')}%eth1`)
    // The address is being checked for doubles at first, and nothing can be sent from it.
    const heard = a.next('received')
    let isHeard = false
    void heard.then(() => {
      isHeard = true
    })
    while (!isHeard) await b.send(to)
    expect((await heard).from).toEqual(at(`${b.linkLocal('eth1')}%eth1`))
    const from = at(`${b.linkLocal('eth1')}%eth1`)
    let isBack = false
    const back = b.next('received', (one) => one.from.address.startsWith('fe80:'))
    void back.then(() => {
      isBack = true
    })
    while (!isBack) await a.send(from)
    expect((await back).from).toEqual(to)
  })

  test.for(['4', '6'] as const)('opens its port where there is IPv%s only', async (ip) => {
    await using lab = await Lab.up('lan', { n: 2, ip })
    const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
    expect(a.hello.port).toBe(PORT)
    await a.send(at(ip === '4' ? '192.168.50.2' : 'fd00:50::2'))
    await b.next('received')
    if (ip === '6') return
    await a.send(at('fd00:50::2'))
    expect(await a.next('error')).toMatchObject({ code: expect.stringMatching(/^E(NETUNREACH|ADDRNOTAVAIL)$/) })
  })

  test('tells destinations that the system does not send to, once for many datagrams, and sends to others', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    await lab.exec('h1', ['ip', 'route', 'add', 'unreachable', '10.66.0.0/16'])
    await lab.exec('h1', ['ip', 'route', 'add', 'prohibit', '10.67.0.0/16'])
    await lab.nft('h1', 'table inet t { chain out { type filter hook output priority 0; udp dport 9 reject; } }')
    const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
    for (const [address, port, code] of [
      ['198.51.100.1', PORT, 'ENETUNREACH'],
      ['2001:db8::1', PORT, 'ENETUNREACH'],
      ['10.66.0.1', PORT, 'EHOSTUNREACH'],
      ['10.67.0.1', PORT, 'EACCES'],
      ['192.168.50.2', 9, 'EPERM'],
      ['fd00:50::2', 9, 'EPERM'],
    ] as const) {
      const to = { address, port }
      await a.send(to, 100, 5)
      expect(await a.next('error')).toEqual({ event: 'error', to, code })
      expect(a.reports).toEqual([])
    }
    await a.send(at('192.168.50.2'))
    await b.next('received')
    expect(await a.announce(at('198.51.100.255'))).toBe('ENETUNREACH')
  })

  test('never fragments: what is larger than the path is lost, and nothing says so', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
    for (const [address, largest] of [
      ['192.168.50.2', 1500 - 28],
      ['fd00:50::2', 1500 - 48],
    ] as const) {
      for (const size of [largest + 1, 2047, largest, 100]) await a.send(at(address), size)
      expect([await b.next('received'), await b.next('received')].map(({ size }) => size)).toEqual([largest, 100])
      await a.send(at(address), 9000)
      expect(await a.next('error')).toMatchObject({ code: 'EMSGSIZE' })
    }
    // A narrow hop behind an interface that would take more.
    await lab.exec('h1', ['ip', 'link', 'set', 'eth0', 'mtu', '1400'])
    await b.send(at('192.168.50.1'), 1450)
    await b.send(at('192.168.50.1'), 1200)
    expect(await a.next('received')).toMatchObject({ size: 1200 })
  })

  test('queues no more than its bound for hosts that do not answer, and goes on when the system gives up on them', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [a, b] = [await start(lab, 'h1'), await start(lab, 'h2')]
    const dead = Array.from({ length: 200 }, (_, i) => at(`192.168.50.${i + 20}`))
    const full = await a.send(dead, 1300, 1000)
    expect(full.dropped).toBeGreaterThan(0)
    expect(full.queued).toBeGreaterThan(0)
    const alive = at('192.168.50.2')
    while ((await a.send(alive, 1300)).dropped);
    expect(await b.next('received')).toMatchObject({ size: 1300 })
  })
})
