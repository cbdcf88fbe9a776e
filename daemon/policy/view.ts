import type { Result } from '../../ipc/methods.ts'
import { SETTINGS, type SettingKey } from '../config/settings.ts'
import type { SettingsStore } from '../config/store.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { PeerId } from '../types.ts'
import type { Policy, Ruling } from './policy.ts'

export type PolicyView = Result<'policy.get'>
type Rule = PolicyView['rules'][number]

/** Settings that are policy, in the order in which people want to know. */
const KEYS: readonly SettingKey[] = [
  'policy.lan',
  'policy.internet',
  'nat.share',
  'policy.punch',
  'policy.on-metered',
  'policy.metered',
  'policy.rate-sessions',
  'policy.rate-streams',
  'policy.rate-requests',
  'friends.signals',
  'friends.relay',
  'relay.friends',
  'session.keep-trusted',
  'notify.desktop',
]
/** Of other parts, where they have it. */
const OTHERS: readonly string[] = ['nat.map']

interface ViewParts {
  readonly policy: Policy
  readonly settings: SettingsStore
  readonly book: PeerBook
  /** Metered interfaces that are up. */
  readonly metered: () => readonly string[]
}

/** What the settings say, for all peers. */
export function policyView({ settings, metered }: ViewParts): PolicyView {
  const wanted = new Set<string>([...KEYS, ...OTHERS])
  const rules = settings.list().flatMap(({ key, value, isDefault, about }): Rule[] => {
    if (!wanted.has(key)) return []
    const shown = Array.isArray(value) ? value.join(',') : String(value)
    return [{ key, value: shown, by: isDefault ? 'default' : 'setting', about }]
  })
  const rank = ({ key }: Rule): number => [...wanted].indexOf(key)
  return { peer: null, name: '', rules: rules.sort((a, b) => rank(a) - rank(b)), metered: [...metered()] }
}

/** What it comes to for one peer. */
export function peerPolicyView(peer: PeerId, { policy, settings, book, metered }: ViewParts): PolicyView {
  const isDefault = new Map(settings.list().map((row) => [row.key, row.isDefault]))
  const rule = (
    key: string,
    { value, by }: Ruling<string | boolean>,
    setting: SettingKey,
    about: string = SETTINGS[setting].about,
  ): Rule => {
    const bySettings = isDefault.get(setting) ? 'default' : 'setting'
    return { key, value: String(value), by: by === 'settings' ? bySettings : by, about }
  }
  const { name, petname } = book.get(peer)
  return {
    peer,
    name: petname || name,
    rules: [
      rule(
        'open (lan)',
        policy.decide(peer, 'lan'),
        'policy.lan',
        'Whether it may open a session from a network of ours.',
      ),
      rule(
        'open (internet)',
        policy.decide(peer, 'internet'),
        'policy.internet',
        'Whether it may open one from elsewhere.',
      ),
      rule(
        'share',
        policy.share(peer),
        settings.get('policy.punch') ? 'nat.share' : 'policy.punch',
        'What it may learn of our addresses.',
      ),
      rule('relay', policy.mayRelay(peer), 'relay.friends', 'Whether it may relay through this host.'),
      rule('signals', policy.mayCarry(peer), 'friends.signals', 'Whether this host carries signals for it.'),
    ],
    metered: [...metered()],
  }
}
