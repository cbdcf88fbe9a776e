import type { Handlers } from '../../ipc/api.ts'
import type { Result } from '../../ipc/methods.ts'
import type { SettingsStore } from '../config/store.ts'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import {
  OPENNESS,
  PEER_POLICY_KEYS,
  type PeerPolicy,
  type PeerPolicyKey,
  peerPolicy,
  SHARES,
} from '../peers/peer-policy.ts'
import type { People } from '../peers/people.ts'
import type { SessionManager } from '../session/session-manager.ts'
import type { PeerId } from '../types.ts'
import type { Access } from './access.ts'
import { peerPolicyView, policyView } from './view.ts'

type Group<Prefix extends string> = Pick<Handlers, Extract<keyof Handlers, `${Prefix}.${string}`>>

interface PolicyParts {
  readonly access: Access
  readonly settings: SettingsStore
  readonly book: PeerBook
  readonly people: People
  readonly sessions: SessionManager
}

const BOOLEANS = ['true', 'false'] as const
const VALUES: Readonly<Record<PeerPolicyKey, readonly string[]>> = {
  open: OPENNESS,
  share: SHARES,
  relay: BOOLEANS,
  signals: BOOLEANS,
}

export function policyHandlers({
  access,
  settings,
  book,
  people,
  sessions,
}: PolicyParts): Group<'policy' | 'requests'> {
  const { policy, requests, metered } = access
  const parts = { policy, settings, book, metered: () => metered.names() }
  const change = async (peer: PeerId, next: PeerPolicy): Promise<Result<'policy.set'>> => {
    await book.setPolicy(peer, next)
    return peerPolicyView(peer, parts)
  }
  /** Who asks may be known by nothing but the request. Throws `policy.no-request`. */
  const asking = (text: string): PeerId => {
    const all = requests.list()
    const found = all.filter(({ peer, name }) => name === text || (text.length >= 6 && peer.startsWith(text)))
    if (found.length > 1) throw new PartylineError('usage.ambiguous-peer', `more than one who asks is called ${text}`)
    const peer = found[0]?.peer ?? (isPeerId(text) ? text : people.host(text))
    if (requests.get(peer)) return peer
    throw new PartylineError('policy.no-request')
  }
  return {
    'policy.get': ({ peer }) => (peer === undefined ? policyView(parts) : peerPolicyView(people.host(peer), parts)),
    'policy.set': ({ peer, key, value }) => {
      const id = people.host(peer)
      return change(id, { ...book.policy(id), ...decided(key, value) })
    },
    'policy.reset': ({ peer, key }) => {
      const id = people.host(peer)
      const kept = PEER_POLICY_KEYS.filter((one) => key !== undefined && one !== key)
      return change(
        id,
        Object.fromEntries(kept.flatMap((one) => (one in book.policy(id) ? [[one, book.policy(id)[one]]] : []))),
      )
    },
    'requests.list': () => requests.list().map((request) => ({ ...request, by: request.by ?? '' })),
    'requests.accept': async ({ peer, how = 'always' }) => {
      await access.accept(asking(peer), how)
      return {}
    },
    'requests.refuse': async ({ peer, block = false }) => {
      const id = asking(peer)
      await access.refuse(id, block)
      if (block) await sessions.close(id, { code: 'policy.blocked', message: 'blocked by its user' })
      return {}
    },
  }
}

/** Throws `usage.invalid-argument`. */
function decided(key: PeerPolicyKey, text: string): PeerPolicy {
  const value = VALUES[key] === BOOLEANS && BOOLEANS.some((one) => one === text) ? text === 'true' : text
  const parsed = peerPolicy.safeParse({ [key]: value })
  if (parsed.success) return parsed.data
  throw new PartylineError('usage.invalid-argument', `${key} is one of ${VALUES[key].join(', ')}, not ${text}`)
}
