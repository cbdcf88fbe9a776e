/**
 * The table of socket methods and events. Each is declared once: the server's validation, the SDK's types, the OpenRPC
 * document and `docs/reference/methods.md` come from here. Times are milliseconds, sizes bytes, rates bits per second.
 */
import * as z from 'zod'
import type { ErrorCode } from '../daemon/errors.ts'
import { accountMethods } from './methods/accounts.ts'
import { friendMethods } from './methods/friends.ts'
import { inviteMethods } from './methods/invites.ts'
import { policyMethods } from './methods/policy.ts'
import { relayMethods } from './methods/relay.ts'
import { reportMethods } from './methods/report.ts'
import { count, empty, ID, type MethodEntry, milliseconds, peerArg, peerErrors, peerId } from './methods/shapes.ts'

/** Version of the socket protocol; `hello` refuses another. */
export const PROTOCOL = 1

/** Largest request or notification on the socket, in bytes. Base64 makes 512 KiB of content some 700 KB. */
export const MAX_REQUEST = 1024 * 1024
/** The last but one is nobody: (uid_t) -1. */
const MAX_UID = 0xff_ff_ff_fe

const name = z.string().min(1).max(128)
const offerId = z
  .string()
  .regex(/^[a-z0-9]{16,32}$/)
  .describe('Offer id.')

/** Content of a message: text, bytes as base64, or (MessagePack only) bytes. */
const payload = z
  .union([z.string(), z.object({ base64: z.base64() }), z.instanceof(Uint8Array as new () => Uint8Array)])
  .describe('Text, {"base64": …}, or with MessagePack a bin.')

const sighting = z.object({
  method: z.enum(['mdns', 'beacon', 'xmpp', 'hub', 'hint']),
  interface: z.string(),
  address: z.string(),
  port: z.number().int(),
  age: milliseconds.describe('Since it was last seen there.'),
})

const presence = z.object({
  show: z.enum(['available', 'away', 'busy']),
  text: z.string().describe('Free text; empty for none.'),
})

const anyId = z.string().max(1100).describe('Peer id, or for a plain XMPP client `xmpp:` and its address.')

const peer = z.object({
  id: anyId,
  kind: z
    .enum(['host', 'chat'])
    .describe('`host`: runs Partyline. `chat`: a plain XMPP client, chat only, no key proves who it is.'),
  name: z.string().describe('What it calls itself.'),
  petname: z.string().describe('What the local user calls it; empty for none.'),
  trust: z.enum(['unknown', 'trusted', 'blocked']),
  state: z.enum(['seen', 'connected', 'away']),
  proven: z.boolean().describe('True once its key has proven itself.'),
  presence,
  note: z.string().describe('What stands in the way of a direct link, in a sentence; empty for nothing known.'),
  sightings: z.array(sighting),
  route: z.enum(['lan', 'direct', 'mapped', 'punched', 'friend-relay', 'relay']).nullable(),
  rtt: milliseconds.nullable(),
})

const session = z.object({
  peer: peerId,
  name: z.string(),
  route: z.string(),
  carrier: z.string(),
  cipher: z.string(),
  group: z.string(),
  local: z.string(),
  remote: z.string(),
  dialled: z.boolean(),
  rtt: milliseconds.nullable(),
  age: milliseconds,
  streams: count,
  state: z.enum(['open', 'resuming']).describe('`resuming`: the link is lost, nothing else is; what is sent waits.'),
  datagrams: z.enum(['none', 'probing', 'open', 'lost']).describe('The path of unreliable messages.'),
  fake: z.boolean().describe('True while a fake network makes it worse than it is.'),
})

const share = z.number().min(0).max(1)

const fakeDirection = z.object({
  loss: share.describe('Share lost. On a link, whose carrier repeats what is lost, a loss is a delay.'),
  delay: milliseconds.max(10_000),
  jitter: milliseconds.max(10_000).describe('Added at random, up to this much.'),
  reorder: share.describe('Share of datagrams overtaken by those behind them.'),
  duplicate: share.describe('Share of datagrams that arrive twice.'),
  rate: z.number().nonnegative().max(1e12).describe('Bits per second; 0 has no limit.'),
})

const fakeNetwork = z.object({ out: fakeDirection, in: fakeDirection })

const direction = z.object({
  rate: z.number().describe('Bits per second of message content; streams have links of their own.'),
  messages: z.number().describe('Per second.'),
  packets: z.number().describe('Datagrams per second.'),
  loss: share.nullable().describe('Share of datagrams lost; null while too few travelled to tell.'),
  quality: share.nullable().describe('Share of datagrams delivered, and in order; null while unknown.'),
})

const histogram = z.object({
  buckets: z.array(z.object({ upTo: z.number().nullable().describe('Null: no bound.'), count })),
})

const stall = z.object({
  at: z.number().describe('Unix milliseconds.'),
  silences: count,
  medianSilence: milliseconds,
  medianInterval: milliseconds,
  burst: z.number().describe('Packets that came at once behind the silences, median.'),
})

const path = z.object({
  to: z.string().describe('The address that was tried.'),
  via: z.string().describe('The relay of ours on the way; empty for none.'),
  local: z
    .string()
    .describe('Kind of our end: host, mapped, srflx (as a server sees us), prflx (as the peer sees us), relay.'),
  remote: z.string().describe("Kind of the peer's end."),
  state: z.string().describe('frozen, waiting, in-progress, succeeded or failed, as RFC 8445 has them.'),
  used: z.boolean(),
  rtt: milliseconds.nullable(),
  loss: z.number().describe('Share of the checks that were not answered, 0 to 1.'),
  mtu: count.describe('Largest UDP payload that is known to arrive; 0 while unknown.'),
  reason: z.string().describe('Why it is used, or why not.'),
})

const statistics = z.object({
  rtt: z.object({
    latest: milliseconds.nullable(),
    smoothed: milliseconds.nullable(),
    minimum: milliseconds.nullable(),
    jitter: milliseconds.nullable(),
  }),
  out: direction,
  in: direction,
  capacity: z.number().nullable().describe('Estimated bits per second of the datagram path.'),
  queued: count,
  unacknowledged: count,
  queueTime: milliseconds,
  lanes: z.array(
    z.object({
      app: count,
      lane: count,
      priority: count,
      weight: count,
      queuedReliable: count,
      queuedUnreliable: count,
      unacknowledged: count,
      queueTime: milliseconds,
      sent: count,
    }),
  ),
  totals: z.object({
    messagesOut: count,
    messagesIn: count,
    bytesOut: count,
    bytesIn: count,
    dropped: count.describe('Unreliable messages dropped before they left.'),
    resumes: count,
  }),
  datagrams: z.object({
    state: z.enum(['none', 'probing', 'open', 'lost']),
    remote: z.string(),
    mtu: count.describe('Largest UDP payload known to arrive, in bytes.'),
  }),
  routes: z.array(
    z.object({
      at: z.number().describe('Unix milliseconds.'),
      from: z.string().nullable(),
      to: z.string().nullable(),
      reason: z.string(),
    }),
  ),
  ping: histogram.describe('Round trips in ms since the session began.'),
  jitter: histogram.describe('Differences of round trips in a row, in ms.'),
  stall: stall.nullable().describe('Traffic that stops and bursts in a regular pattern, if seen lately.'),
  fake: fakeNetwork.nullable(),
})

const offer = z.object({
  offer: offerId,
  peer: peerId,
  direction: z.enum(['in', 'out']),
  name: z.string().describe('Name of the file or folder, or of the first of several.'),
  files: count,
  bytes: count,
  state: z.enum(['offered', 'accepted', 'refused', 'withdrawn', 'done', 'failed']),
})

const setting = z.object({
  key: z.string(),
  value: z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]),
  isDefault: z.boolean(),
  type: z.string(),
  unit: z.string(),
  range: z.string(),
  about: z.string(),
})

/** A chat line, as the socket and the history on disk hold it. */
export const chatLine = z.object({
  peer: anyId,
  direction: z.enum(['in', 'out']),
  text: z.string(),
  at: z.number().describe('Unix milliseconds.'),
  encrypted: z.boolean().describe('True when only the two ends can read it.'),
  via: z
    .enum(['session', 'signal', 'lan', 'hub'])
    .describe(
      '`session` and `signal` are encrypted end to end; everyone on the `lan`, or the `hub`, can read the others.',
    ),
})

const hubPerson = z.object({
  jid: z.string(),
  name: z.string(),
  kind: z.enum(['host', 'chat']),
  presence,
})

const hubStatus = z.object({
  running: z.boolean().describe('True while this host is a hub.'),
  name: z.string(),
  domain: z.string(),
  port: z.number().int(),
  addresses: z.array(z.string()),
  fingerprint: z.string().describe('SHA-256 of the certificate, for people whose client shows it.'),
  certificate: z.string().describe('File with the certificate, for clients that want it.'),
  people: z.array(hubPerson).describe('Who is logged in here.'),
  hubs: z
    .array(
      z.object({
        peer: z.string().describe("The hub's peer id; empty while unknown."),
        name: z.string(),
        domain: z.string(),
        address: z.string(),
        port: z.number().int(),
        state: z.enum(['joined', 'joining', 'failed']),
        detail: z.string(),
        people: z.array(hubPerson),
      }),
    )
    .describe('The hubs this host has joined, or tries to.'),
})

const hubDoor = z.object({
  pin: z.string().describe('What people log in with, under a nickname of their own.'),
  ticket: z.string().describe('For other hosts: `partyline hub join TICKET`; also what the QR code holds.'),
})

const check = z.object({
  id: z.string().describe('What was looked at.'),
  code: z
    .string()
    .describe('What was found, stable: docs/reference/findings.md; `ok` or `skip` where nothing is wrong.'),
  status: z.enum(['ok', 'warn', 'fail', 'skip']),
  title: z.string(),
  detail: z.string(),
  fix: z.string().describe('What to do; empty where nothing is wrong.'),
})

const status = z.object({
  version: z.string(),
  id: peerId,
  name: z.string(),
  port: z.number().int(),
  uptime: milliseconds,
  pid: z.number().int(),
  home: z.string(),
  inbox: z.string(),
  sockets: z.object({ app: z.string(), control: z.string() }),
  interfaces: z.array(
    z.object({
      name: z.string(),
      kind: z.string(),
      participating: z.boolean(),
      addresses: z.array(z.string()),
      multicast: z.boolean(),
    }),
  ),
  discovery: z.array(z.object({ method: z.string(), interface: z.string(), state: z.string(), detail: z.string() })),
  internet: z.object({
    state: z
      .string()
      .describe(
        'unused: no server is set; idle: none is asked now; ready: this host knows how it looks from outside; failed.',
      ),
    detail: z.string(),
    servers: z.array(
      z.object({
        server: z.string(),
        kind: z.enum(['stun', 'turn']),
        state: z.string(),
        address: z.string().describe('What it gave: how this host looks from outside, or the address of its relay.'),
        rtt: milliseconds.nullable(),
        detail: z.string(),
      }),
    ),
    mappings: z
      .array(
        z.object({
          transport: z.enum(['tcp', 'udp']),
          gateway: z.string(),
          protocol: z.string().describe('pcp, nat-pmp or upnp; empty for none.'),
          address: z.string().describe('Where the router says that the internet reaches us; empty for nowhere.'),
          lifetime: milliseconds.nullable().describe('Until it has to be renewed; null: for ever, or none.'),
          state: z.enum(['asking', 'mapped', 'failed']),
          detail: z.string(),
          doubleNat: z.boolean().describe('The router itself has a private address: there is another NAT behind it.'),
        }),
      )
      .describe('Ports that routers forward to this host on request.'),
  }),
  peers: z.object({ seen: count, connected: count, away: count }),
  sessions: count,
  links: z.object({ open: count, halfOpen: count }),
  apps: count,
  refused: z.record(z.string(), count).describe('What was refused since start, by error code.'),
  memory: count.describe('Resident set size, in bytes.'),
})

const reachErrors = [
  ...peerErrors,
  'policy.blocked',
  'network.unreachable',
  'network.timeout',
  'network.lost',
  'peer.closed',
  'peer.wrong-key',
] as const satisfies readonly ErrorCode[]

const peerChange = {
  who: 'owner',
  result: peer,
  errors: [...peerErrors, 'policy.owner-only'],
} as const

const PEER_EXAMPLE = {
  id: ID,
  kind: 'host',
  name: 'anna-laptop',
  petname: '',
  trust: 'unknown',
  state: 'seen',
  proven: true,
  presence: { show: 'available', text: '' },
  note: '',
  sightings: [{ method: 'beacon', interface: 'eth0', address: '192.168.50.2', port: 47800, age: 812 }],
  route: null,
  rtt: null,
} as const

const OFFER_EXAMPLE = {
  offer: 'k3v9x2m4p7q8r5t6',
  peer: ID,
  direction: 'in',
  name: 'photos',
  files: 12,
  bytes: 48_211_004,
  state: 'offered',
} as const

const HUB_TICKET = `partyline-hub:${ID}?a=192.168.50.254:5223&n=lanparty`

const HUB_EXAMPLE = {
  running: true,
  name: 'lanparty',
  domain: 'hub-lanparty.local',
  port: 5223,
  addresses: ['192.168.50.254'],
  fingerprint: '3f:9a:…',
  certificate: '/var/lib/partyline/hub.pem',
  people: [],
  hubs: [],
} as const

const SETTING_EXAMPLE = {
  key: 'port',
  value: 47800,
  isDefault: true,
  type: 'integer',
  unit: '',
  range: '1 to 65535',
  about: 'TCP and UDP port; another is picked and advertised if it is taken.',
} as const

export const METHODS = {
  hello: {
    about:
      'First call on every connection: who calls, and in which protocol version. On the socket of a machine that its users share, an app that tells its `uid` gets the path of a `socket` to which only that user can connect, and goes on there: only apps of one user there see the same channels.',
    who: 'app',
    params: z.object({
      app: z.string().min(1).max(64),
      protocol: z.number().int(),
      uid: z.number().int().min(0).max(MAX_UID).optional(),
    }),
    result: z.object({
      version: z.string(),
      protocol: z.number().int(),
      id: peerId,
      features: z.array(z.string()),
      socket: z.string().optional(),
    }),
    errors: ['usage.protocol'],
    example: {
      params: { app: 'chess', protocol: 1 },
      result: { version: '0.1.0', protocol: 1, id: ID, features: ['messages', 'streams', 'files', 'chat'] },
    },
  },
  'daemon.status': {
    about: 'This host: its interfaces, discovery per method and interface, what was refused.',
    who: 'app',
    params: empty,
    result: status,
    errors: [],
    example: { params: {}, result: { version: '0.1.0', id: ID, name: 'anna-laptop', port: 47800 } },
  },
  'daemon.stop': {
    about: 'Says goodbye to everyone and ends the daemon.',
    who: 'owner',
    params: empty,
    result: empty,
    errors: ['policy.owner-only'],
    example: { params: {}, result: {} },
  },
  'identity.get': {
    about: "This host's peer id, name and fingerprint words.",
    who: 'app',
    params: empty,
    result: z.object({ id: peerId, name: z.string(), words: z.array(z.string()) }),
    errors: [],
    example: { params: {}, result: { id: ID, name: 'anna-laptop', words: ['amber', 'canyon', 'lotus', 'piano'] } },
  },
  'events.subscribe': {
    about: 'Sends events of these topics on this connection, each with a sequence number.',
    who: 'app',
    params: z.object({
      topics: z
        .array(
          z.enum([
            'peers',
            'accounts',
            'sessions',
            'network',
            'files',
            'chat',
            'streams',
            'presence',
            'hub',
            'invites',
            'requests',
            'relay',
            'statistics',
          ]),
        )
        .min(1)
        .max(16),
    }),
    result: z.object({ seq: count.describe('Sequence number of the last event before these.') }),
    errors: [],
    example: { params: { topics: ['peers'] }, result: { seq: 0 } },
  },
  'events.unsubscribe': {
    about: 'Stops events of these topics.',
    who: 'app',
    params: z.object({ topics: z.array(z.string()).min(1).max(16) }),
    result: empty,
    errors: [],
    example: { params: { topics: ['peers'] }, result: {} },
  },
  'peers.list': {
    about: 'Everyone who is there, and everyone trusted or named who is away.',
    who: 'app',
    params: empty,
    result: z.array(peer),
    errors: [],
    example: { params: {}, result: [PEER_EXAMPLE] },
  },
  'peers.get': {
    about: 'One peer.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: peer,
    errors: peerErrors,
    example: { params: { peer: 'anna-laptop' }, result: PEER_EXAMPLE },
  },
  'peers.name': {
    ...peerChange,
    about: 'Gives a peer a petname, which wins over every name it gives itself; empty takes it away.',
    params: z.object({ peer: peerArg, petname: z.string().max(63) }),
    errors: [...peerErrors, 'policy.owner-only', 'usage.invalid-argument'],
    example: { params: { peer: 'anna-laptop', petname: 'anna' }, result: { ...PEER_EXAMPLE, petname: 'anna' } },
  },
  'peers.trust': {
    ...peerChange,
    about: 'Trusts a peer; also takes a block back.',
    params: z.object({ peer: peerArg }),
    example: { params: { peer: 'anna' }, result: { ...PEER_EXAMPLE, trust: 'trusted' } },
  },
  'peers.block': {
    ...peerChange,
    about: 'Blocks a peer: its session is closed and it gets no other.',
    params: z.object({ peer: peerArg }),
    example: { params: { peer: 'anna' }, result: { ...PEER_EXAMPLE, trust: 'blocked' } },
  },
  'peers.forget': {
    ...peerChange,
    about: 'Forgets petname, trust and addresses of a peer; it is new when seen again.',
    params: z.object({ peer: peerArg }),
    result: empty,
    example: { params: { peer: 'anna' }, result: {} },
  },
  'peers.verify': {
    about: 'Words to compare aloud: both hosts show the same ones for each other.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: z.object({ peer: peerId, words: z.array(z.string()) }),
    errors: peerErrors,
    example: { params: { peer: 'anna' }, result: { peer: ID, words: ['amber', 'canyon', 'lotus', 'piano'] } },
  },
  'sessions.open': {
    about: 'Opens a session to a peer, or finds the one there is.',
    who: 'app',
    params: z.object({
      peer: peerArg,
      timeout: z.number().int().min(100).max(120_000).optional(),
      hold: z.boolean().optional().describe('Keeps it from closing as unused while this connection lives.'),
    }),
    result: session.extend({ elapsed: milliseconds }),
    errors: reachErrors,
    example: {
      params: { peer: 'anna' },
      result: { peer: ID, route: 'lan', carrier: 'tcp', group: 'X25519MLKEM768', elapsed: 9.4 },
    },
  },
  'sessions.close': {
    about: 'Closes the session to a peer; it sees the reason.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: z.object({ closed: z.boolean().describe('False when there was none.') }),
    errors: peerErrors,
    example: { params: { peer: 'anna' }, result: { closed: true } },
  },
  'sessions.list': {
    about: 'The sessions there are.',
    who: 'app',
    params: empty,
    result: z.array(session),
    errors: [],
    example: { params: {}, result: [] },
  },
  'sessions.ping': {
    about: 'One round trip to the daemon of a peer, over its session.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: z.object({ rtt: milliseconds, route: z.string() }),
    errors: reachErrors,
    example: { params: { peer: 'anna' }, result: { rtt: 0.31, route: 'lan' } },
  },
  'sessions.statistics': {
    about: 'Measurements of a session: round trip, loss, quality, rates, queues, lanes, routes.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: statistics,
    errors: [...peerErrors, 'network.no-session'],
    example: {
      params: { peer: 'anna' },
      result: { rtt: { latest: 0.31, smoothed: 0.29, minimum: 0.2, jitter: 0.02 } },
    },
  },
  'sessions.paths': {
    about: 'Every path to a peer that was tried beside its known addresses, best first, and why it is used or not.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: z.array(path),
    errors: peerErrors,
    example: {
      params: { peer: 'anna' },
      result: [
        {
          to: '198.51.100.7:47800',
          via: '',
          local: 'srflx',
          remote: 'srflx',
          state: 'succeeded',
          used: true,
          rtt: 31.2,
          loss: 0,
          mtu: 1452,
          reason: 'the best that works',
        },
      ],
    },
  },
  'sessions.fake': {
    about:
      'Makes the network of a session worse than it is, for app developers; without `out` and `in` it is itself again.',
    who: 'owner',
    params: z.object({
      peer: peerArg,
      out: fakeDirection.partial().optional(),
      in: fakeDirection.partial().optional(),
    }),
    result: z.object({ fake: fakeNetwork.nullable() }),
    errors: [...peerErrors, 'network.no-session', 'policy.owner-only'],
    example: { params: { peer: 'anna', out: { loss: 0.05, delay: 80 } }, result: { fake: null } },
  },
  'metrics.read': {
    about: 'Metrics of the daemon and its sessions, in the Prometheus text format.',
    who: 'app',
    params: empty,
    result: z.object({ contentType: z.string(), text: z.string() }),
    errors: [],
    example: {
      params: {},
      result: { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: 'partyline_sessions 2\n' },
    },
  },
  'messages.send': {
    about:
      'Sends a message on a channel, opening a session on demand; answers when an app at the peer has it. The peer counts as accepted by this connection.',
    who: 'app',
    params: z.object({
      peer: peerArg,
      channel: name,
      data: payload,
      reliable: z.boolean().optional(),
      lane: z.number().int().min(0).max(15).optional(),
      now: z.boolean().optional().describe('Unreliable only: dropped when it cannot leave within a few milliseconds.'),
      nodelay: z.boolean().optional().describe('Leaves at once, with what was gathered before it.'),
      restart: z
        .boolean()
        .optional()
        .describe(
          'Opens a new session and sends again, up to 8 times in a minute, when the session ends before the word of the peer came. It then may arrive twice. Reliable only.',
        ),
    }),
    result: z.object({
      sent: z.boolean().describe('False when an unreliable message was dropped before it left.'),
      number: count.describe('Number in its lane, from 1.'),
      via: z.enum(['link', 'datagram']),
    }),
    errors: [
      ...reachErrors,
      'usage.too-large',
      'peer.no-listener',
      'peer.not-accepted',
      'peer.busy',
      'peer.restarted',
      'local.limit',
    ],
    example: {
      params: { peer: 'anna', channel: 'chess', data: 'e2e4' },
      result: { sent: true, number: 1, via: 'link' },
    },
  },
  'messages.lanes': {
    about:
      "Sets the lanes of this connection's messages to a peer, in this session and later ones: strict priorities, and weights among equal ones.",
    who: 'app',
    params: z.object({
      peer: peerArg,
      lanes: z
        .array(
          z.object({
            priority: z.number().int().min(0).max(255).describe('Lower goes first, whatever waits in others.'),
            weight: z.number().int().min(1).max(65_535).describe('Share of the bytes among lanes of its priority.'),
          }),
        )
        .max(16),
      gather: z
        .number()
        .min(0)
        .max(50)
        .optional()
        .describe('How long small messages wait for others, in ms; 0 by default.'),
    }),
    result: empty,
    errors: [...peerErrors, 'local.limit'],
    example: {
      params: {
        peer: 'anna',
        lanes: [
          { priority: 0, weight: 1 },
          { priority: 1, weight: 1 },
        ],
      },
      result: {},
    },
  },
  'messages.flush': {
    about: 'Sends at once what was gathered for a peer.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: empty,
    errors: [...peerErrors],
    example: { params: { peer: 'anna' }, result: {} },
  },
  'messages.accept': {
    about:
      'Answers a `messages.request`: this connection takes the messages of the peer from now on; what waits comes first.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: empty,
    errors: [...peerErrors],
    example: { params: { peer: 'anna' }, result: {} },
  },
  'messages.refuse': {
    about:
      'Answers a `messages.request`: this connection takes no messages of the peer from now on; its sender is told.',
    who: 'app',
    params: z.object({ peer: peerArg }),
    result: empty,
    errors: [...peerErrors],
    example: { params: { peer: 'anna' }, result: {} },
  },
  'messages.listen': {
    about:
      'Takes the messages of a channel on this connection, as `messages.received` notifications. Where several connections listen, each gets every message it has room for, and it is delivered when one has it.',
    who: 'app',
    params: z.object({
      channel: name,
      accept: z
        .enum(['all', 'trusted', 'ask'])
        .optional()
        .describe(
          'From whom without asking: `all` (default), or trusted peers only; with `ask` the first message of each peer is a `messages.request`.',
        ),
    }),
    result: empty,
    errors: ['usage.invalid-argument', 'local.limit', 'policy.other-user'],
    example: { params: { channel: 'chess' }, result: {} },
  },
  'messages.unlisten': {
    about: 'Stops taking the messages of a channel.',
    who: 'app',
    params: z.object({ channel: name }),
    result: empty,
    errors: [],
    example: { params: { channel: 'chess' }, result: {} },
  },
  'streams.open': {
    about: 'Opens a byte stream to a service of a peer. After the answer the connection is the stream.',
    who: 'app',
    params: z.object({ peer: peerArg, service: name, meta: z.string().max(1024).optional() }),
    result: z.object({ stream: z.string(), peer: peerId }),
    errors: [...reachErrors, 'peer.no-service', 'peer.busy'],
    example: { params: { peer: 'anna', service: 'files' }, result: { stream: 's7', peer: ID } },
    raw: true,
  },
  'streams.accept': {
    about:
      'Waits for a stream to a service, or until the app closes its side. After the answer the connection is the stream.',
    who: 'app',
    params: z.object({ service: name }),
    result: z.object({ stream: z.string(), peer: peerId, meta: z.string() }),
    errors: ['usage.invalid-argument', 'local.limit', 'local.stopping', 'policy.other-user'],
    example: { params: { service: 'files' }, result: { stream: 's7', peer: ID, meta: '' } },
    raw: true,
    waits: true,
  },
  'streams.outcome': {
    about: 'How a stream ended: clean when each side got every byte the other wrote. Waits for its end.',
    who: 'app',
    params: z.object({
      stream: z.string().max(64),
      side: z
        .enum(['both', 'incoming'])
        .optional()
        .describe('Wait for the whole stream, or for what the peer writes only.'),
    }),
    result: z.object({
      clean: z.boolean(),
      sent: count,
      received: count,
      unconfirmed: count.describe('Bytes sent that the peer may not have.'),
      error: z.string().nullable(),
    }),
    errors: ['usage.invalid-argument'],
    example: {
      params: { stream: 's7' },
      result: { clean: true, sent: 5, received: 1024, unconfirmed: 0, error: null },
    },
  },
  'files.offer': {
    about: 'Offers files to a peer. The offer stands while this connection does; the same id offers it again.',
    who: 'app',
    params: z.object({
      peer: peerArg,
      offer: offerId.optional(),
      name: z.string().min(1).max(255),
      files: count,
      bytes: count,
    }),
    result: offer,
    errors: [...reachErrors, 'local.limit', 'peer.busy'],
    example: {
      params: { peer: 'anna', name: 'photos', files: 12, bytes: 48_211_004 },
      result: { ...OFFER_EXAMPLE, direction: 'out' },
    },
  },
  'files.list': {
    about: 'The offers there are, in both directions.',
    who: 'app',
    params: empty,
    result: z.array(offer),
    errors: [],
    example: { params: {}, result: [OFFER_EXAMPLE] },
  },
  'files.accept': {
    about: 'Takes an offer; its files can then be fetched.',
    who: 'app',
    params: z.object({ offer: offerId }),
    result: offer,
    errors: ['peer.no-offer', ...reachErrors, 'policy.other-user'],
    example: { params: { offer: OFFER_EXAMPLE.offer }, result: { ...OFFER_EXAMPLE, state: 'accepted' } },
  },
  'files.refuse': {
    about: 'Refuses an offer.',
    who: 'app',
    params: z.object({ offer: offerId }),
    result: empty,
    errors: ['peer.no-offer', 'policy.other-user'],
    example: { params: { offer: OFFER_EXAMPLE.offer }, result: {} },
  },
  'files.withdraw': {
    about: 'Takes an own offer back.',
    who: 'app',
    params: z.object({ offer: offerId }),
    result: empty,
    errors: ['peer.no-offer', 'policy.other-user'],
    example: { params: { offer: OFFER_EXAMPLE.offer }, result: {} },
  },
  'files.fetch': {
    about: "Opens a stream to an offer's sender. After the answer the connection is the stream.",
    who: 'app',
    params: z.object({
      offer: offerId,
      meta: z.string().max(1024).describe('What is asked for; the sender app reads it.'),
    }),
    result: z.object({ stream: z.string(), peer: peerId }),
    errors: ['peer.no-offer', 'peer.no-service', ...reachErrors, 'policy.other-user'],
    example: {
      params: { offer: OFFER_EXAMPLE.offer, meta: '{"file":0,"offset":0}' },
      result: { stream: 's8', peer: ID },
    },
    raw: true,
  },
  'files.serve': {
    about:
      'Waits until the receiver of an own offer asks for something. After the answer the connection is the stream.',
    who: 'app',
    params: z.object({ offer: offerId }),
    result: z.object({ stream: z.string(), peer: peerId, meta: z.string() }),
    errors: ['peer.no-offer', 'local.stopping', 'policy.other-user'],
    example: {
      params: { offer: OFFER_EXAMPLE.offer },
      result: { stream: 's8', peer: ID, meta: '{"file":0,"offset":0}' },
    },
    raw: true,
    waits: true,
  },
  'files.finish': {
    about: 'Tells the sender how an accepted offer ended: everything arrived and was checked, or not.',
    who: 'app',
    params: z.object({ offer: offerId, ok: z.boolean() }),
    result: empty,
    errors: ['peer.no-offer', ...reachErrors, 'policy.other-user'],
    example: { params: { offer: OFFER_EXAMPLE.offer, ok: true }, result: {} },
  },
  'chat.send': {
    about:
      'Sends a chat line to a peer: through the encrypted session, sealed through a hub where there is no way to one, and in the clear to plain XMPP clients.',
    who: 'app',
    params: z.object({ peer: peerArg, text: z.string().min(1).max(4096) }),
    result: chatLine,
    errors: [...reachErrors, 'usage.invalid-argument', 'usage.too-large'],
    example: {
      params: { peer: 'anna', text: 'ready?' },
      result: { peer: ID, direction: 'out', text: 'ready?', at: 1_795_400_000_000, encrypted: true, via: 'session' },
    },
  },
  'chat.history': {
    about: 'The last chat lines, oldest first, of one peer or of all.',
    who: 'app',
    params: z.object({ peer: peerArg.optional(), limit: z.number().int().min(1).max(1000).optional() }),
    result: z.array(chatLine),
    errors: peerErrors,
    example: { params: { peer: 'anna', limit: 10 }, result: [] },
  },
  'chat.compose': {
    about: 'Tells somebody with a plain XMPP client that the user is writing, or stopped (XEP-0085); best effort.',
    who: 'app',
    params: z.object({ peer: peerArg, composing: z.boolean() }),
    result: empty,
    errors: peerErrors,
    example: { params: { peer: 'xmpp:ben@h2', composing: true }, result: {} },
  },
  'presence.set': {
    about: 'Tells everyone on the LAN and at the hubs whether the user wants to be talked to.',
    who: 'app',
    params: z.object({ show: presence.shape.show, text: z.string().max(255).optional() }),
    result: presence,
    errors: ['usage.invalid-argument'],
    example: { params: { show: 'away', text: 'at lunch' }, result: { show: 'away', text: 'at lunch' } },
  },
  'presence.get': {
    about: "This host's presence.",
    who: 'app',
    params: empty,
    result: presence,
    errors: [],
    example: { params: {}, result: { show: 'available', text: '' } },
  },
  'hub.start': {
    about: "Makes this host the LAN's XMPP server until it is stopped or the daemon ends.",
    who: 'owner',
    params: z.object({ name: z.string().min(1).max(40).optional() }),
    result: hubStatus,
    errors: ['policy.owner-only', 'usage.invalid-argument', 'local.port-taken'],
    example: { params: { name: 'lanparty' }, result: HUB_EXAMPLE },
  },
  'hub.stop': {
    about: 'Ends the hub of this host; it keeps nothing.',
    who: 'owner',
    params: empty,
    result: empty,
    errors: ['policy.owner-only', 'local.no-hub'],
    example: { params: {}, result: {} },
  },
  'hub.status': {
    about: 'The hub of this host, and the hubs it has joined, with who is there.',
    who: 'app',
    params: empty,
    result: hubStatus,
    errors: [],
    example: { params: {}, result: HUB_EXAMPLE },
  },
  'hub.pin': {
    about: "What to log in to this host's hub with; changes the PIN when told to.",
    who: 'owner',
    params: z.object({
      change: z.boolean().optional().describe('True for a new random PIN, unless `pin` gives one.'),
      pin: z
        .string()
        .regex(/^[0-9]{6,12}$/)
        .optional(),
    }),
    result: hubDoor,
    errors: ['policy.owner-only', 'local.no-hub'],
    example: { params: {}, result: { pin: '271828', ticket: HUB_TICKET } },
  },
  'hub.join': {
    about: 'Joins the hub at an address (`IP` or `IP:PORT`) or of a ticket; remembered until it is left.',
    who: 'owner',
    params: z.object({ hub: z.string().min(1).max(1024) }),
    result: hubStatus,
    errors: ['policy.owner-only', 'usage.invalid-argument', 'local.limit'],
    example: { params: { hub: '192.168.50.254' }, result: HUB_EXAMPLE },
  },
  'hub.leave': {
    about: 'Leaves a hub, by its name, address or ticket, and forgets it.',
    who: 'owner',
    params: z.object({ hub: z.string().min(1).max(1024) }),
    result: hubStatus,
    errors: ['policy.owner-only', 'local.no-hub'],
    example: { params: { hub: 'lanparty' }, result: HUB_EXAMPLE },
  },
  'doctor.run': {
    about:
      'Looks for what is wrong with this host, or between it and a peer, and says how to mend it. Needs no internet.',
    who: 'app',
    params: z.object({ peer: peerArg.optional() }),
    result: z.object({ checks: z.array(check) }),
    errors: peerErrors,
    example: {
      params: {},
      result: {
        checks: [
          {
            id: 'interfaces',
            code: 'ok',
            status: 'ok',
            title: 'Network interfaces',
            detail: 'eth0 (cable) takes part.',
            fix: '',
          },
        ],
      },
    },
  },
  'settings.list': {
    about: 'Every setting with its value, default, range and meaning.',
    who: 'app',
    params: empty,
    result: z.array(setting),
    errors: [],
    example: { params: {}, result: [SETTING_EXAMPLE] },
  },
  'settings.set': {
    about: 'Changes a setting and writes it down; tells whether a restart is needed.',
    who: 'owner',
    params: z.object({
      key: z.string().max(64),
      value: z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]),
    }),
    result: z.object({ setting, restart: z.boolean() }),
    errors: ['usage.unknown-setting', 'usage.invalid-setting', 'policy.owner-only'],
    example: { params: { key: 'port', value: 47800 }, result: { setting: SETTING_EXAMPLE, restart: true } },
  },
  'settings.reset': {
    about: 'Puts a setting back to its default.',
    who: 'owner',
    params: z.object({ key: z.string().max(64) }),
    result: z.object({ setting, restart: z.boolean() }),
    errors: ['usage.unknown-setting', 'policy.owner-only'],
    example: { params: { key: 'port' }, result: { setting: SETTING_EXAMPLE, restart: true } },
  },
  ...accountMethods,
  ...friendMethods,
  ...inviteMethods,
  ...relayMethods,
  ...policyMethods,
  ...reportMethods,
} as const satisfies Record<string, MethodEntry>

export type MethodName = keyof typeof METHODS
export type Params<M extends MethodName> = z.input<(typeof METHODS)[M]['params']>
export type ParsedParams<M extends MethodName> = z.output<(typeof METHODS)[M]['params']>
export type Result<M extends MethodName> = z.output<(typeof METHODS)[M]['result']>

interface EventEntry {
  readonly topic: string
  readonly about: string
  readonly params: z.ZodObject
}

/** Events: notifications named as here, with `seq` beside these fields. */
export const EVENTS = {
  'peers.changed': {
    topic: 'peers',
    about: 'A peer appeared, or something about it changed.',
    params: z.object({ peer }),
  },
  'peers.gone': {
    topic: 'peers',
    about: 'A peer left, or was forgotten.',
    params: z.object({ id: anyId, name: z.string() }),
  },
  'sessions.opened': {
    topic: 'sessions',
    about: 'A session opened, whoever asked for it.',
    params: z.object({ session }),
  },
  'sessions.closed': {
    topic: 'sessions',
    about: 'A session ended, and why.',
    params: z.object({ peer: peerId, code: z.string(), message: z.string(), by: z.enum(['local', 'peer', 'network']) }),
  },
  'sessions.changed': {
    topic: 'sessions',
    about: 'A session lost its link, resumed on another, or changed its route, and why.',
    params: z.object({ session, from: z.string().nullable(), to: z.string().nullable(), reason: z.string() }),
  },
  'sessions.stalled': {
    topic: 'sessions',
    about: "A peer's traffic stops and bursts in a regular pattern, as a switch in the cable makes it.",
    params: z.object({ peer: peerId, stall }),
  },
  'sessions.measured': {
    topic: 'statistics',
    about: 'Measurements of a session, each second.',
    params: z.object({ peer: peerId, statistics }),
  },
  'network.changed': {
    topic: 'network',
    about: 'Interfaces came, went or changed, or the machine woke from sleep.',
    params: z.object({
      appeared: z.array(z.string()),
      vanished: z.array(z.string()),
      altered: z.array(z.string()),
      slept: milliseconds,
    }),
  },
  'streams.closed': {
    topic: 'streams',
    about: 'A stream ended.',
    params: z.object({ stream: z.string(), peer: peerId, service: z.string(), clean: z.boolean() }),
  },
  'files.changed': { topic: 'files', about: 'An offer came, or its state changed.', params: z.object({ offer }) },
  'chat.received': {
    topic: 'chat',
    about: 'A chat line, received or sent by another app here.',
    params: z.object({ line: chatLine }),
  },
  'chat.state': {
    topic: 'chat',
    about: 'Somebody is writing, or stopped (XEP-0085).',
    params: z.object({ peer: anyId, composing: z.boolean() }),
  },
  'presence.changed': {
    topic: 'presence',
    about: "This host's own presence changed.",
    params: presence,
  },
  'accounts.changed': {
    topic: 'accounts',
    about: 'An XMPP account came online or went, or was added or removed.',
    params: empty,
  },
  'hub.changed': {
    topic: 'hub',
    about: 'The hub of this host started or stopped, a hub was joined or lost, or somebody there came or went.',
    params: empty,
  },
  'relay.changed': {
    topic: 'relay',
    about: 'This host began or ended to relay, for somebody or at all.',
    params: empty,
  },
  'invites.changed': {
    topic: 'invites',
    about: 'An invitation was given out, used or taken back.',
    params: empty,
  },
  'requests.changed': {
    topic: 'requests',
    about: 'A peer asks to be let in, or does no more.',
    params: empty,
  },
  'invites.joined': {
    topic: 'invites',
    about: 'Somebody joined by an invitation, here or there: both trust each other.',
    params: z.object({ id: z.string().describe('Of the invitation.'), peer: peerId, name: z.string() }),
  },
} as const satisfies Record<string, EventEntry>

export type EventName = keyof typeof EVENTS
export type EventParams<E extends EventName> = z.output<(typeof EVENTS)[E]['params']>
export type Topic = (typeof EVENTS)[EventName]['topic']

/** Notifications that are no events: no topic, no sequence number. */
export const NOTIFICATIONS = {
  'messages.received': {
    about: 'A message on a channel this connection listens to. JSON carries `text` or `base64`, MessagePack `data`.',
    params: z.object({
      from: peerId,
      channel: z.string(),
      text: z.string().optional(),
      base64: z.string().optional(),
      data: z.instanceof(Uint8Array).optional(),
      reliable: z.boolean(),
      lane: count,
      number: count,
      via: z.enum(['link', 'datagram']),
      at: z.number().describe('Unix milliseconds.'),
    }),
  },
  'messages.request': {
    about: 'A peer this app has not accepted sent a first message; answer with `messages.accept` or `messages.refuse`.',
    params: z.object({ from: peerId, name: z.string(), channel: z.string(), expires: milliseconds }),
  },
  'events.lost': {
    about: 'This connection read too slowly: so many events were left out after sequence number `seq`.',
    params: z.object({ seq: count, lost: count }),
  },
} as const

/** What a daemon answers a call with, by method; `M` of a raw method comes with a stream (see `ipc/server.ts`). */
export type PeerView = z.output<typeof peer>
export type StatisticsView = z.output<typeof statistics>
export type PathView = z.output<typeof path>
export type SessionView = z.output<typeof session>
export type OfferView = z.output<typeof offer>
export type HubStatus = z.output<typeof hubStatus>
export type HubPerson = z.output<typeof hubPerson>
export type DoctorCheck = z.output<typeof check>
export type ChatLine = z.output<typeof chatLine>
export type SettingView = z.output<typeof setting>
export type StatusView = z.output<typeof status>
