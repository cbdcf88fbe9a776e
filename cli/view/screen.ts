import { Box, Text } from 'ink'
import { Fragment, createElement as h, type ReactElement } from 'react'
import type { PeerView } from '../../ipc/methods.ts'
import { peerName, presenceText, printable, progressBar, routeText, size, whereSeen } from '../format.ts'
import { type LogLine, nameOf, type PartyState, someoneIsHere, type Transfer } from './party-state.ts'

/** What the view asks of the user, and what was typed so far. */
export interface Prompt {
  readonly question: string
  /** What to know before answering, on a line of its own. */
  readonly warning?: string
  readonly typed: string
}

interface ScreenProps {
  readonly state: PartyState
  /** The peer that keys are about. */
  readonly selected: string | undefined
  readonly prompt: Prompt | undefined
  readonly columns: number
  readonly rows: number
}

/** Lines of the heading: three and a frame. */
const HEADING = 5
/** Least lines for what happens. */
const LEAST_LOG = 4
const MAX_TRANSFERS = 3

const STATE_COLOURS = { connected: 'green', seen: 'cyan', away: 'gray' } as const
const LINE_COLOURS = { info: undefined, good: 'green', bad: 'red', chat: 'yellow' } as const

/** The whole screen: who I am, who is here, what happens, what can be pressed. */
export function Screen({ state, selected, prompt, columns, rows }: ScreenProps): ReactElement {
  const transfers = state.transfers.slice(0, MAX_TRANSFERS)
  const [offer] = state.offers
  // Two titles, the row of column names, a blank line, the keys.
  const fixed = HEADING + 5 + transfers.length + (offer ? 1 : 0) + (prompt?.warning ? 1 : 0)
  const peerRows = Math.max(1, Math.min(state.peers.length, rows - fixed - LEAST_LOG))
  const logRows = Math.max(1, rows - fixed - peerRows)
  return h(
    Box,
    { flexDirection: 'column', width: columns, height: rows, overflow: 'hidden' },
    h(Me, { state }),
    h(Title, { text: 'Who is here' }),
    h(Peers, { state, selected, rows: peerRows, columns }),
    h(Title, { text: 'What happens' }),
    h(
      Box,
      { flexDirection: 'column', height: logRows, flexShrink: 0, overflow: 'hidden' },
      fitting(state.log, logRows, columns).map((line) => h(Line, { key: line.number, line })),
    ),
    transfers.map((transfer) => h(Moving, { key: transfer.offer, transfer, columns })),
    offer &&
      h(
        Text,
        { color: 'yellow', wrap: 'truncate' },
        ` ${nameOf(state, offer.peer)} offers ${printable(offer.name)} (${size(offer.bytes)}): a takes it, x refuses`,
      ),
    h(Box, { flexGrow: 1 }),
    prompt?.warning && h(Text, { color: 'red', wrap: 'truncate' }, ` ${prompt.warning}`),
    prompt ? h(Asking, { prompt }) : h(Keys, { state, selected }),
  )
}

function Me({ state }: { state: PartyState }): ReactElement {
  const { id, name, words, port, presence, interfaces } = state
  const shown = presenceText(presence)
  const taking = interfaces.filter(({ participating }) => participating)
  const outside = taking.filter(({ kind }) => kind !== 'loopback')
  const where = outside.map(({ name: nic, kind, addresses }) => {
    const address = addresses.find((one) => !one.startsWith('fe80')) ?? addresses[0] ?? 'no address'
    return `${nic} (${kind}) ${address}`
  })
  return h(
    Box,
    { borderStyle: 'round', borderColor: 'cyan', paddingX: 1, flexDirection: 'column', flexShrink: 0 },
    h(
      Box,
      { justifyContent: 'space-between' },
      h(
        Text,
        { wrap: 'truncate' },
        h(Text, { bold: true }, printable(name)),
        h(Text, { color: 'gray' }, `  ${id.slice(0, 12)}…  port ${port}`),
        h(Text, { color: 'yellow' }, shown && `  ${shown}`),
      ),
      h(Text, { color: 'cyan' }, 'partyline'),
    ),
    h(Text, { wrap: 'truncate' }, words.join(' ')),
    h(Text, { wrap: 'truncate' }, where.length > 0 ? where.join('   ') : 'no network: only this machine itself'),
  )
}

function Title({ text }: { text: string }): ReactElement {
  return h(Box, { flexShrink: 0 }, h(Text, { bold: true, color: 'cyan' }, text))
}

interface PeersProps {
  readonly state: PartyState
  readonly selected: string | undefined
  readonly rows: number
  readonly columns: number
}

function Peers({ state, selected, rows, columns }: PeersProps): ReactElement {
  const { peers, faked, lonely } = state
  if (peers.length === 0) {
    const lines = lonely
      ? [
          'Nobody else yet. Press n to start a second, temporary host on this machine,',
          'or start Partyline on another machine of this network.',
        ]
      : ['Looking around …']
    return h(
      Box,
      { height: rows + 1, flexShrink: 0, flexDirection: 'column', overflow: 'hidden' },
      lines.map((line) => h(Text, { key: line, color: lonely ? 'yellow' : 'gray', wrap: 'truncate' }, ` ${line}`)),
    )
  }
  // The selected one stays in sight.
  const at = Math.max(
    0,
    peers.findIndex(({ id }) => id === selected),
  )
  const first = Math.max(0, Math.min(at - rows + 1, peers.length - rows))
  const shown = peers.slice(first, first + rows)
  const widths = columnWidths(columns, peers)
  return h(
    Box,
    { flexDirection: 'column', flexShrink: 0 },
    h(Box, null, h(Text, null, '  '), h(TitleCells, { widths })),
    shown.map((peer) =>
      h(Peer, { key: peer.id, peer, isFake: faked.has(peer.id), selected: peer.id === selected, widths }),
    ),
  )
}

function TitleCells({ widths }: { widths: Widths }): ReactElement {
  const { name, state, route, presence, methods } = widths
  return h(
    Fragment,
    null,
    h(Cell, { width: name, color: 'gray', text: 'NAME' }),
    h(Cell, { width: state, color: 'gray', text: 'STATE' }),
    h(Cell, { width: route, color: 'gray', text: 'ROUTE' }),
    presence > 0 && h(Cell, { width: presence, color: 'gray', text: 'PRESENCE' }),
    h(Cell, { width: methods, color: 'gray', text: 'SEEN BY' }),
    h(Cell, { color: 'gray', text: 'AT' }),
  )
}

/** Columns of the list; the address takes the rest. */
interface Widths {
  readonly name: number
  readonly state: number
  readonly route: number
  /** 0 while everyone is simply available. */
  readonly presence: number
  readonly methods: number
}

function columnWidths(columns: number, peers: readonly PeerView[]): Widths {
  const told = peers.some((peer) => presenceText(peer.presence) !== '')
  const presence = told ? (columns < 100 ? 10 : 22) : 0
  const name = Math.max(14, Math.min(32, columns - 62 - presence))
  return { name, state: 11, route: 14, presence, methods: 13 }
}

interface PeerProps {
  readonly peer: PeerView
  readonly isFake: boolean
  readonly selected: boolean
  readonly widths: Widths
}

function Peer({ peer, isFake, selected, widths }: PeerProps): ReactElement {
  const methods = [...new Set(peer.sightings.map(({ method }) => method))].join(' ')
  const route = peer.kind === 'host' ? routeText(peer) : 'chat only'
  const mark = { trusted: ' ✓', blocked: ' ⊘', unknown: '' }[peer.trust]
  return h(
    Box,
    null,
    h(Box, { width: 2, flexShrink: 0 }, h(Text, { color: 'yellow' }, selected ? '›' : ' ')),
    h(Cell, { width: widths.name, text: `${peerName(peer)}${mark}`, bold: true }),
    h(Cell, { width: widths.state, text: peer.state, color: STATE_COLOURS[peer.state] }),
    // Before the route, so that a narrow column does not cut it off.
    isFake
      ? h(Cell, { width: widths.route, text: `FAKE ${route}`, color: 'red', bold: true })
      : h(Cell, { width: widths.route, text: route }),
    widths.presence > 0 && h(Cell, { width: widths.presence, text: presenceText(peer.presence), color: 'yellow' }),
    h(Cell, { width: widths.methods, text: methods, color: 'gray' }),
    h(Cell, { text: whereSeen(peer), color: 'gray' }),
  )
}

interface CellProps {
  readonly text: string
  readonly width?: number | undefined
  readonly color?: string
  readonly bold?: boolean
}

function Cell({ text, width, color, bold = false }: CellProps): ReactElement {
  const box = width === undefined ? { flexGrow: 1, flexShrink: 1 } : { width, flexShrink: 0, paddingRight: 1 }
  return h(Box, box, h(Text, { wrap: 'truncate', bold, ...(color && { color }) }, text))
}

/** Room for the time of a line. */
const TIME_COLUMNS = 11

/** The newest lines that fit, long ones on several rows. */
function fitting(log: readonly LogLine[], rows: number, columns: number): readonly LogLine[] {
  let first = log.length
  for (let used = 0; first > 0; first--) {
    used += Math.max(1, Math.ceil((log[first - 1]?.text.length ?? 0) / Math.max(1, columns - TIME_COLUMNS)))
    if (used > rows) break
  }
  return log.slice(Math.min(first, log.length - 1))
}

function Line({ line: { at, text, kind } }: { line: LogLine }): ReactElement {
  const time = new Date(at).toTimeString().slice(0, 8)
  const color = LINE_COLOURS[kind]
  return h(
    Box,
    { flexShrink: 0 },
    h(Box, { width: TIME_COLUMNS, flexShrink: 0 }, h(Text, { color: 'gray' }, ` ${time}`)),
    h(Text, color === undefined ? {} : { color }, text),
  )
}

function Moving({ transfer, columns }: { transfer: Transfer; columns: number }): ReactElement {
  const { direction, name } = transfer
  const title = ` ${direction === 'in' ? '↓' : '↑'} ${name.length > 20 ? `${name.slice(0, 19)}…` : name}`
  const bar = progressBar(transfer, columns < 100 ? 12 : 32)
  return h(Box, { flexShrink: 0 }, h(Text, { wrap: 'truncate', color: 'green' }, `${title}  ${bar}`))
}

function Asking({ prompt: { question, typed } }: { prompt: Prompt }): ReactElement {
  return h(
    Text,
    { wrap: 'truncate-start' },
    h(Text, { color: 'yellow' }, `${question} `),
    typed,
    h(Text, { inverse: true }, ' '),
    h(Text, { color: 'gray' }, '  (Enter sends, Esc leaves)'),
  )
}

/** What can be pressed now. */
function Keys({ state, selected }: { state: PartyState; selected: string | undefined }): ReactElement {
  const { peers, offers, guest } = state
  const chatOnly = peers.find(({ id }) => id === selected)?.kind === 'chat'
  const keys = [
    ...(peers.length > 1 ? ['↑↓ choose'] : []),
    ...(peers.length > 0 ? ['c chat'] : []),
    ...(peers.length > 0 && !chatOnly ? ['p ping', 'f offer a file'] : []),
    ...(offers.length > 0 ? ['a take', 'x refuse'] : []),
    ...(guest === 'none' && !someoneIsHere(peers) ? ['n second host'] : []),
    'q quit',
  ]
  return h(
    Text,
    { wrap: 'truncate' },
    keys.flatMap((key, i) => {
      const [letter = '', ...words] = key.split(' ')
      return [
        h(Text, { key: letter, bold: true }, `${i === 0 ? ' ' : '   '}${letter}`),
        h(Text, { key, color: 'gray' }, ` ${words.join(' ')}`),
      ]
    }),
  )
}
