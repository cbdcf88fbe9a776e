/** The kinds of NAT of the lab, in the words of RFC 4787. */

/** What stands between a host and the internet. */
export interface Nat {
  /** How a port outside is chosen: none (no translation), the same for all, one for each address, one for each address and port. */
  readonly mapping: 'none' | 'EIM' | 'ADM' | 'APDM'
  /** Whose packets come in: anybody's, those of known addresses, those of known addresses and ports. */
  readonly filtering: 'EIF' | 'ADF' | 'APDF'
  readonly udp: boolean
  /** Which TCP connections go out: to any port, or to those of the web. */
  readonly tcpOut: 'all' | 'web'
  /** Whether TCP connections from outside reach the host. */
  readonly tcpIn: boolean
}

interface Kind extends Nat {
  readonly about: string
}

const nat = (mapping: Nat['mapping'], filtering: Nat['filtering'], about: string, rest: Partial<Nat> = {}): Kind => ({
  mapping,
  filtering,
  udp: true,
  tcpOut: 'all',
  tcpIn: false,
  ...rest,
  about,
})

/** In the order of the tables: what is easy first. */
export const KINDS = {
  none: nat('none', 'EIF', 'no NAT and no firewall: the host has an address of the internet', { tcpIn: true }),
  dmz: nat('EIM', 'EIF', 'everything from outside is forwarded to the host', { tcpIn: true }),
  cone: nat('EIM', 'EIF', 'full cone'),
  'sym-cone': nat('APDM', 'EIF', 'a new port for each destination, but open to anybody'),
  arc: nat('EIM', 'ADF', 'address-restricted cone'),
  eim: nat('EIM', 'APDF', 'port-restricted cone, as most home routers are; the port outside is the one inside'),
  'eim-rnd': nat('EIM', 'APDF', 'the same, with another port outside'),
  adm: nat('ADM', 'APDF', 'symmetric: a new port for each address'),
  sym: nat('APDM', 'APDF', 'symmetric: a new port for each address and port'),
  udpblock: nat('EIM', 'APDF', 'a firewall that lets TCP out and no UDP', { udp: false }),
  web: nat('EIM', 'APDF', 'a firewall that lets TCP to ports 80 and 443 out, and nothing else', {
    udp: false,
    tcpOut: 'web',
  }),
} as const satisfies Record<string, Kind>

export type KindName = keyof typeof KINDS

export const KIND_NAMES = Object.keys(KINDS) as readonly KindName[]
