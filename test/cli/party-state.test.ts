import { expect, test } from 'vitest'
import { EMPTY_STATE, type PartyState, takeEvent, withTransfer } from '../../cli/view/party-state.ts'
import type { ClientEvent } from '../../ipc/index.ts'
import type { OfferView } from '../../ipc/methods.ts'
import { ALICE, ANNA, contactView, peerView } from './fake-daemon.ts'

const after = (state: PartyState, ...events: readonly Pick<ClientEvent, 'name' | 'params'>[]): PartyState =>
  events.reduce((before, event) => takeEvent(before, { seq: 1, ...event } as ClientEvent, 0), state)
const texts = (state: PartyState): string[] => state.log.map(({ text }) => text)
const changed = (change: Parameters<typeof peerView>[0] = {}) =>
  ({ name: 'peers.changed', params: { peer: peerView(change) } }) as const
const offered = (change: Partial<OfferView> = {}) => {
  const offer: OfferView = {
    offer: 'k3v9x2m4p7q8r5t6',
    peer: ANNA,
    direction: 'in',
    name: 'photos',
    files: 12,
    bytes: 48_211_004,
    state: 'offered',
    ...change,
  }
  return { name: 'files.changed', params: { offer } } as const
}

test('a peer is told of when it appears, not at every change of what is known of it', () => {
  const state = after(EMPTY_STATE, changed(), changed({ state: 'connected', rtt: 0.3 }), changed({ rtt: 0.4 }))
  expect(texts(state)).toEqual(['anna-laptop is here (beacon, 192.168.50.2 on eth0)'])
  expect(state.peers).toEqual([peerView({ rtt: 0.4 })])
})

test('a peer that is away is told of when it comes back, and when it goes', () => {
  const state = after(EMPTY_STATE, changed({ state: 'away', sightings: [] }), changed(), changed({ state: 'away' }), {
    name: 'peers.gone',
    params: { id: ANNA, name: 'anna-laptop' },
  })
  expect(texts(state)).toEqual([
    'anna-laptop is here (beacon, 192.168.50.2 on eth0)',
    'anna-laptop is away',
    'anna-laptop is gone',
  ])
  expect(state.peers).toEqual([])
})

test('nobody is alone any more when somebody appears', () => {
  const lonely = { ...EMPTY_STATE, lonely: true }
  expect(after(lonely, changed({ state: 'away' })).lonely).toBe(true)
  expect(after(lonely, changed()).lonely).toBe(false)
})

test('peers that are there come before those that are away, by name', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(52)) as [string, string, string]
  const state = after(
    EMPTY_STATE,
    changed({ id: a, name: 'zoe', state: 'connected' }),
    changed({ id: b, name: 'adam', state: 'away' }),
    changed({ id: c, name: 'ben' }),
  )
  expect(state.peers.map(({ name }) => name)).toEqual(['ben', 'zoe', 'adam'])
})

test('an offer waits until it is answered, withdrawn, or its peer is gone', () => {
  const waiting = after(EMPTY_STATE, changed(), offered(), offered())
  expect(waiting.offers).toHaveLength(1)
  expect(texts(waiting).at(-1)).toBe('anna-laptop offers photos (46 MiB): press a to take it, x to refuse')
  expect(after(waiting, offered({ state: 'accepted' })).offers).toEqual([])
  const withdrawn = after(waiting, offered({ state: 'withdrawn' }))
  expect(withdrawn.offers).toEqual([])
  expect(texts(withdrawn).at(-1)).toBe('photos was withdrawn')
  expect(after(waiting, { name: 'peers.gone', params: { id: ANNA, name: '' } }).offers).toEqual([])
})

test('what a peer says is told as its words, on one line', () => {
  const line = {
    peer: ANNA,
    direction: 'in',
    text: 'hi\nben: bye\u001b[2J',
    at: 1,
    encrypted: true,
    via: 'session',
  } as const
  const state = after(EMPTY_STATE, changed({ petname: 'Anna' }), { name: 'chat.received', params: { line } })
  expect(state.log.at(-1)).toMatchObject({ kind: 'chat', text: 'Anna: hi ben: bye�[2J' })
})

test('somebody with a plain XMPP client is said to be chat only, and every line not to be encrypted', () => {
  const line = { peer: ALICE, text: 'grüß\u001b[2J dich', at: 1, encrypted: false, via: 'lan' } as const
  const state = after(
    EMPTY_STATE,
    { name: 'peers.changed', params: { peer: contactView() } },
    { name: 'chat.received', params: { line: { ...line, direction: 'in' } } },
    { name: 'chat.received', params: { line: { ...line, direction: 'out' } } },
    { name: 'peers.gone', params: { id: ALICE, name: 'Alice' } },
    { name: 'chat.received', params: { line: { ...line, direction: 'in', via: 'hub' } } },
  )
  expect(texts(state)).toEqual([
    'Alice is here, chat only (xmpp, 192.168.50.7 on eth0)',
    'Alice (not encrypted): grüß�[2J dich',
    'you to Alice (not encrypted): grüß�[2J dich',
    'Alice is gone',
    'xmpp:alice@h1 (not encrypted): grüß�[2J dich',
  ])
})

test("this host's own presence is kept up with", () => {
  const away = { show: 'away', text: 'beim Essen' } as const
  expect(after(EMPTY_STATE, { name: 'presence.changed', params: away }).presence).toEqual(away)
})

test('the log is bounded, and its lines keep their numbers', () => {
  const many = Array.from({ length: 1200 }, (_, i) => changed({ state: i % 2 === 0 ? 'seen' : 'away' }))
  const { log } = after(EMPTY_STATE, ...many)
  expect(log).toHaveLength(500)
  expect(log.at(-1)?.number).toBe(1200)
})

test('a transfer is replaced by what is newer, and taken away at its end', () => {
  const transfer = { offer: 'x', direction: 'in', name: 'a', bytes: 1, total: 2, rate: 3, remaining: null } as const
  const state = withTransfer(withTransfer(EMPTY_STATE, 'x', transfer), 'x', { ...transfer, bytes: 2 })
  expect(state.transfers).toEqual([{ ...transfer, bytes: 2 }])
  expect(withTransfer(state, 'x', undefined).transfers).toEqual([])
})
