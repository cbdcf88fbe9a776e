import * as z from 'zod'
import { count, empty, ID, type MethodEntry, peerArg, peerErrors, peerId } from './shapes.ts'

const rule = z.object({
  key: z.string(),
  value: z.string(),
  by: z
    .enum(['default', 'setting', 'peer', 'trust', 'once'])
    .describe(
      'Whose word it is: the default, a setting, what you said of this peer, its trust, or that you let it in for a while.',
    ),
  about: z.string(),
})

const policy = z.object({
  peer: peerId.nullable(),
  name: z.string().describe('What the peer is called; empty without one.'),
  rules: z.array(rule),
  metered: z.array(z.string()).describe('Interfaces that lead to metered networks now.'),
})

const unixMilliseconds = z.number().describe('Unix milliseconds.')

const request = z.object({
  peer: peerId,
  name: z.string().describe('What it calls itself; empty where it has not said.'),
  from: z.enum(['lan', 'internet']),
  address: z.string().describe('Where it came from; empty where only a signal came.'),
  by: z.string().describe('Peer id of who introduced it; empty where it asks itself.'),
  first: unixMilliseconds,
  last: unixMilliseconds,
  count: count.describe('How often it tried.'),
})

const POLICY = {
  peer: null,
  name: '',
  rules: [
    {
      key: 'policy.internet',
      value: 'trusted',
      by: 'default' as const,
      about: 'Who may open a session from elsewhere.',
    },
  ],
  metered: [],
}

/** Policy, requests. */
export const policyMethods = {
  'policy.get': {
    about: 'What the policy is, or what it comes to for one peer, and whose word each part is.',
    who: 'app',
    params: z.object({ peer: peerArg.optional() }),
    result: policy,
    errors: [...peerErrors],
    example: { params: {}, result: POLICY },
  },
  'policy.set': {
    about: 'Decides something about one peer in the place of the settings.',
    who: 'owner',
    params: z.object({
      peer: peerArg,
      key: z.enum(['open', 'share', 'relay', 'signals']),
      value: z
        .string()
        .max(64)
        .describe('`open`: open, ask, trusted; `share`: all, public, relay, none; others: true, false.'),
    }),
    result: policy,
    errors: [...peerErrors, 'policy.owner-only', 'usage.invalid-argument'],
    example: {
      params: { peer: 'anna-laptop', key: 'share', value: 'relay' },
      result: { ...POLICY, peer: ID, name: 'anna-laptop' },
    },
  },
  'policy.reset': {
    about: 'Lets the settings decide about a peer again: one thing, or all.',
    who: 'owner',
    params: z.object({ peer: peerArg, key: z.enum(['open', 'share', 'relay', 'signals']).optional() }),
    result: policy,
    errors: [...peerErrors, 'policy.owner-only'],
    example: { params: { peer: 'anna-laptop' }, result: { ...POLICY, peer: ID, name: 'anna-laptop' } },
  },
  'requests.list': {
    about: 'Peers that ask to open a session, and those that a friend introduced; the newest first.',
    who: 'owner',
    params: empty,
    result: z.array(request),
    errors: ['policy.owner-only'],
    example: {
      params: {},
      result: [
        {
          peer: ID,
          name: 'ben-pc',
          from: 'internet' as const,
          address: '203.0.113.7:47800',
          by: '',
          first: 1_795_000_000_000,
          last: 1_795_000_004_000,
          count: 2,
        },
      ],
    },
  },
  'requests.accept': {
    about: 'Lets in a peer that asks: from now on, once (for ten minutes), or as a trusted peer.',
    who: 'owner',
    params: z.object({
      peer: peerArg,
      how: z.enum(['always', 'once', 'trust']).optional().describe('`always` unless told.'),
    }),
    result: empty,
    errors: [...peerErrors, 'policy.owner-only', 'policy.no-request', 'policy.blocked'],
    example: { params: { peer: 'ben-pc', how: 'once' }, result: {} },
  },
  'requests.refuse': {
    about: 'Does not let in a peer that asks, and does not hear of it for ten minutes; or ever, with `block`.',
    who: 'owner',
    params: z.object({ peer: peerArg, block: z.boolean().optional() }),
    result: empty,
    errors: [...peerErrors, 'policy.owner-only', 'policy.no-request'],
    example: { params: { peer: 'ben-pc' }, result: {} },
  },
} as const satisfies Record<string, MethodEntry>
