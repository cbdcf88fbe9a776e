import type { PeerView } from '../../ipc/methods.ts'
import { interfaceOf } from '../network/addresses.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import type { DiscoveryName } from '../types.ts'
import { type Finding, found, type HostFindings, ok, skip } from './findings.ts'
import { counted, lanInterfaces, listed, nameOf, openPort } from './wording.ts'

/** How one method fares, over all interfaces. */
export const examineMethod =
  (method: DiscoveryName, setting: string) =>
  ({ discovery }: HostFindings): Finding => {
    const states = discovery.filter((one) => one.method === method)
    if (states.length === 0) return skip('It runs on no interface.')
    if (states.every(({ state }) => state === 'off')) return skip(`It is switched off by the setting ${setting}.`)
    const lines = states.map((one) => `${one.interface || 'this host'}: ${one.detail || one.state}`)
    if (!states.some(({ state }) => state === 'failed')) return ok(`${listed(lines)}.`)
    const failed = states.filter(({ state }) => state === 'failed').map((one) => one.interface || 'this host')
    return found(
      states.some(({ state }) => state === 'active') ? 'discovery.partly-failed' : 'discovery.failed',
      `It fails on ${listed(failed)}. ${listed(lines)}.`,
      `Check that ${listed(failed)} has an address and that no other program holds the port for itself, or switch it off with \`partyline config set ${setting} false\`.`,
    )
  }

export function examinePeople({ people, interfaces, platform, firewall, port }: HostFindings): Finding {
  const present = people.filter(({ state }) => state !== 'away')
  const hosts = present.filter(({ kind }) => kind === 'host').length
  const clients = present.length - hosts
  if (present.length > 0) {
    const kinds = [
      ...(hosts > 0 ? [counted(hosts, 'host')] : []),
      ...(clients > 0 ? [counted(clients, 'plain XMPP client')] : []),
    ]
    return ok(`${listed(kinds)} ${present.length === 1 ? 'is' : 'are'} there.`)
  }
  if (lanInterfaces(interfaces).length === 0) return skip('No network interface takes part.')
  const isWifi = lanInterfaces(interfaces).some(({ kind }) => kind === 'wifi')
  const reasons = [
    'Partyline does not run on the other machines',
    `they are on another network${isWifi ? ', or this is a guest Wi-Fi that keeps its clients apart' : ''}`,
    "a firewall here or there stops discovery (on Windows, a network whose profile is 'Public')",
    'the access point or switch filters multicast',
  ]
  return found(
    'lan.nobody',
    `Nobody else is seen. The usual reasons, the most frequent first: ${reasons.join('; ')}.`,
    `Start \`partyline daemon\` on the other machine and see that both are on one network, then on each ${openPort(port.actual, { platform, firewall })}, or name the other's address with \`partyline config set discovery.hints ADDRESS\`.`,
  )
}

/** Whether what is sent to all arrives: who is seen on which interface by which method tells. */
export function examineFiltering(findings: HostFindings): Finding {
  const lans = lanInterfaces(findings.interfaces)
  const audiences = lans.map((lan) => audienceOf(lan, findings))
  const isFiltered = ({ lan, heard, told, unheard }: Audience): boolean =>
    heard.length === 0 && (unheard || (told.length > 0 && isAsked(lan, findings)))
  const filtered = audiences.filter(isFiltered)
  if (filtered.length > 0) {
    const names = filtered.flatMap(({ told }) => told.map(nameOf))
    return found(
      'multicast.filtered',
      `Multicast does not pass on ${listed(filtered.map(({ lan }) => lan.name))}: ${listed(names)} ${names.length === 1 ? 'is' : 'are'} there and known only by a hub or a hint, or answered only when asked. The access point or switch filters multicast.`,
    )
  }
  const beaconOnly = audiences.filter(
    ({ heard, lan }) => heard.length > 0 && !heard.some(byMdns) && isAsked(lan, findings),
  )
  if (beaconOnly.length > 0)
    return found(
      'multicast.mdns-filtered',
      `On ${listed(beaconOnly.map(({ lan }) => lan.name))} others are heard by broadcast beacons and none by mDNS: either mDNS is switched off there, or the network filters multicast. Partyline works; plain XMPP clients will not see each other.`,
    )
  const heard = audiences.filter((one) => one.heard.length > 0)
  if (heard.length === 0) return skip('Nobody is there by whom it could be told.')
  return ok(`Others are heard on ${listed(heard.map(({ lan }) => lan.name))}.`)
}

interface Audience {
  readonly lan: NetworkInterface
  /** Whose announcements arrive. */
  readonly heard: readonly PeerView[]
  /** Whom a hub or hint told of, and at most a beacon besides: it may have answered because it was asked. */
  readonly told: readonly PeerView[]
  /** True when one of those told of is not heard by beacon either. */
  readonly unheard: boolean
}

function audienceOf(lan: NetworkInterface, { people, interfaces }: HostFindings): Audience {
  const heard: PeerView[] = []
  const told: PeerView[] = []
  let unheard = false
  for (const one of people) {
    const methods = new Set<string>()
    for (const { method, interface: on, address } of one.sightings)
      if ((on || interfaceOf(address, interfaces)?.name) === lan.name) methods.add(method)
    const isTold = methods.has('hub') || methods.has('hint')
    if (methods.has('mdns') || methods.has('xmpp') || (methods.has('beacon') && !isTold)) heard.push(one)
    else if (isTold && one.kind === 'host') {
      told.push(one)
      unheard ||= !methods.has('beacon')
    }
  }
  return { lan, heard, told, unheard }
}

const byMdns = ({ sightings }: PeerView): boolean =>
  sightings.some(({ method }) => method === 'mdns' || method === 'xmpp')

const isAsked = ({ name }: NetworkInterface, { discovery }: HostFindings): boolean =>
  discovery.some((one) => one.method === 'mdns' && one.interface === name && one.state === 'active')

export function examineIdentity({ twins }: HostFindings): Finding {
  if (!twins) return skip('Nobody looks out for another host with the same identity.')
  if (twins.length === 0) return ok('No other host uses the identity of this one.')
  return found(
    'identity.twin',
    `Another host announces the identity of this one, at ${listed(twins.map(formatHostPort))}: its key was copied there (a cloned disk or a restored backup). Peers reach now one, now the other.`,
  )
}

export function examineHubs({ hub }: HostFindings): Finding {
  const own = hub.running ? [`This host is the hub ${hub.name}, with ${counted(hub.people.length, 'log-in')}.`] : []
  const joined = hub.hubs.filter(({ state }) => state === 'joined').map(({ name, address }) => name || address)
  const joining = hub.hubs.filter(({ state }) => state === 'joining').map(({ name, address }) => name || address)
  const failed = hub.hubs.filter(({ state }) => state === 'failed')
  const lines = [
    ...own,
    ...(joined.length > 0 ? [`Joined: ${listed(joined)}.`] : []),
    ...(joining.length > 0 ? [`Being joined: ${listed(joining)}.`] : []),
  ]
  if (failed.length > 0) {
    const why = failed.map(({ name, address, detail }) => `${name || address}${detail ? ` (${detail})` : ''}`)
    return found('hub.not-joined', [...lines, `Not joined: ${listed(why)}.`].join(' '))
  }
  if (lines.length === 0) return skip('No hub is joined; none is needed where multicast passes.')
  return ok(lines.join(' '))
}
