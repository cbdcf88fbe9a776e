import { ERRORS, type ErrorCode } from '../errors.ts'
import { sameSubnet } from '../network/addresses.ts'
import type { InterfaceKind, NetworkInterface } from '../network/network.ts'
import type { UnixMilliseconds } from '../types.ts'
import { type Finding, found, type HostFindings, ok, skip } from './findings.ts'
import { clockAhead } from './internet-checks.ts'
import type { Drop } from './packet-filter.ts'
import type { PortHolder } from './port-holders.ts'
import { counted, lanInterfaces, listed, nameOf, openPort, span } from './wording.ts'

/** Before this no clock that is set can stand: 2024-01-01 UTC. */
const EARLIEST_WALL: UnixMilliseconds = Date.UTC(2024, 0, 1)
/** A code that was refused so often, and at least once a minute, is worth a word. */
const MANY_REFUSALS = 50

const KINDS: Readonly<Record<InterfaceKind, string>> = {
  cable: 'cable',
  wifi: 'Wi-Fi',
  vpn: 'VPN',
  container: 'container or virtual machine',
  loopback: 'loopback',
  other: 'unknown kind',
}

export function examineInterfaces({ interfaces, chosen }: HostFindings): Finding {
  const taking = lanInterfaces(interfaces)
  const outside = interfaces.filter((one) => one.kind !== 'loopback' && !taking.includes(one))
  const absent = chosen.include.filter((name) => !interfaces.some((one) => one.name === name))
  const leftOut = outside.map((one) => `${one.name} (${reasonOf(one, chosen)})`)
  const left = leftOut.length > 0 ? ` Left out: ${listed(leftOut)}.` : ''
  if (taking.length === 0)
    return found(
      'network.no-interface',
      `No network interface takes part.${left}`,
      outside.length > 0
        ? 'Plug in a cable or join a Wi-Fi, or choose an interface with `partyline config set network.interfaces NAME`.'
        : undefined,
    )
  const names = taking.map((one) => `${one.name} (${KINDS[one.kind]}, ${one.addresses[0]?.address})`)
  const detail = `${listed(names)} ${taking.length === 1 ? 'takes' : 'take'} part.${left}`
  if (absent.length === 0) return ok(detail)
  return found(
    'network.interface-absent',
    `${detail} The setting network.interfaces also names ${listed(absent)}, which ${absent.length === 1 ? 'is' : 'are'} not there.`,
  )
}

function reasonOf({ name, kind, addresses, participating }: NetworkInterface, chosen: HostFindings['chosen']): string {
  if (chosen.exclude.includes(name)) return 'excluded by the setting network.exclude'
  if (chosen.include.length > 0 && !chosen.include.includes(name)) return 'not named in the setting network.interfaces'
  return participating && addresses.length === 0 ? 'no address' : KINDS[kind]
}

export function examineAddresses({ interfaces }: HostFindings): Finding {
  const taking = lanInterfaces(interfaces)
  if (taking.length === 0) return skip('No interface takes part.')
  const reaching = (one: NetworkInterface, family: 4 | 6): boolean =>
    one.addresses.some((address) => address.family === family && address.scope !== 'link-local')
  const selfMade = taking.filter((one) => !reaching(one, 4) && one.addresses.some(({ family }) => family === 4))
  if (selfMade.length > 0)
    return found(
      'network.self-made-address',
      `${listed(selfMade.map(({ name }) => name))} has only an IPv4 address it gave itself (169.254…): no DHCP server answered. That is fine as long as the others have such addresses as well.`,
    )
  const six = taking.filter((one) => !one.addresses.some(({ family }) => family === 4))
  const note = six.length > 0 ? ` ${listed(six.map(({ name }) => name))} uses IPv6 only, which is enough.` : ''
  return ok(`Every interface that takes part has an address.${note}`)
}

export function examineSubnets({ interfaces }: HostFindings): Finding {
  const taking = lanInterfaces(interfaces)
  if (taking.length < 2) return skip('Fewer than two interfaces take part.')
  for (const [i, one] of taking.entries())
    for (const own of one.addresses.filter(({ scope }) => scope !== 'link-local')) {
      const twin = taking
        .slice(i + 1)
        .find(({ addresses }) => addresses.some(({ address }) => sameSubnet(address, own)))
      if (twin)
        return found(
          'network.same-subnet',
          `${one.name} and ${twin.name} are on the same network (${own.address}/${own.prefix}). That works, but packets may take either.`,
          `Unplug one of them, or leave it out with \`partyline config set network.exclude ${twin.name}\`.`,
        )
    }
  return ok(`${listed(taking.map(({ name }) => name))} are on networks of their own.`)
}

export function examinePort({ port: { asked, actual }, platform, holders }: HostFindings): Finding {
  if (actual === asked) return ok(`Port ${actual} (TCP and UDP) is this host's.`)
  const look = {
    linux: `sudo ss -ltunp 'sport = :${asked}'`,
    darwin: `sudo lsof -nP -i :${asked}`,
    win32: `netstat -abno | findstr :${asked}`,
  }[platform as string]
  return found(
    'port.taken',
    `Port ${asked} is held by ${holderNames(holders?.own ?? [])}, so this host uses ${actual}. Others find it all the same, but firewall rules and hints for ${asked} do not fit.`,
    `${look ? `Find that program with \`${look}\`, stop it` : 'Stop that program'} and start Partyline again, or open port ${actual} in the firewall instead.`,
  )
}

/** Programs that hold a port, this one aside. */
function holderNames(holders: readonly PortHolder[]): string {
  const others = holders.filter(({ pid }) => pid !== process.pid)
  const names = others.flatMap(({ name, pid }) => (pid === undefined ? [] : [`${name} (process ${pid})`]))
  return listed([...new Set(names)]) || 'another program'
}

/** Several programs may share the port of mDNS; one that does not lets nobody else hear. */
export function examineMdnsPort({ holders, discovery }: HostFindings): Finding {
  const isDeaf = discovery.some(
    ({ method, state, detail }) => method === 'mdns' && state === 'failed' && /EADDRINUSE/.test(detail),
  )
  const others = holders?.mdns.filter(({ pid }) => pid !== process.pid) ?? []
  if (isDeaf)
    return found('port.mdns-taken', `UDP port 5353 is held by ${holderNames(others)}, which does not share it.`)
  if (!holders) return skip('This system does not tell who holds a port.')
  if (others.length === 0) return ok('No other program uses UDP port 5353.')
  return ok(`UDP port 5353 is shared with ${holderNames(others)}.`)
}

export function examineMulticast({ multicast, platform, firewall, port }: HostFindings): Finding {
  if (multicast.length === 0) return skip('No interface that takes part can send multicast.')
  const deaf = multicast.filter(({ heard }) => !heard)
  if (deaf.length === 0)
    return ok(`This host hears its own multicast on ${listed([...new Set(multicast.map((one) => one.interface))])}.`)
  const lines = deaf.map((one) => `${one.interface} (IPv${one.family}${one.problem ? `, ${one.problem}` : ''})`)
  const works = new Set(multicast.filter(({ heard }) => heard).map((one) => one.interface))
  const isLost = deaf.some((one) => !works.has(one.interface))
  const refused = deaf.some(({ problem }) => problem === 'EPERM' || problem === 'EACCES')
  return found(
    isLost ? 'multicast.deaf' : 'multicast.half-deaf',
    `This host does not hear its own multicast on ${listed(lines)}: ${refused ? 'its own firewall forbids to send it' : 'its own firewall, or a missing route, holds it back'}.`,
    `Let multicast (UDP 5353 to 224.0.0.251 and ff02::fb) through this machine's firewall: ${openPort(port.actual, { platform, firewall })}.`,
  )
}

export function examineFirewall({ firewall, drops, people, sessions, platform, port }: HostFindings): Finding {
  if (drops?.length) return concludeDrops(drops, { firewall, port })
  if (!firewall)
    return skip(
      platform === 'linux'
        ? `Neither ufw nor firewalld is switched on${drops ? ', and nftables drops nothing that is for us' : ''}.`
        : 'This system does not tell about its firewall.',
    )
  const name = `The firewall of this machine (${firewall}) is switched on`
  const dialler = sessions.find(({ dialled }) => !dialled)
  if (dialler) return ok(`${name}, and lets others in: ${dialler.name} dialled this host.`)
  const seen = people.find(({ sightings }) => sightings.some(({ method }) => method !== 'hub' && method !== 'hint'))
  if (seen) return ok(`${name}, and lets discovery in: ${nameOf(seen)} is seen.`)
  return found(
    'firewall.unproven',
    `${name}, and nobody was heard or came through it.`,
    `Open this host's ports: ${openPort(port.actual, { firewall })}.`,
  )
}

/** nftables tells for certain; the commands name the very chains that drop, before their rules. */
function concludeDrops(drops: readonly Drop[], { firewall, port }: Pick<HostFindings, 'firewall' | 'port'>): Finding {
  const ports = listed([...new Set(drops.map((one) => `${one.transport.toUpperCase()} ${one.port}`))])
  const [{ family = '', table = '', chain = '' } = {}] = drops
  const detail = `The packet filter of this machine drops what others send to ${ports} (nftables: table ${family} ${table}, chain ${chain}).`
  if (firewall)
    return found('firewall.drops', detail, `Open this host's ports: ${openPort(port.actual, { firewall })}.`)
  const commands = (['tcp', 'udp'] as const).flatMap((transport) => {
    const those = drops.filter((one) => one.transport === transport)
    const [first] = those
    if (!first || ![first.family, first.table, first.chain].every((name) => /^[\w-]+$/.test(name))) return []
    const list = [...new Set(those.map((one) => one.port))].join(', ')
    return [
      `\`sudo nft insert rule ${first.family} ${first.table} ${first.chain} ${transport} dport '{ ${list} }' accept\``,
    ]
  })
  return found('firewall.drops', detail, commands.length > 0 ? `Run ${commands.join(' and ')}.` : undefined)
}

export function examineClock({ wall, accounts }: HostFindings): Finding {
  const off = clockAhead(accounts)
  if (off) {
    const by = span(Math.abs(off.ahead))
    return found(
      'clock.wrong',
      `The clock is ${by} ${off.ahead > 0 ? 'ahead' : 'behind'}, by the word of the server of ${off.jid}.`,
    )
  }
  const day = new Date(wall).toISOString().slice(0, 10)
  if (wall >= EARLIEST_WALL) return ok(`The clock says ${day}.`)
  return found(
    'clock.unset',
    `The clock says ${day}, so it was never set. Partyline does not mind, but times in chats and logs are wrong.`,
  )
}

export function examineRefusals({ refused, uptime }: HostFindings): Finding {
  const many = Object.entries(refused)
    .map(([code, count]) => ({ code: code as ErrorCode, count }))
    .filter(({ count }) => count >= MANY_REFUSALS && count >= uptime / 60_000)
    .sort((a, b) => b.count - a.count)
  const [top] = many
  if (!top) return ok('Nothing is refused in numbers that matter.')
  const lines = many.slice(0, 3).map(({ code, count }) => `${code} (${count} times: ${plain(ERRORS[code].meaning)})`)
  return found(
    'refusals.many',
    `Much is refused: ${listed(lines)}, in ${counted(Math.ceil(uptime / 60_000), 'minute')}.`,
    ERRORS[top.code].hint,
  )
}

/** A sentence as part of another. */
const plain = (sentence: string): string => sentence.replace(/\.$/, '')
