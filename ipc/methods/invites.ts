import * as z from 'zod'
import { ways } from '../../daemon/peers/ways.ts'
import { count, empty, ID, type MethodEntry, milliseconds, peerId } from './shapes.ts'

/** As text: `partyline:` and base32. */
const TICKET = 'partyline:aeaacuzq2f5o6yx3kq7c'
const ticket = z.string().min(1).max(8192).describe('The text of a ticket.')
const seconds = z.number().int().nonnegative().describe('Unix seconds.')

const invitation = z.object({
  id: z.string(),
  state: z.enum(['open', 'used', 'expired', 'revoked']),
  created: seconds,
  expires: seconds,
  uses: count.describe('How often it is good, all in all.'),
  joined: z.array(peerId).describe('Who has used it.'),
  for: z.string().describe('The peer id of the only host that may use it; empty for any.'),
  petname: z.string().describe('What the joiner is to be called here; empty for what it calls itself.'),
})

const joined = z.object({ state: z.literal('joined'), peer: peerId, name: z.string(), petname: z.string() })

const INVITATION = {
  id: 'mfzwizlnn5xgk',
  state: 'open' as const,
  created: 1_795_000_000,
  expires: 1_795_086_400,
  uses: 1,
  joined: [],
  for: '',
  petname: '',
}
const JOINED = { state: 'joined' as const, peer: ID, name: 'anna-laptop', petname: 'anna-laptop' }

/** What a ticket may be refused for before anybody is asked, and by the host that gave it out. */
const ticketErrors = [
  'usage.bad-ticket',
  'usage.invalid-argument',
  'peer.bad-signature',
  'policy.ticket-expired',
  'policy.ticket-not-for-you',
  'policy.ticket-used',
  'policy.ticket-revoked',
  'policy.owner-only',
  'local.limit',
] as const

/** Tickets: inviting and joining. */
export const inviteMethods = {
  'invites.create': {
    about: 'Makes a ticket; whoever joins with it is trusted, and trusts this host.',
    who: 'owner',
    params: z.object({
      uses: z.number().int().min(1).max(64).optional().describe('1 unless told.'),
      lifetime: milliseconds
        .min(1000)
        .max(366 * 86_400_000)
        .optional()
        .describe('A day unless told; ten minutes for an offer by hand, and an hour at most.'),
      for: peerId.optional().describe('The only host that may use it.'),
      petname: z.string().max(256).optional().describe('What the joiner is to be called here.'),
      offline: z
        .boolean()
        .optional()
        .describe('An offer by hand, which needs no server but an answer (`invites.answer`).'),
    }),
    result: z.object({
      id: z.string(),
      ticket,
      expires: seconds,
      uses: count,
      outside: z.boolean().describe('False where nothing in it works from beyond the networks of this host.'),
      ways: ways.describe('How it says that this host may be reached.'),
    }),
    errors: ['usage.invalid-argument', 'policy.owner-only', 'local.limit', 'local.file', 'network.no-path'],
    example: {
      params: { uses: 1, lifetime: 86_400_000 },
      result: {
        id: 'mfzwizlnn5xgk',
        ticket: TICKET,
        expires: 1_795_086_400,
        uses: 1,
        outside: true,
        ways: { accounts: ['anna@example.org'], hubs: [], addresses: [{ address: '192.168.50.2', port: 47800 }] },
      },
    },
  },
  'invites.list': {
    about: 'The invitations given out, the newest first.',
    who: 'owner',
    params: empty,
    result: z.array(invitation),
    errors: ['policy.owner-only'],
    example: { params: {}, result: [INVITATION] },
  },
  'invites.revoke': {
    about: 'Takes an invitation back; who has joined by it stays trusted.',
    who: 'owner',
    params: z.object({ id: z.string().min(1).max(64).describe('Its id, or a prefix of at least 4 characters.') }),
    result: invitation,
    errors: ['policy.owner-only', 'local.no-invitation', 'local.file'],
    example: { params: { id: 'mfzw' }, result: { ...INVITATION, state: 'revoked' } },
  },
  'invites.join': {
    about: 'Meets the host that a ticket is of. For an offer by hand it gives the answer to take back, and goes on.',
    who: 'owner',
    params: z.object({
      ticket,
      petname: z.string().max(256).optional().describe('What the inviter is to be called here.'),
      timeout: milliseconds.max(600_000).optional().describe('How long it is looked for; 30 s unless told.'),
    }),
    result: z.discriminatedUnion('state', [
      joined,
      z.object({
        state: z.literal('answer'),
        peer: peerId,
        name: z.string(),
        petname: z.string(),
        answer: ticket,
        expires: seconds,
      }),
    ]),
    errors: [...ticketErrors, 'policy.refused', 'policy.blocked', 'network.unreachable', 'network.no-path'],
    example: { params: { ticket: TICKET }, result: JOINED },
  },
  'invites.wait': {
    about: 'Resolves once a host that is being joined by hand has been met.',
    who: 'owner',
    params: z.object({ peer: peerId }),
    result: joined,
    errors: ['policy.owner-only', 'peer.not-found', 'network.unreachable', 'policy.refused'],
    example: { params: { peer: ID }, result: JOINED },
  },
  'invites.answer': {
    about: 'Takes the answer to an offer by hand, and meets who gave it.',
    who: 'owner',
    params: z.object({ ticket }),
    result: joined,
    errors: [...ticketErrors, 'network.unreachable', 'network.no-path', 'network.timeout'],
    example: { params: { ticket: TICKET }, result: JOINED },
  },
} as const satisfies Record<string, MethodEntry>
