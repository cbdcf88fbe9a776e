import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { NetworkChange, NetworkInterface } from '../../daemon/network/network.ts'
import { Lab, labMissing } from '../lab/lab.ts'

const missing = labMissing()
const WATCHER = new URL('./watcher.ts', import.meta.url).pathname

describe.skipIf(missing)(`the network of a real host${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('tells of cables, addresses and interfaces as they come and go', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const { stdout } = lab.spawn('h1', [process.execPath, WATCHER])
    if (!stdout) throw new Error('the watcher has no output')
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
    const run = async (...command: readonly string[]) =>
      expect(await lab.exec('h1', ['ip', ...command])).toMatchObject({ code: 0 })
    const called = (name: string, { interfaces }: NetworkChange): NetworkInterface | undefined =>
      interfaces.find((one) => one.name === name)

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

    await run('addr', 'add', '10.7.0.1/16', 'dev', 'eth0')
    const has = (address: string, change: NetworkChange) =>
      called('eth0', change)?.addresses.some((one) => one.address === address)
    await next((change) => change.altered.includes('eth0') && has('10.7.0.1', change) === true)
    await run('addr', 'del', '10.7.0.1/16', 'dev', 'eth0')
    await next((change) => change.altered.includes('eth0') && has('10.7.0.1', change) === false)

    await run('link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'docker7')
    for (const name of ['eth7', 'docker7']) {
      await run('addr', 'add', `10.${name.length}.0.1/24`, 'dev', name)
      await run('link', 'set', name, 'up')
    }
    const both = await next((change) => called('eth7', change) !== undefined && called('docker7', change) !== undefined)
    expect(called('eth7', both)).toMatchObject({ kind: 'cable', participating: true })
    expect(called('docker7', both)).toMatchObject({ kind: 'container', participating: false })
    await run('link', 'del', 'eth7')
    await next(({ vanished }) => vanished.includes('eth7'))
  })
})
