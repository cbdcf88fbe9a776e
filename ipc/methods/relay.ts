import * as z from 'zod'
import { count, empty, ID, type MethodEntry, milliseconds, peerArg, peerErrors, peerId } from './shapes.ts'

const flow = z.object({
  packets: count,
  bytes: count,
  rate: z.number().nonnegative().describe('Bits a second, in the last second.'),
})

const relayStatus = z.object({
  running: z
    .boolean()
    .describe('True after `relay.start`: anybody may ask at its ports, and trusted peers are served.'),
  friends: z.boolean().describe("True while trusted peers are served at the daemon's own port."),
  listeners: z.array(z.object({ transport: z.enum(['udp', 'tcp', 'tls']), port: count })),
  addresses: z.array(z.string()).describe('Where others reach it, and what its relayed addresses are.'),
  allocations: count,
  limits: z.object({ allocations: count, perPeer: count, bandwidth: count, totalBandwidth: count }),
  peers: z
    .array(
      z.object({
        peer: peerId,
        name: z.string(),
        allocations: count,
        sent: flow.describe('From the peer to others.'),
        received: flow.describe('From others to the peer.'),
        dropped: count.describe('Packets that were more than the bandwidth allows.'),
      }),
    )
    .describe('Everyone this host relays or has relayed for, since it began.'),
})

const STATUS = {
  running: true,
  friends: true,
  listeners: [{ transport: 'udp' as const, port: 3478 }],
  addresses: ['203.0.113.5'],
  allocations: 1,
  limits: { allocations: 500, perPeer: 10, bandwidth: 25_000_000, totalBandwidth: 100_000_000 },
  peers: [
    {
      peer: ID,
      name: 'anna-laptop',
      allocations: 1,
      sent: { packets: 1204, bytes: 1_300_400, rate: 96_000 },
      received: { packets: 998, bytes: 88_000, rate: 6400 },
      dropped: 0,
    },
  ],
}

/** A relay of one's own, and those of friends. */
export const relayMethods = {
  'relay.start': {
    about: 'Makes this host a STUN and TURN server for its trusted peers, until it is stopped or the daemon ends.',
    who: 'owner',
    params: empty,
    result: relayStatus,
    errors: ['policy.owner-only', 'local.port-taken', 'local.file', 'local.permission', 'network.none'],
    example: { params: {}, result: STATUS },
  },
  'relay.stop': {
    about: 'Ends it, and the relayed addresses that were had from its ports.',
    who: 'owner',
    params: empty,
    result: empty,
    errors: ['policy.owner-only', 'local.no-relay'],
    example: { params: {}, result: {} },
  },
  'relay.status': {
    about: 'Whether this host relays, for whom, and how much.',
    who: 'app',
    params: empty,
    result: relayStatus,
    errors: [],
    example: { params: {}, result: STATUS },
  },
  'relay.credentials': {
    about:
      'Credentials with which a trusted peer may relay here, for a time; hosts in a session are given theirs anyway.',
    who: 'owner',
    params: z.object({
      peer: peerArg,
      lifetime: milliseconds
        .min(60_000)
        .max(31 * 86_400_000)
        .optional()
        .describe('A day unless told.'),
    }),
    result: z.object({
      username: z.string(),
      password: z.string(),
      expires: z.number().describe('Unix milliseconds.'),
      urls: z.array(z.string()).describe('Where, as RFC 7065 writes it.'),
      servers: z.array(z.string()).describe('The same with name and password, for setting `nat.turn`.'),
    }),
    errors: [...peerErrors, 'policy.owner-only', 'policy.not-trusted', 'local.no-relay'],
    example: {
      params: { peer: 'anna-laptop' },
      result: {
        username: `1795086400:${ID}`,
        password: 'dG9wIHNlY3JldCBwYXNzd29yZA==',
        expires: 1_795_086_400_000,
        urls: ['turn:203.0.113.5'],
        servers: [`turn:1795086400%3A${ID}:dG9wIHNlY3JldCBwYXNzd29yZA%3D%3D@203.0.113.5`],
      },
    },
  },
} as const satisfies Record<string, MethodEntry>
