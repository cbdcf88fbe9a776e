/**
 * The table of settings. Each is declared once: `partyline config`, validation, the file and the reference page
 * `docs/reference/settings.md` come from here.
 */

interface SettingBase {
  /** One sentence. */
  readonly about: string
  /** Unit of a number, for people. */
  readonly unit?: string
  /** True when a running daemon takes it up only at its next start. */
  readonly restart?: true
}

export type Setting = SettingBase &
  (
    | { readonly type: 'string'; readonly default: string; readonly maxLength: number }
    | { readonly type: 'integer'; readonly default: number; readonly min: number; readonly max: number }
    | { readonly type: 'boolean'; readonly default: boolean }
    | { readonly type: 'choice'; readonly default: string; readonly choices: readonly string[] }
    | {
        readonly type: 'list'
        readonly default: readonly string[]
        readonly maxItems: number
        readonly maxLength: number
      }
  )

export const SETTINGS = {
  name: {
    type: 'string',
    default: '',
    maxLength: 63,
    about: "The name others read; empty means one made from the machine's name.",
  },
  port: {
    restart: true,
    type: 'integer',
    default: 47800,
    min: 1,
    max: 65535,
    about: 'TCP and UDP port; another is picked and advertised if it is taken.',
  },
  'log.level': {
    type: 'choice',
    default: 'info',
    choices: ['error', 'warn', 'info', 'debug'],
    about: 'Least important level that is logged.',
  },
  'network.interfaces': {
    restart: true,
    type: 'list',
    default: [],
    maxItems: 64,
    maxLength: 64,
    about: 'Names of the interfaces that take part; empty means all but VPN and container ones.',
  },
  'network.exclude': {
    restart: true,
    type: 'list',
    default: [],
    maxItems: 64,
    maxLength: 64,
    about: 'Names of interfaces that never take part.',
  },
  'discovery.mdns': {
    restart: true,
    type: 'boolean',
    default: true,
    about: 'Find peers by mDNS / DNS-SD (`_partyline._tcp`).',
  },
  'discovery.beacon': {
    restart: true,
    type: 'boolean',
    default: true,
    about: 'Find peers by signed broadcast and multicast beacons.',
  },
  'discovery.xmpp': {
    restart: true,
    type: 'boolean',
    default: true,
    about: 'Be seen by, see and chat with XMPP clients on the LAN (XEP-0174, `_presence._tcp`).',
  },
  'discovery.hints': {
    restart: true,
    type: 'list',
    default: [],
    maxItems: 256,
    maxLength: 128,
    about: 'Addresses (`IP` or `IP:PORT`) to look for peers at, at start and after a network change.',
  },
  'discovery.remember': {
    restart: true,
    type: 'boolean',
    default: true,
    about: 'Look for known peers at the addresses they had last time.',
  },
  'nat.stun': {
    type: 'list',
    default: [],
    maxItems: 8,
    maxLength: 256,
    about:
      'STUN servers (`HOST` or `HOST:PORT`) that tell how this host looks from outside, for paths through NAT; no others are asked.',
  },
  'nat.turn': {
    type: 'list',
    default: [],
    maxItems: 8,
    maxLength: 512,
    about:
      'TURN servers (`turn:USER:PASSWORD@HOST:PORT?transport=udp`, `tcp`, or `turns:` for TLS) that relay where nothing else works.',
  },
  'nat.share': {
    type: 'choice',
    default: 'all',
    choices: ['all', 'public', 'relay', 'none'],
    about:
      'Which addresses of this host peers may learn: all; those that work from the internet, and no private ones; only those of its relays (which hides where it is: nothing else goes to peers beyond its networks); or none (no path through NAT is looked for).',
  },
  'policy.lan': {
    type: 'choice',
    default: 'open',
    choices: ['open', 'ask', 'trusted'],
    about:
      'Who may open a session from a network of this host: everybody, whom you let in when asked, or trusted peers only.',
  },
  'policy.internet': {
    type: 'choice',
    default: 'trusted',
    choices: ['open', 'ask', 'trusted'],
    about: 'Who may open a session from anywhere else, and learn that this host is there.',
  },
  'policy.punch': {
    type: 'boolean',
    default: true,
    about: 'Look for ways through NAT: punch holes, and use relays.',
  },
  'policy.metered': {
    type: 'list',
    default: [],
    maxItems: 64,
    maxLength: 64,
    about:
      'Names of interfaces whose network is paid for by what goes through it, beside those of which the system says so.',
  },
  'policy.on-metered': {
    type: 'choice',
    default: 'all',
    choices: ['all', 'messages', 'nothing'],
    about: 'What goes over metered networks: all, messages without streams, files and relaying, or nothing.',
  },
  'policy.rate-sessions': {
    type: 'integer',
    default: 120,
    min: 0,
    max: 1_000_000,
    unit: '/min',
    about: 'Sessions that one peer may open a minute; 0 has no limit.',
  },
  'policy.rate-streams': {
    type: 'integer',
    default: 60_000,
    min: 0,
    max: 10_000_000,
    unit: '/min',
    about: 'Streams that one peer may open a minute; 0 has no limit.',
  },
  'policy.rate-requests': {
    type: 'integer',
    default: 30,
    min: 0,
    max: 10_000,
    unit: '/min',
    about: 'How often a minute one peer that is not let in may ask; 0 has no limit.',
  },
  'notify.desktop': {
    type: 'boolean',
    default: true,
    about: 'Show a notification on the desktop, where there is one, when a peer asks to be let in.',
  },
  'accounts.use-servers': {
    type: 'boolean',
    default: true,
    about: 'Use the STUN and TURN servers that the servers of XMPP accounts know of (XEP-0215).',
  },
  'friends.signals': {
    type: 'boolean',
    default: true,
    about: 'Trusted peers carry signals to each other through this host, and for it; no other kind of traffic.',
  },
  'relay.enabled': {
    restart: true,
    type: 'boolean',
    default: false,
    about: 'Be a STUN and TURN server for trusted peers whenever the daemon runs.',
  },
  'relay.friends': {
    type: 'boolean',
    default: true,
    about:
      "Relay for trusted peers over the daemon's own UDP port, where two of them reach this host and not each other; strangers are answered nothing.",
  },
  'relay.port': {
    restart: true,
    type: 'integer',
    default: 3478,
    min: 1,
    max: 65535,
    about: 'UDP and TCP port of the relay.',
  },
  'relay.tls-port': {
    restart: true,
    type: 'integer',
    default: 5349,
    min: 0,
    max: 65535,
    about: 'TCP port of the relay for TLS; 0 for none.',
  },
  'relay.min-port': {
    type: 'integer',
    default: 49_152,
    min: 1024,
    max: 65535,
    about: 'First of the UDP ports that relayed addresses have.',
  },
  'relay.max-port': {
    type: 'integer',
    default: 65_535,
    min: 1024,
    max: 65535,
    about: 'Last of the UDP ports that relayed addresses have.',
  },
  'relay.external': {
    type: 'list',
    default: [],
    maxItems: 2,
    maxLength: 45,
    about:
      "This host's address as the internet sees it, where a router translates it one to one: an IPv4 one, an IPv6 one, or both.",
  },
  'relay.certificate': {
    restart: true,
    type: 'string',
    default: '',
    maxLength: 1024,
    about: "File with the relay's certificate chain (PEM); empty for one of the daemon's own key.",
  },
  'relay.key': {
    restart: true,
    type: 'string',
    default: '',
    maxLength: 1024,
    about: 'File with the key of `relay.certificate` (PEM).',
  },
  'relay.allow-private': {
    type: 'boolean',
    default: false,
    about:
      'Relay to private addresses and to this host itself as well; whoever may relay reaches what is behind it then.',
  },
  'relay.max-allocations': {
    type: 'integer',
    default: 500,
    min: 0,
    max: 10_000,
    about: 'Most relayed addresses at a time.',
  },
  'relay.max-per-peer': {
    type: 'integer',
    default: 10,
    min: 0,
    max: 10_000,
    about: 'Most relayed addresses of one peer at a time.',
  },
  'relay.bandwidth': {
    type: 'integer',
    default: 25_000_000,
    min: 0,
    max: 100_000_000_000,
    unit: 'bit/s',
    about: 'Most that is relayed for one peer, each way; 0 for as much as there is.',
  },
  'relay.total-bandwidth': {
    type: 'integer',
    default: 100_000_000,
    min: 0,
    max: 100_000_000_000,
    unit: 'bit/s',
    about: 'Most that is relayed in all, each way; 0 for as much as there is.',
  },
  'friends.relay': {
    type: 'boolean',
    default: true,
    about: 'Ask trusted peers to relay where nothing better works; `relay.friends` is about relaying for them.',
  },
  'nat.map': {
    type: 'boolean',
    default: true,
    about: 'Ask the router to forward a port to this host (PCP, NAT-PMP, UPnP), so that others reach it from outside.',
  },
  'nat.map-by': {
    restart: true,
    type: 'list',
    default: ['pcp', 'nat-pmp', 'upnp'],
    maxItems: 3,
    maxLength: 16,
    about: 'How routers are asked to forward a port, the best first: `pcp`, `nat-pmp`, `upnp`.',
  },
  'session.idle-close': {
    restart: true,
    type: 'integer',
    default: 0,
    min: 0,
    max: 86_400_000,
    unit: 'ms',
    about: 'Close a session that nobody used for this long; 0 keeps it.',
  },
  'session.resume-for': {
    type: 'integer',
    default: 30_000,
    min: 0,
    max: 3_600_000,
    unit: 'ms',
    about: 'How long a session whose link was lost waits for another before it ends; 0 ends it at once.',
  },
  'session.keep-trusted': {
    type: 'boolean',
    default: true,
    about:
      'Keep sessions with trusted peers that are not on a network of this host, so that it is known whether they are there.',
  },
  'session.datagrams': {
    restart: true,
    type: 'boolean',
    default: true,
    about: 'Send unreliable messages as sealed UDP datagrams where that path works.',
  },
  'messages.request-for': {
    type: 'integer',
    default: 30_000,
    min: 1000,
    max: 600_000,
    unit: 'ms',
    about: 'How long an app may take to accept the first message of a peer.',
  },
  'messages.app-send': {
    type: 'integer',
    default: 16_777_216,
    min: 1_048_576,
    max: 1_073_741_824,
    unit: 'bytes',
    about: 'Message content that one app may have on its way, to all peers; more waits.',
  },
  'messages.app-receive': {
    type: 'integer',
    default: 16_777_216,
    min: 1_048_576,
    max: 1_073_741_824,
    unit: 'bytes',
    about: 'Message content that may wait for one slow app, of all peers; more is refused.',
  },
  'link.max-per-address': {
    restart: true,
    type: 'integer',
    default: 64,
    min: 1,
    max: 65535,
    about: 'Most links from one address at a time, streams included.',
  },
  'link.max-half-open': {
    restart: true,
    type: 'integer',
    default: 128,
    min: 1,
    max: 4096,
    about: 'Most links in their handshake at a time.',
  },
  'link.handshake-timeout': {
    restart: true,
    type: 'integer',
    default: 5000,
    min: 500,
    max: 60_000,
    unit: 'ms',
    about: 'Time a handshake may take.',
  },
  'chat.keep': {
    restart: true,
    type: 'integer',
    default: 1000,
    min: 0,
    max: 100_000,
    about: 'Chat lines kept for apps that ask later; 0 keeps none.',
  },
  'chat.store': {
    type: 'boolean',
    default: true,
    about: 'Keep chat lines on disk as well, so that they outlive the daemon.',
  },
  'hub.enabled': {
    restart: true,
    type: 'boolean',
    default: false,
    about: "Be the LAN's XMPP server (hub) whenever the daemon runs.",
  },
  'hub.name': {
    restart: true,
    type: 'string',
    default: '',
    maxLength: 40,
    about: "Name of this host's hub; empty means one made from its name.",
  },
  'hub.port': {
    restart: true,
    type: 'integer',
    default: 5223,
    min: 1,
    max: 65535,
    about: "TCP port of this host's hub; another is picked and advertised if it is taken.",
  },
  'hub.auto-join': {
    restart: true,
    type: 'boolean',
    default: true,
    about: 'Join every hub that is found on the LAN.',
  },
  'hub.join': {
    restart: true,
    type: 'list',
    default: [],
    maxItems: 16,
    maxLength: 1024,
    about: 'Hubs to join wherever they are: `IP`, `IP:PORT` or a ticket.',
  },
  'metrics.port': {
    restart: true,
    type: 'integer',
    default: 0,
    min: 0,
    max: 65_535,
    about:
      'Serve the metrics over HTTP on this port of 127.0.0.1, to whoever shows the token in the file `metrics.token` beside the identity; 0 for not at all.',
  },
  'hub.max-clients': {
    restart: true,
    type: 'integer',
    default: 500,
    min: 1,
    max: 10_000,
    about: "Most clients logged in at this host's hub.",
  },
  'hub.max-per-address': {
    restart: true,
    type: 'integer',
    default: 16,
    min: 1,
    max: 10_000,
    about: "Most connections from one address to this host's hub.",
  },
} as const satisfies Record<string, Setting>

export type SettingKey = keyof typeof SETTINGS

type ValueOf<S> = S extends { type: 'string' | 'choice' }
  ? string
  : S extends { type: 'integer' }
    ? number
    : S extends { type: 'boolean' }
      ? boolean
      : readonly string[]

/** The value of each setting, by key. */
export type SettingValues = { readonly [K in SettingKey]: ValueOf<(typeof SETTINGS)[K]> }
