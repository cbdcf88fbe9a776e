import * as z from 'zod'
import { count, empty, ID, type MethodEntry, peerArg, peerErrors, peerId } from './shapes.ts'

const friend = z.object({
  peer: peerId,
  name: z.string(),
  reaches: z.array(peerId).describe('Peers that it carries our signals to now.'),
  carried: z.object({ signals: count, bytes: count }).describe('What this host carried for it in this session.'),
})

/** Trusted peers that help each other. */
export const friendMethods = {
  'friends.list': {
    about: 'Trusted peers in a session: whom each reaches for us, and what this host carries for it.',
    who: 'app',
    params: empty,
    result: z.array(friend),
    errors: [],
    example: {
      params: {},
      result: [{ peer: ID, name: 'anna-laptop', reaches: [], carried: { signals: 12, bytes: 4_810 } }],
    },
  },
  'friends.introduce': {
    about: 'Tells two trusted peers of each other; each of their owners decides.',
    who: 'owner',
    params: z.object({ peer: peerArg, to: peerArg }),
    result: empty,
    errors: [...peerErrors, 'policy.owner-only', 'policy.not-trusted', 'network.no-session', 'usage.invalid-argument'],
    example: { params: { peer: 'anna-laptop', to: 'ben-pc' }, result: {} },
  },
} as const satisfies Record<string, MethodEntry>
