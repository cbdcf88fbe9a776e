import type { DoctorCheck, HubStatus, PathView, PeerView, Result, SessionView, StatusView } from '../../ipc/methods.ts'
import type { AccountHealth } from '../accounts/accounts.ts'
import type { DiscoveryState } from '../discovery/discovery.ts'
import type { ErrorCode } from '../errors.ts'
import type { NatBehaviour } from '../nat/stun/behaviour.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Ways } from '../peers/ways.ts'
import type { SignallerName } from '../signaling/signaller.ts'
import type { DiscoveryName, HostPort, Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'
import { FINDINGS, type FindingCode } from './finding-codes.ts'
import type { Drop } from './packet-filter.ts'
import type { PortHolder } from './port-holders.ts'

/**
 * What a TCP connection came to: `refused` is an answer, so a machine is there; `timeout` is what a firewall that drops looks like;
 * `unreachable` is what the system says when no machine answers at the address at all, or no route leads there.
 */
export type TcpAnswer = 'open' | 'refused' | 'timeout' | 'unreachable'

/** A packet filter of this machine that is switched on, as far as anybody may know without being root. */
export type Firewall = 'ufw' | 'firewalld'

/** Whether this host hears its own multicast on one interface. */
export interface MulticastFinding {
  readonly interface: string
  readonly family: 4 | 6
  readonly heard: boolean
  /** What the system said against it (`EPERM`); empty where it said nothing. */
  readonly problem: string
}

/** All that the checks of this host look at, as it was at one moment. */
export interface HostFindings {
  readonly platform: NodeJS.Platform
  readonly wall: UnixMilliseconds
  readonly uptime: Milliseconds
  /** The port of the settings, and the one that is used. */
  readonly port: { readonly asked: number; readonly actual: number }
  readonly interfaces: readonly NetworkInterface[]
  /** What the user chose: settings `network.interfaces` and `network.exclude`. */
  readonly chosen: { readonly include: readonly string[]; readonly exclude: readonly string[] }
  readonly discovery: readonly DiscoveryState[]
  readonly people: readonly PeerView[]
  readonly sessions: readonly SessionView[]
  readonly hub: HubStatus
  readonly refused: Partial<Record<ErrorCode, number>>
  /** Where somebody else announces this host's own peer id; undefined where nobody looks out for that. */
  readonly twins: readonly HostPort[] | undefined
  readonly multicast: readonly MulticastFinding[]
  readonly firewall: Firewall | undefined
  /** Packets of strangers that nftables drops here; undefined where that cannot be known. */
  readonly drops: readonly Drop[] | undefined
  /** Who holds the port of the settings, and that of mDNS; undefined where the system does not tell. */
  readonly holders: { readonly own: readonly PortHolder[]; readonly mdns: readonly PortHolder[] } | undefined
  /** The addresses that packets to the internet leave from. */
  readonly wayOut: WayOut
  /** The STUN and TURN servers, and what the first STUN server found out about the NAT; undefined where none could be asked. */
  readonly internet: StatusView['internet']
  readonly nat: NatBehaviour | undefined
  /** Whether the STUN server that does not answer by UDP does so by TCP; undefined where that was not asked. */
  readonly stunTcp: TcpAnswer | undefined
  readonly accounts: readonly AccountHealth[]
  /** `isWanted`: the settings want a relay. */
  readonly relay: Result<'relay.status'> & { readonly isWanted: boolean }
  readonly policy: Result<'policy.get'>
  /** Names of peers that ask to be let in. */
  readonly requests: readonly string[]
}

/** The address that packets to the internet leave from, by family; undefined where no route leads there. */
export interface WayOut {
  readonly 4: string | undefined
  readonly 6: string | undefined
}

/** What came of asking one address of a peer. */
export interface AddressFinding {
  readonly target: HostPort
  /** The participating interface whose network the address is on; undefined for another network. */
  readonly interface: string | undefined
  /** What saw the peer there; empty for an address that is only remembered. */
  readonly methods: readonly DiscoveryName[]
  /** Whose key signed the answer to a beacon; undefined when none came. */
  readonly beacon: PeerId | undefined
  readonly tcp: TcpAnswer
  /** Whose key the TLS handshake proved; undefined when there was none. */
  readonly tls: PeerId | undefined
}

/** All that the checks of one peer look at. */
export interface PeerFindings {
  readonly peer: PeerView
  readonly wall: UnixMilliseconds
  readonly lastSeen: UnixMilliseconds | undefined
  /** One with a link. */
  readonly session: SessionView | undefined
  /** One whose link is lost. */
  readonly resuming: SessionView | undefined
  readonly interfaces: readonly NetworkInterface[]
  readonly hub: HubStatus
  readonly addresses: readonly AddressFinding[]
  /** What was tried beside those, through NAT. */
  readonly paths: readonly PathView[]
  /** How it says that it may be reached from anywhere, and what carries signals to it now. */
  readonly ways: Ways
  readonly signallers: readonly SignallerName[]
  /** What the policy here comes to for it; undefined for a plain XMPP client. */
  readonly policy: Result<'policy.get'> | undefined
  /** How many more addresses are known than were asked. */
  readonly unasked: number
}

/** What one check finds. */
export type Finding = Omit<DoctorCheck, 'id' | 'title'>

/** One row of a table of checks: looks at what was collected, and at nothing else. */
export interface Check<Findings> {
  /** Stable, for programs. */
  readonly id: string
  readonly title: string
  /** Several where several things may be wrong at once, the worst first. */
  readonly examine: (findings: Findings) => Finding | readonly Finding[]
}

export const ok = (detail: string): Finding => ({ code: 'ok', status: 'ok', detail, fix: '' })
export const skip = (detail: string): Finding => ({ code: 'skip', status: 'skip', detail, fix: '' })

/** What is wrong, as its table has it; `fix` where more than that is known about what to do. */
export function found(code: FindingCode, detail: string, fix: string = FINDINGS[code].fix): Finding {
  return { code, status: FINDINGS[code].severity, detail, fix }
}
