import { assert, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findGateways, parseIPv6Routes, parseRoutes } from '../../../daemon/nat/mapping/gateway.ts'
import { networkInterface } from '../../simulated-network.ts'

/** `/proc/net/route` of a host with a cable, Wi-Fi, a VPN's route without a router, and a route that is down. */
const ROUTES = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0                                                                               
eth0\t00000000\t0132A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0                                                                               
tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0                                                                               
eth1\t00000000\t0133A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0                                                                               
tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0                                                                               
eth0\t0032A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0                                                                               
`
const ZERO = '0'.repeat(32)
/** `/proc/net/ipv6_route`: a router by its link-local address, one by its global one, networks, and the kernel's end of the table. */
const IPV6_ROUTES = `20010db8000000500000000000000000 40 ${ZERO} 00 ${ZERO} 00000064 00000001 00000000 00000001     eth0
${ZERO} 00 ${ZERO} 00 fe80000000000000021122fffe334455 00000064 00000003 00000000 00450003     eth0
${ZERO} 00 ${ZERO} 00 20010db8000000500000000000000001 00000400 00000003 00000000 00000003     eth0
${ZERO} 00 ${ZERO} 00 ${ZERO} 00000001 00000003 00000000 00000001     tun0
${ZERO} 00 ${ZERO} 00 ${ZERO} ffffffff 00000001 00000000 00200200       lo
`

describe('the routes of Linux', () => {
  test('lead to IPv4 routers', () => {
    expect(parseRoutes(ROUTES)).toEqual([
      { interface: 'wlan0', address: '192.168.1.1', metric: 600 },
      { interface: 'eth0', address: '192.168.50.1', metric: 100 },
    ])
  })

  test('lead to IPv6 routers', () => {
    expect(parseIPv6Routes(IPV6_ROUTES)).toEqual([
      { interface: 'eth0', address: 'fe80:0000:0000:0000:0211:22ff:fe33:4455', metric: 100 },
      { interface: 'eth0', address: '2001:0db8:0000:0050:0000:0000:0000:0001', metric: 1024 },
    ])
  })

  test('may be any text', () => {
    assert(
      property(string({ unit: 'binary' }), (text) => {
        for (const one of [text, ROUTES + text, `eth0 00000000 ${text}`])
          expect(Array.isArray(parseRoutes(one))).toBe(true)
        for (const one of [text, IPV6_ROUTES + text, `${ZERO} 00 ${text}`])
          expect(Array.isArray(parseIPv6Routes(one))).toBe(true)
      }),
    )
  })
})

/** The files of a system, by their end. */
const files =
  (routes: string, ipv6Routes: string) =>
  (file: string): Promise<string> =>
    Promise.resolve(file.endsWith('ipv6_route') ? ipv6Routes : routes)

const CABLE = networkInterface('eth0', ['192.168.50.7/24', '2001:db8:50::7/64', 'fe80::7/64'])
const WIFI = networkInterface('wlan0', ['192.168.1.7/24'])

describe('the routers of this host', () => {
  const find = (interfaces: Parameters<typeof findGateways>[0], routes = ROUTES, ipv6Routes = IPV6_ROUTES) =>
    findGateways(interfaces, 'linux', files(routes, ipv6Routes))

  test('are the nearest of each family, seen from our address there', async () => {
    expect(await find([WIFI, CABLE])).toEqual([
      { family: 4, address: '192.168.50.1', own: '192.168.50.7', interface: 'eth0' },
      { family: 6, address: 'fe80::211:22ff:fe33:4455%eth0', own: '2001:db8:50::7', interface: 'eth0' },
    ])
  })

  test('are asked on interfaces only that take part, from addresses that others reach', async () => {
    const idle = { ...CABLE, participating: false }
    expect(await find([WIFI, idle])).toEqual([
      { family: 4, address: '192.168.1.1', own: '192.168.1.7', interface: 'wlan0' },
    ])
    expect(await find([networkInterface('eth0', ['fe80::7/64', '169.254.1.1/16'])])).toEqual([])
    expect(await find([])).toEqual([])
  })

  test('are asked from the address on their network, or that the internet knows', async () => {
    const addresses = ['10.8.0.7/16', '192.168.50.7/24', 'fd00:50::7/64', '2001:db8:50::7/64']
    const found = await find([networkInterface('eth0', addresses)])
    expect(found.map(({ own }) => own)).toEqual(['192.168.50.7', '2001:db8:50::7'])
    const local = await find([networkInterface('eth0', ['10.8.0.7/16', 'fd00:50::7/64'])])
    expect(local.map(({ own }) => own)).toEqual(['10.8.0.7', 'fd00:50::7'])
  })

  test('are none where there is no route, or the system tells none', async () => {
    expect(await find([CABLE], '', '')).toEqual([])
    expect(await findGateways([CABLE], 'linux', () => Promise.reject(new Error('ENOENT')))).toEqual([])
  })
})
