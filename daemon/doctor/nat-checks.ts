import type { Dependence, NatBehaviour } from '../nat/stun/behaviour.ts'
import { formatHostPort } from '../network/network.ts'
import { type Finding, found, type HostFindings, ok, type PeerFindings, skip } from './findings.ts'
import { counted, listed } from './wording.ts'

/** What was tried to reach a peer beside its known addresses. */
export function examinePaths({ paths, session }: PeerFindings): Finding {
  if (paths.length === 0) return skip('None was looked for: that is done where known addresses do not answer.')
  const used = paths.find((path) => path.used)
  const tried = paths.map(({ to, via, reason }) => `${to}${via ? ` through ${via}` : ''} (${reason})`)
  if (used) return ok(`${counted(paths.length, 'path')} tried; ${listed(tried)}.`)
  const detail = `No path works: ${listed(tried)}.`
  if (session) return skip(`The session goes another way. ${detail}`)
  return found('peer.no-path', detail)
}

const UNSET =
  'No STUN or TURN server is set, so none is asked: hosts on this LAN need none, others are not reached through NAT.'
const HOW = 'To be reached from other networks, set one with `partyline config set nat.stun HOST:PORT`.'

/** Every STUN and TURN server that is set, and what it says. */
export function examineServers({ internet }: HostFindings): Finding {
  const { servers } = internet
  if (servers.length === 0) return skip(`${UNSET} ${HOW}`)
  const silent = servers.filter(
    ({ state }) => state === 'silent' || state === 'refused' || state === 'resting' || state === 'unresolved',
  )
  const told = servers.map(({ kind, server, state, address, detail }) =>
    address ? `${kind} ${server}: ${address}` : `${kind} ${server}: ${state}${detail ? ` (${detail})` : ''}`,
  )
  const detail = `${listed(told)}.`
  if (silent.length === 0) return ok(detail)
  const all = silent.length === servers.length
  return found(
    all ? 'nat.no-server' : 'nat.server-unusable',
    `${counted(silent.length, 'server')} of ${servers.length} cannot be used. ${detail}`,
  )
}

/** What kind of NAT there is, and what that means. */
export function examineNat({ internet, nat }: HostFindings): Finding {
  if (!internet.servers.some(({ kind }) => kind === 'stun')) return skip(UNSET)
  if (!nat) return skip('No STUN server could be asked.')
  if (!nat.udp)
    return found(
      'nat.udp-blocked',
      'UDP to the internet does not come back: a firewall stops it, or the STUN server is not there.',
    )
  const seen = nat.mapped ? ` Seen from outside as ${formatHostPort(nat.mapped)}.` : ''
  if (nat.mapping === 'none') return ok(`There is no NAT before this host; ${filteringWords(nat)}.${seen}`)
  const hairpin = nat.hairpin === true ? ' Hosts behind the same router reach each other by its outer address too.' : ''
  const kind = `${mappingWords(nat.mapping)}, and ${filteringWords(nat)}.${seen}${hairpin}`
  if (nat.mapping === 'address-dependent' || nat.mapping === 'address-and-port-dependent')
    return found('nat.symmetric', `The router is a symmetric NAT: ${kind}`)
  return ok(`Paths through this NAT can be found: ${kind}`)
}

function mappingWords(mapping: Dependence): string {
  if (mapping === 'endpoint-independent') return 'it gives one port for all destinations'
  if (mapping === 'address-dependent') return 'it gives every address another port'
  if (mapping === 'address-and-port-dependent') return 'it gives every address and port another port'
  return 'how it gives ports is not known, since the server has only one address'
}

function filteringWords({ filtering }: NatBehaviour): string {
  if (filtering === 'endpoint-independent') return 'anybody is let in'
  if (filtering === 'address-dependent') return 'only addresses that were sent to are let in'
  if (filtering === 'address-and-port-dependent') return 'only addresses and ports that were sent to are let in'
  return 'whom it lets in is not known'
}
