import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { NetworkChange, NetworkInterface } from '../../daemon/network/network.ts'
import { Lab, labMissing } from '../lab/lab.ts'

const missing = labMissing()
const WATCHER = new URL('./watcher.ts', import.meta.url).pathname

const called = (name: string, { interfaces }: NetworkChange): NetworkInterface | undefined =>
  interfaces.find((one) => one.name === name)
const has = (address: string, change: NetworkChange): boolean =>
  called('eth0', change)?.addresses.some((one) => one.address === address) === true

/** A watcher on h1. */
function watch(lab: Lab) {
  const { stdin, stdout } = lab.spawn('h1', [process.execPath, WATCHER])
  if (!stdin || !stdout) throw new Error('the watcher has no pipes')
  const lines = createInterface(stdout)[Symbol.asyncIterator]()
  /** The next change that is as wanted; on the way there may be others, as addresses come one by one. */
  const next = async (wanted: (change: NetworkChange) => boolean): Promise<NetworkChange> => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done) throw new Error('the watcher ended')
      const change = JSON.parse(value) as NetworkChange
      if (wanted(change)) return change
    }
  }
  const isState = ({ appeared, vanished, altered, slept }: NetworkChange): boolean =>
    [...appeared, ...vanished, ...altered].length === 0 && slept === 0
  /** Looks now, and tells what changed since the last time that was asked, and how things stand. */
  const look = async (): Promise<{ changes: readonly NetworkChange[]; state: NetworkChange }> => {
    stdin.write('\n')
    const changes: NetworkChange[] = []
    const state = await next((change) => isState(change) || !changes.push(change))
    return { changes, state }
  }
  const run = async (...command: readonly string[]): Promise<string> => {
    const ended = await lab.exec('h1', command)
    expect(ended).toMatchObject({ code: 0 })
    return ended.stdout
  }
  const ip = (...command: readonly string[]): Promise<string> => run('ip', ...command)
  return { next, look, run, ip }
}

describe.skipIf(missing).concurrent(`the network of a real host${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('tells of cables, addresses and interfaces as they come and go', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const { next, ip } = watch(lab)
    const first = await next(() => true)
    expect(called('eth0', first)).toMatchObject({ kind: 'cable', participating: true, index: expect.any(Number) })
    expect(called('eth0', first)?.index).toBeGreaterThan(0)
    expect(called('eth0', first)?.addresses).toContainEqual({
      ...{ address: '192.168.50.1', family: 4, prefix: 24, broadcast: '192.168.50.255', scope: 'private' },
    })

    await lab.link('h1', 'down')
    expect(called('eth0', await next(({ vanished }) => vanished.includes('eth0')))).toBeUndefined()
    await lab.link('h1', 'up')
    await next(({ appeared }) => appeared.includes('eth0'))

    // The other end of the cable: the interface stays up, and has no carrier.
    await lab.link('lan', 'down', 'h1')
    await next(({ vanished }) => vanished.includes('eth0'))
    await lab.link('lan', 'up', 'h1')
    await next(({ appeared }) => appeared.includes('eth0'))

    await ip('addr', 'add', '10.7.0.1/16', 'dev', 'eth0')
    await next((change) => change.altered.includes('eth0') && has('10.7.0.1', change))
    await ip('addr', 'del', '10.7.0.1/16', 'dev', 'eth0')
    await next((change) => change.altered.includes('eth0') && !has('10.7.0.1', change))

    await ip('link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'docker7')
    for (const name of ['eth7', 'docker7']) {
      await ip('addr', 'add', `10.${name.length}.0.1/24`, 'dev', name)
      await ip('link', 'set', name, 'up')
    }
    const both = await next((change) => called('eth7', change) !== undefined && called('docker7', change) !== undefined)
    expect(called('eth7', both)).toMatchObject({ kind: 'cable', participating: true })
    expect(called('docker7', both)).toMatchObject({ kind: 'container', participating: false })
    await ip('link', 'del', 'eth7')
    await next(({ vanished }) => vanished.includes('eth7'))
  })

  test('tells of IPv6 addresses once each, not of each state they pass through', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const { next, look, run, ip } = watch(lab)
    const untilChecked = async (): Promise<void> => {
      while ((await ip('-6', '-o', 'addr', 'show', 'tentative')) !== '') await look()
    }
    await next(() => true)
    await untilChecked()
    await look()

    // Tentative at first, until nobody else turns out to have it; then preferred, deprecated, and preferred again.
    await ip('addr', 'add', 'fd00:77::1/64', 'dev', 'eth0')
    const { changes, state } = await look()
    expect(changes.map(({ altered }) => altered)).toEqual([['eth0']])
    expect(has('fd00:77::1', state)).toBe(true)
    await untilChecked()
    for (const preferred of ['0', '1000', '0', 'forever']) {
      const lifetime = ['valid_lft', 'forever', 'preferred_lft', preferred]
      await ip('addr', 'change', 'fd00:77::1/64', 'dev', 'eth0', ...lifetime)
      expect(await look()).toMatchObject({ changes: [] })
    }

    // A temporary address (RFC 8981), as the kernel makes one for each prefix: one change, and then no more.
    await run('sh', '-c', 'echo 2 >/proc/sys/net/ipv6/conf/eth0/use_tempaddr')
    await ip('addr', 'add', 'fd00:78::1/64', 'dev', 'eth0', 'mngtmpaddr')
    const temporary = async (): Promise<string> => ip('-6', '-o', 'addr', 'show', 'dev', 'eth0', 'temporary')
    while (!(await temporary()).includes('fd00:78:')) await look()
    await untilChecked()
    await look()
    const before = (await look()).state
    expect(called('eth0', before)?.addresses.filter(({ address }) => address.startsWith('fd00:78:'))).toHaveLength(2)
    await ip('addr', 'change', 'fd00:78::1/64', 'dev', 'eth0', 'mngtmpaddr', 'valid_lft', '3600', 'preferred_lft', '0')
    expect(await look()).toMatchObject({ changes: [], state: before })
  })
})
