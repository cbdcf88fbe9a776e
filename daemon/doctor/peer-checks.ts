import type { DoctorCheck } from '../../ipc/methods.ts'
import { formatHostPort } from '../network/network.ts'
import { type AddressFinding, type Finding, found, ok, type PeerFindings, skip } from './findings.ts'
import { ago, counted, lanInterfaces, listed, nameOf, shortId } from './wording.ts'

export function examineKnown({ peer, lastSeen, wall, hub }: PeerFindings): Finding {
  const name = nameOf(peer)
  if (peer.sightings.length === 0) {
    if (peer.state === 'connected') return ok(`${name} is connected, and no discovery method sees it now.`)
    const last = lastSeen === undefined ? 'it was never seen here' : `it was last seen ${ago(wall - lastSeen)}`
    return found('peer.unseen', `No discovery method sees ${name} now; ${last}.`)
  }
  const age = Math.min(...peer.sightings.map((sighting) => sighting.age))
  const methods = [...new Set(peer.sightings.map(({ method }) => method))]
  const through = peer.sightings.some(({ method }) => method === 'hub') ? hubsOf({ peer, hub }) : []
  const hubs = through.length > 0 ? ` The hub: ${listed(through)}.` : ''
  return ok(`${name} is seen by ${listed(methods)}, last ${ago(age)}.${hubs}`)
}

/** The hubs through which somebody is seen, by name where it is known. */
export function hubsOf({ peer, hub }: Pick<PeerFindings, 'peer' | 'hub'>): string[] {
  const names = peer.sightings
    .filter(({ method }) => method === 'hub')
    .map(({ address }) => hub.hubs.find((one) => one.address === address)?.name)
  const among = hub.hubs.filter(({ people }) => people.some(({ jid }) => jid.startsWith(`${peer.id}@`)))
  const own = hub.running && hub.people.some(({ jid }) => jid.startsWith(`${peer.id}@`)) ? [hub.name] : []
  return [
    ...new Set(
      [...names, ...among.map(({ name }) => name), ...own].filter((name) => name !== undefined && name !== ''),
    ),
  ] as string[]
}

export function examineSession({ peer, session, resuming }: PeerFindings): Finding {
  if (peer.kind === 'chat') return skip('A plain XMPP client has no session: it can chat, and nothing else.')
  if (session) {
    const rtt = session.rtt === null ? '' : `, round trip ${session.rtt.toFixed(1)} ms`
    return ok(
      `A session is open: route ${session.route} by ${session.carrier}, from ${session.local} to ${session.remote}${rtt}.`,
    )
  }
  if (resuming)
    return found(
      'peer.link-lost',
      `The link to ${resuming.remote} (route ${resuming.route}) is lost; another one is looked for, and what is sent waits.`,
    )
  if (peer.trust === 'blocked') return skip('Blocked peers get no session.')
  if (peer.note !== '') return found('peer.obstacle', peer.note)
  return skip('No session is open; one is opened when it is needed.')
}

/** How the peer says that it may be reached from anywhere, and what carries signals to it now. */
export function examineWays({ peer, ways, signallers, session, interfaces, addresses }: PeerFindings): Finding {
  if (peer.kind === 'chat') return skip('A plain XMPP client has none.')
  const known = [
    ...ways.accounts.map((account) => `account ${account}`),
    ...ways.hubs.map((hub) => `hub ${hub.startsWith('partyline:') ? '(by ticket)' : hub}`),
    ...ways.addresses.map((address) => `address ${formatHostPort(address)}`),
  ]
  const carriers = signallers.length > 0 ? ` Signals go by ${listed(signallers)}.` : ''
  if (known.length === 0 && signallers.length === 0)
    return skip('It has told of none, and nothing carries signals to it.')
  const told = known.length > 0 ? `It may be reached by ${listed(known)}.` : 'It has told of none.'
  const isNear = addresses.some((one) => one.interface !== undefined) && lanInterfaces(interfaces).length > 0
  if (signallers.length === 0 && !session && !isNear)
    return found(
      'peer.no-signaller',
      `${told} Nothing of this host carries signals there now, so no path through NAT can be agreed on.`,
    )
  return ok(told + carriers)
}

/** What the policy here says of the peer. */
export function examineAdmission({ peer, policy, session }: PeerFindings): Finding | Finding[] {
  if (!policy || peer.trust === 'blocked') return skip('It gets nothing from here.')
  const rule = (key: string): string => policy.rules.find((one) => one.key === key)?.value ?? ''
  const name = nameOf(peer)
  const isNear = peer.sightings.some(({ interface: on }) => on !== '')
  const decision = rule(isNear ? 'open (lan)' : 'open (internet)')
  const findings: Finding[] = []
  if (decision !== 'admit' && !session) {
    const who = decision === 'ask' ? 'you are asked first' : 'it is refused'
    findings.push(
      found(
        'peer.not-admitted',
        `${name} may not open a session from ${isNear ? 'this network' : 'elsewhere'}: ${who}. One that this host opens is not concerned.`,
        `Let it in with \`partyline trust ${shortId(peer.id)}\`, or \`partyline policy set ${shortId(peer.id)} open open\`.`,
      ),
    )
  }
  if (rule('share') === 'none')
    findings.push(
      found(
        'peer.told-nothing',
        `${name} learns none of our addresses, so no path through NAT is looked for.`,
        `Let it learn them with \`partyline policy set ${shortId(peer.id)} share all\`, or see \`partyline policy ${shortId(peer.id)}\`.`,
      ),
    )
  if (findings.length > 0) return findings
  return ok(`${name} may open a session, and learns ${SHARES[rule('share')] ?? rule('share')}.`)
}

const SHARES: Readonly<Record<string, string>> = {
  all: 'all our addresses',
  public: 'our public addresses',
  relay: 'the addresses of our relays only',
}

/** Seen, but not reached, is a verdict of its own: what announces it passes, and what dials it does not. */
export function examineReach({ peer, addresses, session, paths }: PeerFindings): Finding {
  if (peer.kind === 'chat' || peer.trust === 'blocked') return skip('No session is had with it.')
  const name = nameOf(peer)
  if (session) return ok(`${name} is reached.`)
  const proven = addresses.find(({ tls }) => tls === peer.id)
  if (proven) return ok(`${name} is reached at ${formatHostPort(proven.target)}.`)
  if (paths.some(({ used }) => used)) return ok(`${name} is reached through NAT.`)
  if (peer.sightings.length === 0) return skip(`${name} is not seen.`)
  const methods = listed([...new Set(peer.sightings.map(({ method }) => method))])
  const tried = addresses.map(({ target, tcp }) => `${formatHostPort(target)} (${ANSWERS[tcp]})`)
  const asked =
    tried.length > 0 ? `nothing at its addresses proves to be it: ${listed(tried)}` : 'it has told no address'
  return found('peer.seen-unreachable', `${name} is seen by ${methods}, but cannot be reached: ${asked}.`)
}

const ANSWERS: Readonly<Record<AddressFinding['tcp'], string>> = {
  open: 'open',
  refused: 'refuses',
  timeout: 'no answer',
  unreachable: 'no machine there',
}

/** Whether everybody who answers for this peer is this peer. */
export function examineKey({ peer, addresses }: PeerFindings): Finding {
  if (peer.kind === 'chat') return skip('No key proves who a plain XMPP client is.')
  const wrong = addresses.filter(({ beacon, tls }) => [beacon, tls].some((id) => id !== undefined && id !== peer.id))
  const name = nameOf(peer)
  if (wrong.length > 0) {
    const where = wrong.map(({ target, tls, beacon }) => {
      const other = [tls, beacon].find((id) => id !== undefined && id !== peer.id) ?? ''
      return `${formatHostPort(target)} (${shortId(other)})`
    })
    return found(
      'peer.wrong-key',
      `WRONG KEY: another host answers where ${name} (${shortId(peer.id)}) was seen: ${listed(where)}. Its address went to that host, its identity is new, or somebody poses as it. Nothing is sent there.`,
      `Ask ${name} for its peer id (\`partyline id\` there) and compare; if the identity is new, drop the old one with \`partyline forget ${shortId(peer.id)}\`.`,
    )
  }
  if (addresses.some(({ beacon, tls }) => beacon === peer.id || tls === peer.id))
    return ok(`${name} proved its key just now.`)
  return skip(
    peer.proven ? `${name} proved its key before, and did not answer now.` : `${name} has not proven its key.`,
  )
}

/** One check for each address that was asked, `address-1` first. */
export function addressChecks(findings: PeerFindings): DoctorCheck[] {
  const { addresses, unasked } = findings
  return addresses.map((one, i) => {
    const { detail, ...finding } = examineAddress(one, findings)
    const isLast = i === addresses.length - 1
    const more = isLast && unasked > 0 ? ` ${counted(unasked, 'more address', 'more addresses')} not asked.` : ''
    return { id: `address-${i + 1}`, title: `Address ${formatHostPort(one.target)}`, ...finding, detail: detail + more }
  })
}

function examineAddress(one: AddressFinding, { peer, interfaces, session }: PeerFindings): Finding {
  const { target, methods, beacon, tcp, tls } = one
  const name = nameOf(peer)
  const networks = listed(lanInterfaces(interfaces).map((lan) => lan.name))
  const where = one.interface
    ? `On the network of ${one.interface}.`
    : `On none of this host's networks (${networks || 'it has none'}).`
  const seen = methods.length > 0 ? `Seen by ${listed([...new Set(methods)])}.` : 'Remembered from before.'
  const facts = `${where} ${seen}`
  const other = [tls, beacon].find((id) => id !== undefined && id !== peer.id)
  if (other) return found('peer.address-of-other', `${facts} Another host answers there: ${shortId(other)}.`)
  if (peer.kind === 'chat' && tcp === 'open') return ok(`${facts} TCP port ${target.port} is open.`)
  if (tls === peer.id) {
    const answers = beacon ? 'Beacon and TLS answer' : 'TLS answers (no beacon does)'
    return ok(`${facts} ${answers}, and ${name} proved its key.`)
  }
  if (session) return skip(`${facts} ${TCP_WORDS[tcp](target.port)} The session goes another way.`)
  const heard = peer.kind === 'chat' ? '' : beacon ? ' Its beacon is heard;' : ' No beacon answers;'
  return found('peer.address-silent', `${facts}${heard} ${TCP_WORDS[tcp](target.port)}`)
}

const TCP_WORDS: Readonly<Record<AddressFinding['tcp'], (port: number) => string>> = {
  open: (port) => `TCP port ${port} is open, and no Partyline host proved itself there.`,
  refused: (port) => `TCP port ${port} refuses: nothing listens there, or a firewall rejects it.`,
  timeout: (port) => `TCP port ${port} does not answer: a firewall drops it, or the machine is gone.`,
  unreachable: () => 'no machine answers at this address.',
}
