import * as z from 'zod'

/** Who may open a session: everybody, whom the owner lets in when asked, or trusted peers only. */
export const OPENNESS = ['open', 'ask', 'trusted'] as const
export type Openness = (typeof OPENNESS)[number]

/**
 * Which of this host's addresses a peer may learn, widest first: all; those that work from the internet and those of relays; those of relays;
 * none, and then no way through NAT is looked for.
 */
export const SHARES = ['all', 'public', 'relay', 'none'] as const
export type Share = (typeof SHARES)[number]

/** What the owner decided about one peer, in the place of the settings. */
export const peerPolicy = z.object({
  /** Whether it may open a session, wherever it comes from. */
  open: z.enum(OPENNESS).optional(),
  /** What it may learn of this host's addresses. */
  share: z.enum(SHARES).optional(),
  /** It may use this host as a relay. */
  relay: z.boolean().optional(),
  /** This host carries signals for it. */
  signals: z.boolean().optional(),
})

export type PeerPolicy = z.output<typeof peerPolicy>
export type PeerPolicyKey = keyof PeerPolicy

export const PEER_POLICY_KEYS = Object.keys(peerPolicy.shape) as PeerPolicyKey[]

export const NO_POLICY: PeerPolicy = {}
