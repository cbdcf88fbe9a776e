import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hostPresence } from '../../daemon/hub/hub-presence.ts'
import { HubRoster } from '../../daemon/hub/hub-roster.ts'
import { HubSightings } from '../../daemon/hub/hub-sightings.ts'
import { isPeerId, peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import type { PeerId, Sighting } from '../../daemon/types.ts'
import { xml } from '../../daemon/xmpp/stanzas.ts'
import { SightingLog } from '../discovery/sighting-log.ts'

const SELF = peerIdFromKey(new Uint8Array(32).fill(1))
const OTHER = peerIdFromKey(new Uint8Array(32).fill(2))
const DOMAIN = 'hub-x.local'

const locals = fc.constantFrom('anna', 'Anna', 'ben', SELF, OTHER, '', 'a b', '🎈')
const froms = fc.oneof(
  fc
    .tuple(locals, fc.constantFrom(DOMAIN, 'HUB-X.local', 'h1'), fc.constantFrom('', '/r', '/'))
    .map(([l, d, r]) => `${l}@${d}${r}`),
  fc.string(),
)
const presences = fc
  .record({
    from: froms,
    type: fc.constantFrom(undefined, undefined, 'unavailable', 'subscribe', 'error'),
    host: fc.boolean(),
    nick: fc.string(),
    show: fc.constantFrom('', 'away', 'dnd', 'chat', '?'),
    text: fc.string(),
  })
  .map(({ from, type, host, nick, show, text }) =>
    xml(
      'presence',
      { from, type },
      xml('show', {}, show),
      xml('status', {}, text),
      xml('nick', { xmlns: 'http://jabber.org/protocol/nick' }, nick),
      ...(host ? [xml('host', { xmlns: 'urn:partyline:host:0' })] : []),
    ),
  )

describe('who is at a hub', () => {
  test('is what the changes add up to, whatever a hub sends', () => {
    fc.assert(
      fc.property(fc.array(presences, { maxLength: 40 }), (stanzas) => {
        const roster = new HubRoster(SELF, DOMAIN)
        const known = new Map<string, unknown>()
        for (const stanza of stanzas) {
          const change = roster.take(stanza)
          if (change?.kind === 'there') known.set(change.member.jid, change.member)
          if (change?.kind === 'gone') expect(known.delete(change.member.jid)).toBe(true)
        }
        expect(new Map(roster.members().map((member) => [member.jid, member]))).toEqual(known)
        for (const { jid, peer, name, presence } of roster.members()) {
          const [local = '', domain] = jid.split('@')
          expect([domain, peer]).toEqual([DOMAIN, isPeerId(local) ? local : undefined])
          expect(local).not.toBe(SELF)
          expect(name).not.toMatch(/\p{C}/u)
          expect(presence.text).not.toMatch(/\p{C}/u)
          if (!peer) expect(name.normalize('NFKC').toLowerCase()).toBe(local)
          expect(roster.find(`${jid.toUpperCase()}/r`)).toBeDefined()
          expect(roster.findPeer(local as PeerId)?.peer).toBe(peer)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('is told once, until something is new', () => {
    const roster = new HubRoster(SELF, DOMAIN)
    const says = (show: 'available' | 'busy', name: string) => {
      const stanza = hostPresence({ show, text: '' }, name)
      stanza.attrs.from = `${OTHER}@${DOMAIN}/r`
      return roster.take(stanza)?.kind
    }
    expect([says('available', 'a'), says('available', 'a'), says('busy', 'a'), says('busy', 'b')]).toEqual([
      'there',
      undefined,
      'there',
      'there',
    ])
    expect(roster.findPeer(OTHER)).toMatchObject({ name: 'b', presence: { show: 'busy', text: '' } })
  })
})

test('sightings of one place are one, the better one, until the last source takes it back', () => {
  const log = new SightingLog()
  const sightings = new HubSightings(log)
  const seen = (port: number): Sighting => ({
    peer: OTHER,
    method: 'hub',
    interface: 'eth0',
    address: '10.0.0.1',
    port,
    name: 'x',
    proven: port > 0,
  })
  const ports = () => log.of(OTHER).map(({ port }) => port)
  sightings.seen('hub 1', seen(0))
  sightings.seen('hub 2', seen(0))
  sightings.seen('direct', seen(47800))
  expect(ports()).toEqual([47800])
  sightings.seen('hub 1', seen(0))
  sightings.gone('hub 1', OTHER)
  expect(ports()).toEqual([47800])
  sightings.gone('direct', OTHER)
  expect(ports()).toEqual([0])
  const { length } = log.sightings
  sightings.repeat()
  expect(log.sightings).toHaveLength(length + 1)
  sightings.gone('hub 2', OTHER)
  sightings.gone('hub 2', OTHER)
  expect(log.current).toEqual([])
  sightings.seen('direct', seen(47800))
  sightings.clear()
  expect(log.current).toEqual([])
})
