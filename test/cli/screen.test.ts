import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { render, renderToString } from 'ink'
import { createElement } from 'react'
import { afterEach, expect, test, vi } from 'vitest'
import { LiveScreen } from '../../cli/view/live-screen.ts'
import { Party, type PartyClient } from '../../cli/view/party.ts'
import { addLine, EMPTY_STATE, type PartyState } from '../../cli/view/party-state.ts'
import { Screen } from '../../cli/view/screen.ts'
import { connect } from '../../ipc/index.ts'
import { ALICE, ANNA, contactView, FakeDaemon, peerView, SELF, STATUS } from './fake-daemon.ts'

const BEN = `ben${'c'.repeat(49)}`
const STATE: PartyState = {
  ...EMPTY_STATE,
  id: SELF,
  name: 'den-pc',
  words: ['amber', 'canyon', 'lotus', 'piano', 'hatch', 'willow', 'cobalt', 'ember'],
  port: 47800,
  interfaces: STATUS.interfaces,
}

function drawn(state: PartyState, columns = 80, rows = 24, selected = ANNA): string[] {
  const screen = createElement(Screen, { state, selected, prompt: undefined, columns, rows })
  return stripVTControlCharacters(renderToString(screen, { columns })).split('\n')
}

test('the view tells who I am and on which interfaces', () => {
  const screen = drawn(STATE).join('\n')
  expect(screen).toContain('den-pc  aaaaaaaaaaaa…  port 47800')
  expect(screen).toContain('amber canyon lotus piano hatch willow cobalt ember')
  expect(screen).toContain('eth0 (cable) 192.168.50.1')
  expect(screen).not.toContain('docker0')
})

test('who is alone is offered a second host', () => {
  expect(drawn(STATE).join('\n')).toContain('Looking around')
  const lonely = drawn({ ...STATE, lonely: true }).join('\n')
  expect(lonely).toContain('Press n to start a second, temporary host')
  expect(lonely).toMatch(/n second host {3}q quit/)
})

test('peers, offers, transfers and what happens have their places', () => {
  const busy = {
    ...addLine(STATE, 0, 'chat', 'anna: hello'),
    peers: [peerView({ state: 'connected', route: 'lan', rtt: 0.31, trust: 'trusted' })],
    offers: [
      { offer: 'x', peer: ANNA, direction: 'in', name: 'photos', files: 2, bytes: 1024, state: 'offered' } as const,
    ],
    transfers: [
      { offer: 'y', direction: 'out', name: 'notes', bytes: 1, total: 2, rate: 8e6, remaining: 9000 } as const,
    ],
  }
  const screen = drawn(busy).join('\n')
  expect(screen).toMatch(/› anna-laptop ✓ +connected +lan 0\.31 ms +beacon +192\.168\.50\.2 on eth0/)
  expect(screen).toContain('anna: hello')
  expect(screen).toMatch(/↑ notes {2}█+░+ {2}50 %/)
  expect(screen).toContain('anna-laptop offers photos (1.0 KiB): a takes it, x refuses')
})

test('who is chat only is listed so, with no keys for what cannot be done', () => {
  const state = { ...STATE, peers: [contactView(), peerView()] }
  const screen = drawn(state, 80, 24, ALICE)
  expect(screen.join('\n')).toMatch(/› Alice +seen +chat only +xmpp +192\.168\.50\.7 on eth0/)
  expect(screen.at(-1)).toMatch(/c chat {3}q quit/)
  expect(drawn(state).at(-1)).toMatch(/c chat {3}p ping {3}f offer a file {3}q quit/)
})

test('a fake network is marked, whatever the width', () => {
  const peers = [peerView({ state: 'connected', route: 'lan', rtt: 80 }), contactView()]
  const state = { ...STATE, peers, faked: new Set([ANNA]) }
  for (const columns of [60, 80, 120]) {
    const screen = drawn(state, columns).join('\n')
    expect(screen).toMatch(/anna-laptop +connected +FAKE lan/)
    expect(screen.match(/FAKE/g)).toHaveLength(1)
  }
})

test('presence is shown where there is something to tell: of others in the list, of this host above', () => {
  const busy = { show: 'busy', text: 'Kuchen \u001b[2J' } as const
  const peers = [peerView({ presence: busy }), contactView()]
  expect(drawn({ ...STATE, peers: [contactView()] }).join('\n')).not.toContain('PRESENCE')
  expect(drawn({ ...STATE, peers }, 120).join('\n')).toMatch(/anna-laptop +seen +busy: Kuchen �\[2J +beacon/)
  expect(drawn({ ...STATE, peers }).join('\n')).toMatch(/anna-laptop +seen +busy: Ku… /)
  expect(drawn({ ...STATE, presence: { show: 'away', text: 'beim Essen' } })[1]).toContain(
    'port 47800  away: beim Essen',
  )
})

test.each([
  [80, 24],
  [120, 40],
  [60, 16],
])('%d × %d: nothing is wider or higher than the terminal, whatever happens', (columns, rows) => {
  let state: PartyState = {
    ...STATE,
    presence: { show: 'busy', text: 'x'.repeat(255) },
    peers: Array.from({ length: 30 }, (_, i) =>
      peerView({
        id: `${i}`.padStart(52, 'x'),
        name: `host-${i}`,
        presence: { show: 'away', text: 'y'.repeat(255) },
      }),
    ),
  }
  for (let i = 0; i < 100; i++) state = addLine(state, 0, 'info', `${i} `.repeat(i))
  const lines = drawn(state, columns, rows)
  expect(lines.length).toBeLessThanOrEqual(rows)
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns)
  expect(lines.at(-1)).toContain('q quit')
})

/** A live screen on a terminal that is none, fed with keys. */
async function live(daemon: FakeDaemon) {
  const client = await connect({ home: daemon.home, app: 'test', control: true })
  const startGuest = vi.fn(async () => ({ [Symbol.asyncDispose]: async () => {} }))
  const party = new Party({ client: client as PartyClient, startGuest, lonelyAfter: 0 })
  await party.start()
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {}, ref: () => {}, unref: () => {} })
  const stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 100, rows: 30 })
  let frame = ''
  stdout.on('data', (chunk) => {
    if (String(chunk).includes('partyline')) frame = String(chunk)
  })
  const app = render(createElement(LiveScreen, { party }), {
    stdin,
    stdout,
    stderr: stdout,
    exitOnCtrlC: false,
    patchConsole: false,
    interactive: true,
  })
  await app.waitUntilRenderFlush()
  open.push(async () => {
    app.unmount()
    await party.stop()
    await client.close()
  })
  const press = async (...keys: string[]): Promise<void> => {
    for (const key of keys) {
      const taken = once(stdin, 'readable')
      stdin.write(key)
      await taken
      await turn()
      await app.waitUntilRenderFlush()
    }
  }
  const shown = (): string => stripVTControlCharacters(frame)
  return { app, party, press, shown, startGuest }
}

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

const two = { 'peers.list': () => [peerView({ name: 'anna' }), peerView({ id: BEN, name: 'ben' })] }

test('keys are about the peer that the arrows chose', async () => {
  await using daemon = await FakeDaemon.start({ ...two, 'sessions.ping': () => ({ rtt: 0.5, route: 'lan' }) })
  const { party, press } = await live(daemon)
  await press('\u001b[B', 'p')
  await vi.waitFor(() => expect(party.state().log.at(-1)?.text).toBe('ben answered in 0.50 ms (lan)'))
  expect(daemon.calls).toContainEqual({ method: 'sessions.ping', params: { peer: BEN } })
})

test('a session with a fake network is found without an event', async () => {
  const session = { peer: ANNA, name: 'anna', fake: true }
  await using daemon = await FakeDaemon.start({ ...two, 'sessions.list': () => [session, { peer: BEN, fake: false }] })
  const { party } = await live(daemon)
  expect([...party.state().faked]).toEqual([ANNA])
})

test('c sends what is typed to the peer, Escape leaves it unsaid', async () => {
  await using daemon = await FakeDaemon.start(two)
  const { press, shown } = await live(daemon)
  await press('c', 'no')
  expect(shown()).toContain('to anna, encrypted: no')
  await press('\u001b')
  // It might have been the beginning of an arrow's sequence: Ink waits a moment.
  await vi.waitFor(() => expect(shown()).not.toContain('to anna'))
  await press('c', 'ready?x', '\u007f', '\r')
  await vi.waitFor(() =>
    expect(daemon.calls.filter(({ method }) => method === 'chat.send')).toEqual([
      { method: 'chat.send', params: { peer: ANNA, text: 'ready?' } },
    ]),
  )
})

test('before and after a line to a plain XMPP client it is said that it is not encrypted', async () => {
  await using daemon = await FakeDaemon.start({ 'peers.list': () => [contactView()] })
  const { party, press, shown } = await live(daemon)
  await press('c', 'grüß dich')
  expect(shown()).toContain('NOT encrypted: everyone on this LAN can read it\n')
  expect(shown()).toContain('to Alice, NOT encrypted: grüß dich')
  await press('\r')
  await vi.waitFor(() =>
    expect(daemon.calls).toContainEqual({ method: 'chat.send', params: { peer: ALICE, text: 'grüß dich' } }),
  )
  const line = { peer: ALICE, direction: 'out', text: 'grüß dich', at: 1, encrypted: false, via: 'lan' } as const
  daemon.publish('chat.received', { line })
  await vi.waitFor(() => expect(party.state().log.at(-1)?.text).toBe('you to Alice (not encrypted): grüß dich'))
  await press('f')
  expect(shown()).not.toContain('file or folder for Alice')
  expect(shown()).toContain('Alice uses a plain XMPP client, which can chat and nothing else')
})

test('what cannot be done is told, with what to do', async () => {
  await using daemon = await FakeDaemon.start(two)
  const { party, press } = await live(daemon)
  await press('f', '/no/such/file', '\r')
  await vi.waitFor(() =>
    expect(party.state().log.at(-1)).toMatchObject({ kind: 'bad', text: expect.stringContaining('/no/such/file') }),
  )
})

test('alone, n brings a second host, once', async () => {
  await using daemon = await FakeDaemon.start({ 'peers.list': () => [] })
  const { party, press, startGuest } = await live(daemon)
  await vi.waitFor(() => expect(party.state().lonely).toBe(true))
  await press('n', 'n')
  expect(startGuest.mock.calls).toEqual([[SELF]])
  expect(party.state()).toMatchObject({ guest: 'here', lonely: false })
})

test.each([['q'], ['\u0003']])('%j leaves', async (key) => {
  await using daemon = await FakeDaemon.start(two)
  const { app, press } = await live(daemon)
  const left = app.waitUntilExit()
  await press(key)
  await left
})
