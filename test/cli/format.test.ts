import { PassThrough } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import {
  chatSecrecy,
  createPaint,
  duration,
  peerName,
  presenceText,
  printable,
  progressBar,
  rate,
  secrecyMark,
  shortId,
  size,
  table,
  whereSeen,
} from '../../cli/format.ts'
import { ANNA, contactView, peerView } from './fake-daemon.ts'

const terminal = (isTTY: boolean): NodeJS.WriteStream => Object.assign(new PassThrough(), { isTTY }) as never

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [10 * 1024, '10 KiB'],
  [1024 ** 2 - 1, '1.0 MiB'],
  [48_211_004, '46 MiB'],
  [2 * 1024 ** 4, '2.0 TiB'],
])('%d bytes read %s', (bytes, text) => expect(size(bytes)).toBe(text))

test.each([
  [0, '0 kbit/s'],
  [64_000, '64 kbit/s'],
  [999_900, '1 Mbit/s'],
  [940_000_000, '940 Mbit/s'],
  [999_900_000, '1.0 Gbit/s'],
  [8_300_000_000, '8.3 Gbit/s'],
])('%d bits a second read %s', (bits, text) => expect(rate(bits)).toBe(text))

test.each([
  [0.314, '0.31 ms'],
  [4.26, '4.3 ms'],
  [9.96, '10 ms'],
  [350.4, '350 ms'],
  [999.7, '1.0 s'],
  [4200, '4.2 s'],
  [59_700, '1 min 0 s'],
  [119_800, '2 min 0 s'],
  [185_000, '3 min 5 s'],
  [7_800_000, '2 h 10 min'],
])('%d milliseconds read %s', (milliseconds, text) => expect(duration(milliseconds)).toBe(text))

test('a progress bar tells share, bytes, rate and time left', () => {
  const bar = progressBar({ bytes: 512 * 1024, total: 1024 * 1024, rate: 8_000_000, remaining: 7000 }, 10)
  expect(bar).toBe('█████░░░░░  50 %  512 KiB of 1.0 MiB  8 Mbit/s  7.0 s left')
})

test('an empty file is all there', () =>
  expect(progressBar({ bytes: 0, total: 0, rate: 0, remaining: null }, 4)).toBe('████ 100 %  0 B of 0 B  0 kbit/s'))

test('columns are aligned whether coloured or not', () => {
  const paint = createPaint(terminal(true), { TERM: 'xterm' }, true)
  const rows = (green: string): string[][] => [
    ['NAME', 'STATE', 'X'],
    ['anna', green, 'y'],
  ]
  const coloured = table(rows(paint('green', 'seen')))
  expect(coloured).toContain('\u001b[32mseen\u001b[39m')
  expect(table(rows('seen'))).toBe('NAME  STATE  X\nanna  seen   y\n')
  expect(stripVTControlCharacters(coloured)).toBe(table(rows('seen')))
})

test.each([
  ['no terminal', false, {}, true],
  ['NO_COLOR', true, { NO_COLOR: '1' }, true],
  ['a dumb terminal', true, { TERM: 'dumb' }, true],
  ['--no-color', true, {}, false],
] as const)('%s means no colours', (_, isTTY, env, wanted) =>
  expect(createPaint(terminal(isTTY), env, wanted)('red', 'text')).toBe('text'),
)

test('what others say cannot steer the terminal or begin a line of its own', () => {
  expect(printable('\u001b[2Jhi\u0007\u202e')).toBe('�[2Jhi��')
  expect(printable('hi\r\n12:00 ben: fake\t!')).toBe('hi 12:00 ben: fake !')
  expect(printable('Zoë ☕')).toBe('Zoë ☕')
})

test('a petname wins over a name, a name over an id', () => {
  expect(peerName(peerView({ petname: 'Anna' }))).toBe('Anna')
  expect(peerName(peerView())).toBe('anna-laptop')
  expect(peerName(peerView({ name: '' }))).toBe('annabbbbbbbb')
})

test('a peer is said to be at an address people can use, rather than a link-local one', () => {
  const [sighting] = peerView().sightings
  const linkLocal = { ...sighting, address: 'fe80::1%eth0' } as typeof sighting & object
  expect(whereSeen(peerView({ sightings: [linkLocal, ...peerView().sightings] }))).toBe('192.168.50.2 on eth0')
  expect(whereSeen(peerView({ sightings: [linkLocal] }))).toBe('fe80::1%eth0 on eth0')
  expect(whereSeen(peerView({ sightings: [] }))).toBe('')
})

test('a contact without a name goes by its address, which is cut where it is long', () => {
  expect(peerName(contactView({ name: '' }))).toBe('xmpp:alice@h1')
  expect(shortId(ANNA)).toBe('annabbbbbbbb')
  expect(shortId(`xmpp:${'ä'.repeat(100)}`)).toBe(`xmpp:${'ä'.repeat(34)}…`)
  expect(shortId('xmpp:a\u001b[2J\nb@h1')).toBe('xmpp:a�[2J b@h1')
})

test.each([
  ['available', '', ''],
  ['available', 'für alle da', 'available: für alle da'],
  ['away', '', 'away'],
  ['busy', 'at\u001b[2J\nwork', 'busy: at�[2J work'],
  ['away', 'x'.repeat(255), `away: ${'x'.repeat(31)}…`],
] as const)('a presence %s with text %j reads %j', (show, text, told) =>
  expect(presenceText({ show, text })).toBe(told),
)

test('who can read a chat is told of everyone but hosts', () => {
  const [sighting] = contactView().sightings
  const atHub = { ...sighting, method: 'hub' } as typeof sighting & object
  expect(chatSecrecy(peerView())).toBe('encrypted')
  expect(chatSecrecy(contactView())).toBe('NOT encrypted: everyone on this LAN can read it')
  expect(chatSecrecy(contactView({ sightings: [atHub] }))).toBe('NOT encrypted end to end: the hub can read it')
  expect(chatSecrecy(contactView({ sightings: [] }))).toBe('NOT encrypted')
  expect(secrecyMark({ encrypted: false })).toBe(' (not encrypted)')
  expect(secrecyMark({ encrypted: true })).toBe('')
})
