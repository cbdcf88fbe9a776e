import { describe, expect, test } from 'vitest'
import { Upnp } from '../../../daemon/nat/mapping/upnp.ts'
import { ScriptedIgd } from './scripted-igd.ts'
import { WISH } from './scripted-router.ts'

const EXTERNAL = { address: '11.99.0.1', port: WISH.externalPort }
const { signal } = new AbortController()
/** Another host of the network. */
const OTHER = '192.168.1.12'

function upnpOf(igd: ScriptedIgd, random = () => 0.5): Upnp {
  return new Upnp({ search: igd.search, fetch: igd.fetch, random })
}

describe.each([1, 2] as const)('a router of UPnP IGD %i', (version) => {
  const add = version === 1 ? 'AddPortMapping' : 'AddAnyPortMapping'

  test('maps the wished port for two hours, and is looked for once', async () => {
    const igd = new ScriptedIgd(version)
    const upnp = upnpOf(igd)
    const asked: unknown[] = []
    const adding = igd.actions[add]
    igd.actions[add] = (args) => {
      asked.push(args)
      return adding?.(args) ?? 501
    }
    expect(await upnp.map(WISH, signal)).toEqual({ external: EXTERNAL, lifetime: 7_200_000 })
    expect(asked).toEqual([
      {
        NewRemoteHost: '',
        NewExternalPort: '47800',
        NewProtocol: 'UDP',
        NewInternalPort: '47800',
        NewInternalClient: '192.168.1.11',
        NewEnabled: '1',
        NewPortMappingDescription: 'Partyline',
        NewLeaseDuration: '7200',
      },
    ])
    expect(await upnp.map({ ...WISH, transport: 'tcp' }, signal)).toMatchObject({ external: EXTERNAL })
    expect(igd.searches).toBe(1)
    expect([...igd.table.keys()]).toEqual(['UDP 47800', 'TCP 47800'])
  })

  test('gives another port where another host has the wished one', async () => {
    const igd = new ScriptedIgd(version)
    igd.table.set('UDP 47800', OTHER)
    const { external } = await upnpOf(igd).map(WISH, signal)
    expect(external.port).not.toBe(47_800)
    expect(igd.table.get(`UDP ${external.port}`)).toBe('192.168.1.11')
    expect(igd.table.get('UDP 47800')).toBe(OTHER)
  })

  test('that has no free port is not asked for ever', async () => {
    const igd = new ScriptedIgd(version)
    igd.actions[add] = () => 718
    await expect(upnpOf(igd).map(WISH, signal)).rejects.toThrow('no free port')
    expect(igd.ordered.filter((order) => order.startsWith(add))).toHaveLength(8)
  })

  test('that knows no end to a mapping keeps it for ever', async () => {
    const igd = new ScriptedIgd(version)
    const adding = igd.actions[add]
    igd.actions[add] = (args) => (args.NewLeaseDuration === '0' ? (adding?.(args) ?? 501) : 725)
    expect(await upnpOf(igd).map(WISH, signal)).toEqual({ external: EXTERNAL, lifetime: Number.POSITIVE_INFINITY })
  })

  test('that knows no end at all is asked for ever no more', async () => {
    const igd = new ScriptedIgd(version)
    igd.actions[add] = () => 725
    await expect(upnpOf(igd).map(WISH, signal)).rejects.toMatchObject({ code: 'network.no-mapping', reason: 725 })
  })

  test.each([['0.0.0.0'], [''], ['not an address'], ['2001:db8::1'], ['11.99.0.1; rm']])(
    'whose line is down, as %j says, maps nothing',
    async (address) => {
      const igd = new ScriptedIgd(version)
      igd.actions.GetExternalIPAddress = () => ({ NewExternalIPAddress: address })
      await expect(upnpOf(igd).map(WISH, signal)).rejects.toThrow('line is down')
      expect(igd.table.size).toBe(0)
    },
  )

  test('that refuses says why', async () => {
    const igd = new ScriptedIgd(version)
    igd.actions[add] = () => 606
    await expect(upnpOf(igd).map(WISH, signal)).rejects.toMatchObject({ code: 'network.no-mapping', reason: 606 })
  })

  test('takes back what is ours, and nothing else', async () => {
    const igd = new ScriptedIgd(version)
    const upnp = upnpOf(igd)
    await upnp.map(WISH, signal)
    await upnp.unmap(WISH, signal)
    expect(igd.table.size).toBe(0)
    igd.table.set('UDP 47800', OTHER)
    await upnp.unmap(WISH, signal)
    expect(igd.table.get('UDP 47800')).toBe(OTHER)
  })

  test('that cannot say whose a mapping is takes it back all the same', async () => {
    const igd = new ScriptedIgd(version)
    delete igd.actions.GetSpecificPortMappingEntry
    const upnp = upnpOf(igd)
    await upnp.map(WISH, signal)
    await upnp.unmap(WISH, signal)
    expect(igd.table.size).toBe(0)
  })

  test('that failed is looked for again: it may be elsewhere now', async () => {
    const igd = new ScriptedIgd(version)
    const upnp = upnpOf(igd)
    await upnp.map(WISH, signal)
    igd.page = { status: 503, body: '' }
    await expect(upnp.map(WISH, signal)).rejects.toMatchObject({ code: 'network.no-mapping' })
    igd.page = undefined
    igd.location = 'http://192.168.1.1:49152/other.xml'
    expect(await upnp.map(WISH, signal)).toMatchObject({ external: EXTERNAL })
    expect(igd.searches).toBe(2)
  })

  test('whose service is elsewhere is none', async () => {
    const igd = new ScriptedIgd(version)
    igd.control = 'http://10.0.0.1/ctl'
    await expect(upnpOf(igd).map(WISH, signal)).rejects.toThrow('maps no ports')
    expect(igd.ordered).toEqual([])
  })
})

test.each([401, 602])(
  'a router of IGD 2 that does not know AddAnyPortMapping (%i) is asked as one of IGD 1',
  async (code) => {
    const igd = new ScriptedIgd(2)
    igd.actions.AddAnyPortMapping = () => code
    igd.table.set('UDP 47800', OTHER)
    const { external } = await upnpOf(igd).map(WISH, signal)
    expect(external.port).toBe(1024 + Math.floor(0.5 * 64_511))
    expect(igd.table.get(`UDP ${external.port}`)).toBe('192.168.1.11')
  },
)

test.each(['0', '65536', '-1', '1.5', 'x'])('a router that reserves port %s reserves none', async (port) => {
  const igd = new ScriptedIgd(2)
  igd.actions.AddAnyPortMapping = () => ({ NewReservedPort: port })
  await expect(upnpOf(igd).map(WISH, signal)).rejects.toMatchObject({ code: 'network.no-mapping' })
})

test('two hosts that draw ports by chance draw ports above 1023', async () => {
  for (const drawn of [0, 0.999_999]) {
    const igd = new ScriptedIgd(1)
    igd.table.set('UDP 47800', OTHER)
    const { external } = await upnpOf(igd, () => drawn).map(WISH, signal)
    expect(external.port).toBeGreaterThanOrEqual(1024)
    expect(external.port).toBeLessThanOrEqual(65_535)
  }
})
