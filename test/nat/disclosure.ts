import type { Disclosure } from '../../daemon/nat/traversal.ts'
import type { Share } from '../../daemon/peers/peer-policy.ts'
import { mayLeave, tellable } from '../../daemon/policy/disclosure.ts'

/** The same for all peers, who share no network with this host. */
export function disclosureOf(share: () => Share): Disclosure & { widestShare(): Share } {
  const isShared = (): boolean => false
  return {
    share: () => ({ value: share() }),
    widestShare: share,
    candidates: (_, all) => tellable(all, share(), isShared),
    mayLeave: (_, to) => mayLeave(to, share(), isShared),
  }
}
