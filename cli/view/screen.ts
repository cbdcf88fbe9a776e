import { Box, Text } from 'ink'
import { createElement as h, type ReactElement } from 'react'
import type { PeerView } from '../../ipc/methods.ts'
import { duration, peerName, printable, progressBar } from '../format.ts'
import type { Happening, PartyState } from './party-state.ts'

/** What the view asks of the user, and what was typed so far. */
export interface Prompt {
  readonly question: string
  readonly typed: string
}

interface ScreenProps {
  readonly state: PartyState
  readonly selected: string | undefined
  readonly prompt: Prompt | undefined
  /** True when nobody is there and a second host may be started. */
  readonly lonely: boolean
  readonly size: { readonly columns: number; readonly rows: number }
}

const STATE_COLOURS = { connected: 'green', seen: 'cyan', away: 'gray' } as const
const TONE_COLOURS = { good: 'green', bad: 'red', chat: 'yellow' } as const

/** The whole screen: who I am, who is here, what happens, what can be pressed. */
export function Screen({ state, selected, prompt, lonely, size }: ScreenProps): ReactElement {
  const peers = [...state.peers].sort((a, b) => peerName(a).localeCompare(peerName(b)))
  const room = Math.max(3, size.rows - 12 - Math.max(1, Math.min(peers.length, 12)))
  return h(
    Box,
    { flexDirection: 'column', width: size.columns },
    h(Me, { state }),
    h(Heading, { title: `Who is here (${peers.filter((peer) => peer.state !== 'away').length})` }),
    peers.length === 0
      ? h(
          Text,
          { color: 'gray' },
          lonely ? '  Nobody yet. Press n for a second, temporary host on this machine.' : '  Looking …',
        )
      : peers
          .slice(0, 12)
          .map((peer) => h(Peer, { key: peer.id, peer, selected: peer.id === selected, wide: size.columns >= 100 })),
    h(Heading, { title: 'What happens' }),
    h(
      Box,
      { flexDirection: 'column', height: room },
      state.happenings.slice(-room).map((happening, i) => h(Line, { key: `${happening.at}-${i}`, happening })),
    ),
    state.transfer
      ? h(Text, { wrap: 'truncate' }, `${state.transfer.title}  ${progressBar(state.transfer, 16)}`)
      : null,
    prompt
      ? h(
          Text,
          null,
          h(Text, { color: 'yellow' }, `${prompt.question} `),
          prompt.typed,
          h(Text, { inverse: true }, ' '),
        )
      : h(Keys, { lonely, any: peers.length > 0 }),
  )
}

function Me({ state: { status, words } }: { state: PartyState }): ReactElement {
  const interfaces = status.interfaces.filter(({ participating, kind }) => participating && kind !== 'loopback')
  const where = interfaces.map(
    ({ name, kind, addresses }) =>
      `${name} (${kind}) ${addresses.find((one) => !one.startsWith('fe80')) ?? addresses[0] ?? ''}`,
  )
  return h(
    Box,
    { borderStyle: 'round', borderColor: 'cyan', paddingX: 1, flexDirection: 'column' },
    h(
      Text,
      { wrap: 'truncate' },
      h(Text, { bold: true }, printable(status.name)),
      h(Text, { color: 'gray' }, `  ${status.id.slice(0, 12)}  port ${status.port}`),
    ),
    h(Text, { color: 'gray', wrap: 'truncate' }, words.join(' ')),
    h(Text, { wrap: 'truncate' }, where.length > 0 ? where.join('   ') : 'no network but this machine itself'),
  )
}

function Heading({ title }: { title: string }): ReactElement {
  return h(Text, { bold: true, color: 'cyan' }, title)
}

function Peer({ peer, selected, wide }: { peer: PeerView; selected: boolean; wide: boolean }): ReactElement {
  const [sighting] = [...peer.sightings].sort((a, b) => a.age - b.age)
  const methods = [...new Set(peer.sightings.map(({ method }) => method))].join('+')
  const route = peer.route ? `${peer.route}${peer.rtt === null ? '' : ` ${duration(peer.rtt)}`}` : ''
  const cells = [
    h(Text, { key: 'mark', color: 'yellow' }, selected ? '› ' : '  '),
    h(Box, { key: 'name', width: 20 }, h(Text, { bold: true, wrap: 'truncate' }, peerName(peer))),
    h(Box, { key: 'state', width: 11 }, h(Text, { color: STATE_COLOURS[peer.state] }, peer.state)),
    h(Box, { key: 'route', width: 13 }, h(Text, null, route)),
    h(Box, { key: 'seen', width: 13 }, h(Text, { color: 'gray', wrap: 'truncate' }, methods)),
    h(Text, { key: 'at', color: 'gray', wrap: 'truncate' }, sighting?.address ?? ''),
    wide
      ? h(
          Text,
          { key: 'id', color: 'gray' },
          `  ${peer.id.slice(0, 12)}  ${peer.trust === 'unknown' ? '' : peer.trust}`,
        )
      : null,
  ]
  return h(Box, null, cells)
}

function Line({ happening: { at, text, tone } }: { happening: Happening }): ReactElement {
  const time = new Date(at).toTimeString().slice(0, 8)
  const colour = tone === 'plain' ? {} : { color: TONE_COLOURS[tone] }
  return h(Text, { wrap: 'truncate' }, h(Text, { color: 'gray' }, `  ${time} `), h(Text, colour, text))
}

function Keys({ lonely, any }: { lonely: boolean; any: boolean }): ReactElement {
  const keys = [
    ...(any ? ['↑↓ choose', 'c chat', 'p ping', 'f send a file', 'a accept an offer'] : []),
    ...(lonely ? ['n second host'] : []),
    'q quit',
  ]
  return h(Text, { color: 'gray' }, keys.join('   '))
}
