import { readFile } from 'node:fs/promises'
import { sameSubnet } from '../../network/addresses.ts'
import { type InterfaceAddress, type NetworkInterface, scopedAddress } from '../../network/network.ts'
import type { Gateway } from './protocol.ts'

/** Flags of a route (`linux/route.h`): it is up, and goes by a router. */
const UP = 0x1
const BY_ROUTER = 0x2

/** A default route. */
interface DefaultRoute {
  readonly interface: string
  readonly address: string
  readonly metric: number
}

/** Reads a file of the system; rejects where there is none. */
type ReadFile = (file: string) => Promise<string>

const systemFile: ReadFile = (file) => readFile(file, 'utf8')

/** The routers to the internet that this host uses, one for each family, on interfaces that take part. */
export async function findGateways(
  interfaces: readonly NetworkInterface[],
  platform: NodeJS.Platform = process.platform,
  read: ReadFile = systemFile,
): Promise<readonly Gateway[]> {
  const routes = platform === 'linux' ? await linuxRoutes(read) : await otherRoutes(interfaces)
  return ([4, 6] as const).flatMap((family) => {
    const found = routes[family]
      .toSorted((a, b) => a.metric - b.metric)
      .flatMap((route) => gatewayOf(route, family, interfaces))
    return found.slice(0, 1)
  })
}

type Routes = Readonly<Record<4 | 6, readonly DefaultRoute[]>>

async function linuxRoutes(read: ReadFile): Promise<Routes> {
  // Not /proc/net, a link to it, which a system service does not see where it sees no more of /proc than processes.
  const [four, six] = await Promise.all(
    ['/proc/self/net/route', '/proc/self/net/ipv6_route'].map((file) => read(file).catch(() => '')),
  )
  return { 4: parseRoutes(four ?? ''), 6: parseIPv6Routes(six ?? '') }
}

/** Default routes of `/proc/net/route`: hexadecimal, in the machine's own byte order, which is little endian wherever Node runs. */
export function parseRoutes(text: string): DefaultRoute[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', destination, gateway = '', flags = '', , , metric = '', mask] = line.trim().split(/\s+/)
    const isDefault = destination === '00000000' && mask === '00000000'
    const bits = Number.parseInt(flags, 16)
    if (!isDefault || (bits & UP) === 0 || (bits & BY_ROUTER) === 0 || !/^[0-9A-F]{8}$/i.test(gateway)) return []
    const address = [...Buffer.from(gateway, 'hex')].reverse().join('.')
    return [{ interface: name, address, metric: Number(metric) || 0 }]
  })
}

/** Default routes of `/proc/net/ipv6_route`. */
export function parseIPv6Routes(text: string): DefaultRoute[] {
  return text.split('\n').flatMap((line) => {
    const [destination = '', length, , , gateway = '', metric = '', , , flags = '', name = ''] = line
      .trim()
      .split(/\s+/)
    const bits = Number.parseInt(flags, 16)
    if (!/^0{32}$/.test(destination) || length !== '00' || (bits & UP) === 0 || (bits & BY_ROUTER) === 0) return []
    if (!/^[0-9a-f]{32}$/i.test(gateway)) return []
    const address = (gateway.match(/.{4}/g) ?? []).join(':')
    return [{ interface: name, address, metric: Number.parseInt(metric, 16) || 0 }]
  })
}

/** What other systems tell: the IPv4 router alone, whose interface is the one with its network. Not yet tried. */
async function otherRoutes(interfaces: readonly NetworkInterface[]): Promise<Routes> {
  const { networkGatewayDefault } = await import('systeminformation')
  const address = await networkGatewayDefault().catch(() => '')
  const on = interfaces.find(({ addresses }) => addresses.some((own) => sameSubnet(address, own)))
  return { 4: on ? [{ interface: on.name, address, metric: 0 }] : [], 6: [] }
}

function gatewayOf(route: DefaultRoute, family: 4 | 6, interfaces: readonly NetworkInterface[]): Gateway[] {
  const on = interfaces.find(({ name, participating }) => participating && name === route.interface)
  const own = on && ownAddress(on.addresses, route.address, family)
  if (!own) return []
  return [{ family, address: scopedAddress(canonical(route.address), on.name), own, interface: on.name }]
}

/** Which of our addresses the router is asked from, and maps for: over IPv4 one on its network, over IPv6 one that the internet knows. */
function ownAddress(addresses: readonly InterfaceAddress[], router: string, family: 4 | 6): string | undefined {
  const able = addresses.filter((one) => one.family === family && (one.scope === 'global' || one.scope === 'private'))
  const best = family === 4 ? able.find((one) => sameSubnet(router, one)) : able.find(({ scope }) => scope === 'global')
  return (best ?? able[0])?.address
}

/** `fe80:0000:…` as others write it. */
const canonical = (address: string): string =>
  address.includes(':') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address
