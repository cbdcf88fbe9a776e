import type { Dependence, NatBehaviour } from '../nat/stun/behaviour.ts'
import { formatHostPort } from '../network/network.ts'
import type { FindingCode } from './finding-codes.ts'
import { type Finding, found, type HostFindings, ok, type PeerFindings, skip } from './findings.ts'
import { hasWayOut } from './internet-checks.ts'
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
export function examineServers({ internet, wayOut }: HostFindings): Finding | Finding[] {
  const { servers } = internet
  if (servers.length === 0) return skip(`${UNSET} ${HOW}`)
  if (!hasWayOut({ wayOut }) && servers.every(({ address }) => address === ''))
    return skip('No route leads to the internet, so no server is reached.')
  const problems = servers.flatMap((server) => {
    const code = problemOf(server)
    return code ? [{ code, told: toldOf(server) }] : []
  })
  if (problems.length === 0) return ok(`${listed(servers.map(toldOf))}.`)
  const codes = [...new Set(problems.map(({ code }) => code))]
  const findings = codes.map((code) => {
    const those = problems.filter((one) => one.code === code).map(({ told }) => told)
    return found(code, `${counted(those.length, 'server')} of ${servers.length} cannot be used: ${listed(those)}.`)
  })
  if (problems.length < servers.length) return findings
  return [found('nat.no-server', `None of ${counted(servers.length, 'server')} can be used.`), ...findings]
}

type Server = HostFindings['internet']['servers'][number]

/** What is wrong with a server; undefined where nothing is. The examination waited for an answer, so one that is still tried is silent. */
function problemOf({ kind, state, detail }: Server): FindingCode | undefined {
  if (state === 'unresolved' || NO_ADDRESS.test(detail)) return 'nat.server-unknown'
  if (kind === 'stun') return state === 'silent' || state === 'refused' ? 'stun.silent' : undefined
  if (state !== 'resting' && state !== 'trying') return undefined
  if (WRONG_LOGIN.test(detail)) return 'turn.wrong-password'
  return REFUSED.test(detail) ? 'turn.refused' : 'turn.unreachable'
}

/** Why a TURN server rests is told in words alone (`daemon/nat/turn`). */
const WRONG_LOGIN = /does not accept the user name or the password/
/** The number of an error of TURN (RFC 8656 section 19). */
const REFUSED = /\(\d{3}[ )]/
const NO_ADDRESS = /^the name .* has no address/

function toldOf({ kind, server, state, address, rtt, detail }: Server): string {
  if (address === '') return `${kind} ${server}: ${state}${detail ? ` (${detail})` : ''}`
  return `${kind} ${server}: ${address}${rtt === null ? '' : ` in ${Math.round(rtt)} ms`}`
}

/** What kind of NAT there is, and what that means. */
export function examineNat(findings: HostFindings): Finding {
  const { internet, nat, wayOut } = findings
  if (!internet.servers.some(({ kind }) => kind === 'stun')) return skip(UNSET)
  if (!hasWayOut({ wayOut }) && !nat?.udp) return skip('No route leads to the internet.')
  if (!nat) return skip('No STUN server could be asked.')
  if (!nat.udp) {
    if (internet.servers.some(({ kind, state }) => kind === 'stun' && state === 'known'))
      return skip('The STUN server that could tell does not answer; another one does, so UDP passes.')
    if (!passesTcp(findings)) return skip('No STUN server answers, so nothing can be told of a NAT.')
    return found('nat.udp-blocked', 'TCP to the internet works, and UDP does not come back: a firewall stops it.')
  }
  const seen = nat.mapped ? ` Seen from outside as ${formatHostPort(nat.mapped)}.` : ''
  if (nat.mapping === 'none') return ok(`There is no NAT before this host; ${filteringWords(nat)}.${seen}`)
  const hairpin = nat.hairpin === true ? ' Hosts behind the same router reach each other by its outer address too.' : ''
  const kind = `${mappingWords(nat.mapping)}, and ${filteringWords(nat)}.${seen}${hairpin}`
  if (nat.mapping === 'address-dependent' || nat.mapping === 'address-and-port-dependent')
    return found('nat.symmetric', `The router is a symmetric NAT: ${kind}`)
  return ok(`Paths through this NAT can be found: ${kind}`)
}

/** Where nothing answers by UDP and something does by TCP, it is not the servers that are dead. */
function passesTcp({ internet, accounts, stunTcp }: HostFindings): boolean {
  const isOpenStream = ({ server, state }: Server): boolean =>
    state === 'open' && (server.startsWith('turns:') || /transport=tcp/.test(server))
  return stunTcp === 'open' || internet.servers.some(isOpenStream) || accounts.some(({ state }) => state === 'online')
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
