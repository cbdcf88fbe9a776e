import type { Description } from './rendezvous/description.ts'

type Network = Description['network']

/**
 * Why there is no way to a peer, in words for its user: what both networks tell of themselves explains it best. `tried` is what the ICE agent
 * has to say; `theirs` is undefined where the peer has said nothing; `isShared`: both are seen from outside at one address.
 */
export function explainFailure(ours: Network, theirs: Network | undefined, tried: string, isShared: boolean): string {
  if (!theirs) return 'the peer did not answer: the signals to it, or its own, do not arrive'
  const because = reasonOf(ours, theirs, isShared)
  return `no path was found (${tried})${because ? `: ${because}` : ''}`
}

function reasonOf(ours: Network, theirs: Network, isShared: boolean): string {
  const relay = 'a relay (TURN) is needed'
  const hasRelay = ours.relay || theirs.relay
  if (ours.udp === false && theirs.udp === false)
    return `UDP gets out of neither network, and ${lacks(hasRelay, relay)}`
  if (ours.udp === false) return `UDP does not get out of this network, and ${lacks(hasRelay, relay)}`
  if (theirs.udp === false) return `UDP does not get out of the peer's network, and ${lacks(hasRelay, relay)}`
  if (isShared)
    return `both are behind one router of their provider, which does not let its users reach each other, and ${lacks(hasRelay, relay)}`
  if (ours.mapping === 'each' && theirs.mapping === 'each')
    return `the routers of both networks give every destination another port (symmetric NAT), and ${lacks(hasRelay, relay)}`
  if (ours.mapping === 'each' || theirs.mapping === 'each') {
    const whose = ours.mapping === 'each' ? 'this network' : "the peer's network"
    return `the router of ${whose} gives every destination another port (symmetric NAT) and the other's lets in only what it expects, and ${lacks(hasRelay, relay)}`
  }
  if (ours.udp === null && theirs.udp === null) return 'neither host knows a STUN server (setting `nat.stun`)'
  if (ours.udp === null) return 'this host knows no STUN server (setting `nat.stun`)'
  if (theirs.udp === null) return 'the peer knows no STUN server (setting `nat.stun`)'
  return ''
}

const lacks = (has: boolean, what: string): string => (has ? 'the relay did not help' : what)
