import { type AddressFinding, type Finding, found, ok, type PeerFindings } from './findings.ts'
import { hubsOf } from './peer-checks.ts'
import { ago, counted, lanInterfaces, listed, nameOf, openPort, shortId } from './wording.ts'

/** What all checks of a peer come to, in one sentence. */
export function conclude(findings: PeerFindings): Finding {
  const { peer, session } = findings
  if (peer.trust === 'blocked')
    return found(
      'peer.blocked',
      `${nameOf(peer)} is blocked by you.`,
      `Run \`partyline trust ${shortId(peer.id)}\` to undo it.`,
    )
  if (peer.kind === 'chat') return concludeChat(findings)
  if (session) return ok(`${nameOf(peer)} is connected, by ${session.route} to ${session.remote}.`)
  return concludeHost(findings)
}

function concludeChat({ peer, addresses, hub }: PeerFindings): Finding {
  const name = nameOf(peer)
  const plain = `${name} is a plain XMPP client: chat only, and not encrypted end to end`
  if (peer.state === 'away')
    return found('peer.away', `${name} is away; it is a plain XMPP client.`, `Ask ${name} to go online.`)
  const hubs = hubsOf({ peer, hub })
  if (peer.sightings.some(({ method }) => method === 'hub'))
    return ok(`${plain}; chat goes through the hub${hubs.length > 0 ? ` ${listed(hubs)}` : ''}.`)
  if (addresses.length === 0 || addresses.some(({ tcp }) => tcp === 'open')) return ok(`${plain}.`)
  const port = addresses[0]?.target.port
  return found(
    'peer.chat-port-closed',
    `${plain}; and its TCP port ${port} does not take connections.`,
    `Open TCP port ${port} in the firewall of the machine of ${name}, or restart the client there.`,
  )
}

function concludeHost(findings: PeerFindings): Finding {
  const { peer, addresses, interfaces } = findings
  const name = nameOf(peer)
  const answers = (one: AddressFinding): boolean => one.beacon === peer.id
  const proven = addresses.find(({ tls }) => tls === peer.id)
  if (proven) {
    if (peer.state !== 'away')
      return ok(`${name} should connect: it answered at ${proven.target.address} and proved its key.`)
    return found(
      'peer.undiscovered',
      `${name} should connect at ${proven.target.address}, though discovery does not see it.`,
    )
  }
  const turnedDown = addresses.find((one) => one.tcp === 'open' && answers(one))
  if (turnedDown)
    return found(
      'peer.turned-down',
      `${name} is there and its port is open, but it turns this host down: it may have blocked this host, or have too many links.`,
      `Ask ${name} to run \`partyline doctor\`, and to see in \`partyline peers\` whether this host is blocked.`,
    )
  const blocked = addresses.find((one) => answers(one))
  if (blocked) return concludeBlocked(findings, blocked)
  if (lanInterfaces(interfaces).length === 0 && addresses.every((one) => !one.interface))
    return found('network.no-interface', 'This host is on no network.')
  if (peer.sightings.length === 0) return concludeAway(findings)
  return concludeUnanswered(findings)
}

function concludeAway({ peer, wall, lastSeen, paths, signallers }: PeerFindings): Finding {
  const name = nameOf(peer)
  // Candidates of its own have come, so it is there.
  if (paths.length > 0)
    return found('peer.no-path', `${name} answered signals, and ${counted(paths.length, 'path')} to it did not work.`)
  if (signallers.length > 0)
    return found(
      'peer.away',
      `${name} is on no network of this host, and no address of it answers. Signals go there by ${listed(signallers)}, so a path through NAT is looked for when a session is opened.`,
      `Say something with \`partyline chat ${shortId(peer.id)}\`, and ask again.`,
    )
  return found(
    'peer.away',
    `${name} is away: ${lastSeen === undefined ? 'never seen here' : `last seen ${ago(wall - lastSeen)}`}, and no address of it answers.`,
    `Start Partyline on the machine of ${name} and see that it is on this network.`,
  )
}

/** The peer is seen by some method, and no address proves to be its. */
function concludeUnanswered(findings: PeerFindings): Finding {
  const { peer, addresses } = findings
  const name = nameOf(peer)
  const by = (tcp: AddressFinding['tcp']): AddressFinding | undefined => addresses.find((one) => one.tcp === tcp)
  const others = addresses.filter(({ tls, beacon }) => (tls ?? beacon ?? peer.id) !== peer.id)
  if (others.length > 0 && others.length === addresses.length)
    return found(
      'peer.replaced',
      `Another host answers at every address of ${name}.`,
      `Wait until discovery has seen ${name} anew, and heed the check of the key.`,
    )
  const open = by('open')
  if (open && !others.includes(open))
    return found(
      'peer.port-of-other',
      `Something that is not ${name} listens at TCP port ${open.target.port} of ${open.target.address}.`,
      `See on the machine of ${name} that Partyline runs and which port \`partyline status\` shows.`,
    )
  const refused = by('refused')
  if (refused)
    return found(
      'peer.not-listening',
      `${name} was seen, but TCP port ${refused.target.port} of ${refused.target.address} refuses: Partyline has ended there, or a firewall rejects it.`,
      `Start Partyline on the machine of ${name}, and there ${openPort(refused.target.port, {})}.`,
    )
  if (!peer.sightings.some(({ method }) => method !== 'hub')) return concludeHubOnly(findings)
  const far = addresses.filter((one) => !one.interface)
  if (far.length > 0 && far.length === addresses.length)
    return found(
      'peer.other-network',
      `${name} is on another network (${listed(far.map(({ target }) => target.address))}), and nothing answers from there.`,
    )
  const silent = by('timeout')
  if (silent) return concludeSilent(findings, silent)
  return found(
    'peer.gone',
    `${name} announced itself, but no machine answers at its ${addresses.length === 1 ? 'address' : 'addresses'}: it left or sleeps, or the access point keeps its clients apart.`,
    `Wake the machine of ${name}; if it is awake, switch off client (AP) isolation at the access point, or use a cable.`,
  )
}

/** Heard while it was asked, so its machine is on. */
function concludeBlocked({ peer }: PeerFindings, { target, tcp }: AddressFinding): Finding {
  const name = nameOf(peer)
  const how = tcp === 'refused' ? 'rejects' : 'drops'
  return found(
    'peer.firewalled',
    `${name} is discovered but data is blocked: a firewall on the machine of ${name} lets discovery through and ${how} TCP port ${target.port}.`,
    `On the machine of ${name} ${openPort(target.port, {})}.`,
  )
}

/** A machine that was switched off looks like a firewall that drops for as long as this one remembers its hardware address. */
function concludeSilent({ peer }: PeerFindings, { target }: AddressFinding): Finding {
  const name = nameOf(peer)
  const age = Math.min(...peer.sightings.map((sighting) => sighting.age))
  return found(
    'peer.silent',
    `${name} was seen ${ago(age)}, but neither TCP nor UDP port ${target.port} of ${target.address} answers: a firewall on the machine of ${name} drops both, or that machine was switched off or sleeps.`,
    `See that the machine of ${name} is on, and there ${openPort(target.port, {})}.`,
  )
}

function concludeHubOnly({ peer, addresses, hub }: PeerFindings): Finding {
  const name = nameOf(peer)
  const hubs = hubsOf({ peer, hub })
  const through = `through the hub${hubs.length > 0 ? ` ${listed(hubs)}` : ''}`
  const chat = 'Chat works through the hub.'
  if (addresses.length > 0 && addresses.every((one) => !one.interface))
    return found(
      'peer.hub-other-network',
      `${name} is seen only ${through}; its addresses (${listed(addresses.map(({ target }) => target.address))}) are on another network. ${chat}`,
    )
  if (addresses.length === 0)
    return found('peer.hub-only', `${name} is seen only ${through} and has told no address yet. ${chat}`)
  const silent = addresses.find(({ tcp }) => tcp === 'timeout')
  if (silent)
    return found(
      'peer.isolated-or-firewalled',
      `${name} is seen only ${through}, and its machine does not answer: the network keeps clients apart (client isolation), or a firewall there drops port ${silent.target.port}. ${chat}`,
      `Switch off client (AP) isolation at the access point or use a cable, and on the machine of ${name} ${openPort(silent.target.port, {})}.`,
    )
  return found(
    'peer.isolated',
    `${name} is seen only ${through}: the network keeps clients apart (client isolation), since no machine answers at its address. ${chat}`,
  )
}
