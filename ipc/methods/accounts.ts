import * as z from 'zod'
import { empty, type MethodEntry, milliseconds } from './shapes.ts'

const jid = z.string().min(3).max(256).describe('Bare address, anna@example.org.')

const account = z.object({
  jid,
  state: z
    .enum(['connecting', 'online', 'waiting', 'failed', 'off'])
    .describe('`waiting`: tried again by itself. `failed`: the server refuses it.'),
  detail: z.string().describe('Why it is not online; empty while it is.'),
  server: z.string().describe('Where it is logged in, or was last; empty for nowhere yet.'),
  rtt: milliseconds.nullable().describe('Of a question to the server.'),
  services: z.array(z.string()).describe('STUN and TURN servers that its server knows of (XEP-0215).'),
})

const EXAMPLE = {
  jid: 'anna@example.org',
  state: 'online',
  detail: '',
  server: 'xmpp.example.org:5223',
  rtt: 31,
  services: ['stun:turn.example.org:3478', 'turn:turn.example.org'],
} as const

/** XMPP accounts on the internet. */
export const accountMethods = {
  'accounts.list': {
    about: 'The XMPP accounts that carry signals of this host over the internet.',
    who: 'owner',
    params: empty,
    result: z.array(account),
    errors: ['policy.owner-only'],
    example: { params: {}, result: [EXAMPLE] },
  },
  'accounts.add': {
    about: 'Logs in to an XMPP account, and at every start from then on; only if the log-in works now.',
    who: 'owner',
    params: z.object({
      jid,
      password: z.string().min(1).max(1024),
      server: z.string().max(256).optional().describe('HOST or HOST:PORT in the place of what DNS says.'),
      ca: z
        .string()
        .max(65_536)
        .optional()
        .describe("Certificates (PEM) that the server's may be signed by, beside the system's."),
    }),
    result: z.array(account),
    errors: [
      'policy.owner-only',
      'usage.invalid-argument',
      'local.limit',
      'peer.not-authorized',
      'peer.bad-certificate',
      'peer.wrong-protocol',
      'network.unreachable',
      'network.timeout',
    ],
    example: { params: { jid: 'anna@example.org', password: '…' }, result: [EXAMPLE] },
  },
  'accounts.remove': {
    about: 'Logs out of an XMPP account and forgets it.',
    who: 'owner',
    params: z.object({ jid }),
    result: z.array(account),
    errors: ['policy.owner-only', 'local.no-account'],
    example: { params: { jid: 'anna@example.org' }, result: [] },
  },
} as const satisfies Record<string, MethodEntry>
