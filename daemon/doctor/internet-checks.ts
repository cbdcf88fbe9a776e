import type { AccountHealth } from '../accounts/accounts.ts'
import { plainAddress, scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Milliseconds } from '../types.ts'
import type { FindingCode } from './finding-codes.ts'
import { type Finding, found, type HostFindings, ok, skip, type WayOut } from './findings.ts'
import { counted, lanInterfaces, listed } from './wording.ts'

/** A server's clock is trusted to that much; what is less hurts nobody. */
const WRONG: Milliseconds = 300_000

export const hasWayOut = ({ wayOut }: Pick<HostFindings, 'wayOut'>): boolean =>
  wayOut[4] !== undefined || wayOut[6] !== undefined

function ownerOf(wayOut: WayOut, family: 4 | 6, interfaces: readonly NetworkInterface[]): NetworkInterface | undefined {
  const address = wayOut[family]
  const plain = address && plainAddress(address)
  return plain ? interfaces.find(({ addresses }) => addresses.some((own) => own.address === plain)) : undefined
}

/** Over what packets to the internet leave: a VPN that takes them all changes who this host is to others. */
export function examineWayOut({ wayOut, interfaces }: HostFindings): Finding {
  if (!hasWayOut({ wayOut })) return skip('No route leads to the internet; hosts on this LAN need none.')
  const owners = [...new Set(([4, 6] as const).flatMap((family) => ownerOf(wayOut, family, interfaces) ?? []))]
  const names = listed(owners.map(({ name }) => name))
  const taking = lanInterfaces(interfaces)
  const vpn = owners.find(({ kind }) => kind === 'vpn')
  if (vpn && !vpn.participating)
    return found(
      'vpn.default-route',
      `The VPN ${vpn.name} takes what goes to the internet${taking.length > 0 ? `, past ${listed(taking.map(({ name }) => name))}` : ''}: others see its address, no port of it can be mapped, and STUN tells of its NAT. Hosts on this LAN are reached as before.`,
      `Switch off the VPN or have it leave out the internet (split tunnel), or let it take part with \`partyline config set network.interfaces ${[...taking, vpn].map(({ name }) => name).join(',')}\`.`,
    )
  const outside = owners.filter((one) => !taking.includes(one))
  if (outside.length > 0 && outside.length === owners.length)
    return found(
      'network.way-out-unused',
      `What goes to the internet leaves by ${names}, which ${outside.length === 1 ? 'does' : 'do'} not take part.`,
    )
  return ok(names === '' ? 'A route leads to the internet.' : `What goes to the internet leaves by ${names}.`)
}

export function examineIPv6({ interfaces, wayOut }: HostFindings): Finding {
  const six = lanInterfaces(interfaces).flatMap((one) =>
    one.addresses.filter(({ family }) => family === 6).map(({ scope }) => ({ name: one.name, scope })),
  )
  if (six.length === 0) return skip('No interface that takes part has IPv6; IPv4 is enough.')
  const names = (scope: string): string =>
    listed([...new Set(six.filter((one) => one.scope === scope).map(({ name }) => name))])
  const global = names('global')
  if (global === '')
    return ok(
      `IPv6 works on the LAN: ${listed([...new Set(six.map(({ name }) => name))])} has no address of the internet.`,
    )
  if (wayOut[6] === undefined)
    return found('ipv6.no-route', `${global} has an IPv6 address of the internet, and no route leads there.`)
  return ok(`${global} has an IPv6 address of the internet, and a route leads there: no NAT is in the way.`)
}

/** What the routers that were asked to forward our port say. */
export function examineMapping({ internet, nat }: HostFindings): Finding {
  const mappings = internet.mappings.filter(({ state }) => state !== 'asking')
  if (internet.mappings.length === 0)
    return skip('No router is asked to forward a port: there is none, none is needed, or `nat.map` is off.')
  if (mappings.length === 0) return skip('The router was asked to forward a port, and has not answered yet.')
  const mapped = mappings.filter(({ state }) => state === 'mapped')
  const told = mapped.map(({ transport, protocol, address }) => `${transport.toUpperCase()} ${address} (${protocol})`)
  const inner = mappings.find(({ doubleNat }) => doubleNat)
  const seen = nat?.mapping === 'none' ? undefined : nat?.mapped?.address
  const other = mapped.find(({ address }) => seen !== undefined && !seen.includes(':') && isOtherIPv4(address, seen))
  if (inner || other) {
    const outer = (inner ?? other)?.address
    const why = inner
      ? `the router ${inner.gateway} has a private address itself${outer ? ` (${outer})` : ''}`
      : `the router says ${outer}, and from outside this host is seen as ${seen}`
    return found(
      'nat.double',
      `There are two NATs, one behind the other: ${why}. A port that it forwards is not reached from the internet.`,
    )
  }
  if (mapped.length > 0) return ok(`The router forwards ${listed(told)}.`)
  const why = [...new Set(mappings.map(({ gateway, detail }) => `${gateway}: ${detail}`))]
  return found('mapping.failed', `No router forwards a port to this host: ${listed(why)}.`)
}

function isOtherIPv4(hostPort: string, seen: string): boolean {
  const address = hostPort.replace(/:\d+$/, '')
  return !address.includes(':') && address !== seen
}

const ACCOUNT_CODES: Readonly<Record<string, FindingCode>> = {
  'peer.not-authorized': 'account.wrong-password',
  'peer.bad-certificate': 'account.bad-certificate',
}

/** Every account, and whether its server is there. */
export function examineAccounts({ accounts, wayOut }: HostFindings): Finding | Finding[] {
  if (accounts.length === 0) return skip('There is no XMPP account; hosts on this LAN need none.')
  const problems = accounts.flatMap((account): Finding[] => {
    const { jid, state, detail, failure, server, roundTrip } = account
    if (state === 'online' && roundTrip !== undefined) return []
    if (state === 'online')
      return [found('account.unreachable', `${jid} is logged in at ${server}, and the server answers nothing.`)]
    if (failure === undefined) return []
    if (failure !== 'peer.not-authorized' && !hasWayOut({ wayOut })) return []
    return [
      found(ACCOUNT_CODES[failure] ?? 'account.unreachable', `${jid} is not logged in: ${detail}.`, fixOf(account)),
    ]
  })
  if (problems.length > 0) return problems
  const online = accounts.filter(({ state }) => state === 'online')
  const told = online.map(
    ({ jid, server, roundTrip = 0 }) => `${jid} at ${server}, round trip ${Math.round(roundTrip)} ms`,
  )
  const rest = accounts.length - online.length
  const waiting =
    rest > 0
      ? `${counted(rest, 'account')} not logged in${hasWayOut({ wayOut }) ? ' yet' : ': no route leads to the internet'}.`
      : ''
  if (online.length === 0) return skip(waiting)
  return ok(`Logged in: ${listed(told)}.${waiting && ` ${waiting}`}`)
}

function fixOf({ jid, failure }: AccountHealth): string | undefined {
  if (failure === 'peer.not-authorized')
    return `Give the right password with \`partyline account add ${jid}\`, or forget it with \`partyline account remove ${jid}\`.`
  return undefined
}

/** The clock, by what servers of accounts say: their certificates were checked. */
export function clockAhead(accounts: readonly AccountHealth[]): { jid: string; ahead: Milliseconds } | undefined {
  const told = accounts.flatMap(({ jid, ahead }) => (ahead === undefined ? [] : [{ jid, ahead }]))
  // One server whose clock is right is enough.
  return told.every(({ ahead }) => Math.abs(ahead) >= WRONG) ? told[0] : undefined
}

export function examineRelay({ relay }: HostFindings): Finding {
  const { running, isWanted, friends, listeners, addresses, allocations } = relay
  const usage = `${counted(allocations, 'relayed address', 'relayed addresses')} in use`
  if (isWanted && !running) return found('relay.not-running', 'The setting relay.enabled wants a relay, and none runs.')
  if (!running)
    return friends && allocations > 0
      ? ok(`This host relays for trusted peers: ${usage}.`)
      : skip('This host is no relay of its own.')
  const ports = listed(listeners.map(({ transport, port }) => `${transport.toUpperCase()} ${port}`))
  if (addresses.every((address) => scopeOf(plainHost(address)) !== 'global'))
    return found(
      'relay.private-only',
      `This host is a relay at ${ports}, and has no address of the internet (${listed(addresses) || 'none at all'}): only hosts on its own network can use it.`,
    )
  return ok(`This host is a relay at ${ports}, reached at ${listed(addresses)}: ${usage}.`)
}

const plainHost = (address: string): string => address.replace(/^\[(.*)\]$/, '$1')

/** What the policy stops, and who waits for the owner. */
export function examinePolicy({ policy, requests, wayOut, interfaces }: HostFindings): Finding | Finding[] {
  const rule = (key: string): string => policy.rules.find((one) => one.key === key)?.value ?? ''
  const findings: Finding[] = []
  if (requests.length > 0)
    findings.push(
      found('policy.request-waiting', `${listed(requests)} ${requests.length === 1 ? 'asks' : 'ask'} to be let in.`),
    )
  const outside = ([4, 6] as const).map((family) => ownerOf(wayOut, family, interfaces)?.name)
  if (policy.metered.length > 0 && rule('policy.on-metered') !== 'all') {
    const what =
      rule('policy.on-metered') === 'nothing' ? 'nothing goes over it' : 'files, streams and relaying do not go over it'
    const isOut = policy.metered.some((name) => outside.includes(name))
    findings.push(
      found(
        'policy.metered',
        `${listed(policy.metered)} ${policy.metered.length === 1 ? 'is' : 'are'} metered${isOut ? ' and leads to the internet' : ''}: ${what}.`,
      ),
    )
  }
  if (findings.length > 0) return findings
  const lan = rule('policy.lan')
  const internet = rule('policy.internet')
  return ok(
    `Who may open a session: ${WHO[lan] ?? lan} from this network, ${WHO[internet] ?? internet} from elsewhere.`,
  )
}

const WHO: Readonly<Record<string, string>> = {
  open: 'anybody',
  ask: 'whom you let in when asked',
  trusted: 'trusted peers',
}
