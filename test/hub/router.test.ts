import { parse } from 'ltx'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ExternalService } from '../../daemon/hub/external-services.ts'
import { type Effect, MAX_PRESENCE, Router } from '../../daemon/hub/router.ts'
import type { PeerId } from '../../daemon/types.ts'

const ANNA = 'anna@hub.local/phone'
const BOB = 'bob@hub.local/desk'
const HOST = 'a-host@hub.local/partyline'

const PEER = 'mfzwizlnn5xgk3lpnzsxe3dfon2ca5dfon2gs3thebqw4zbaonxq'
/** STUN for everybody, TURN for hosts. */
const services = (host: PeerId | undefined): ExternalService[] => {
  const at = { host: '192.0.2.1', port: 3478, transport: 'udp' as const }
  const login = { username: `1795086400:${host}`, password: 'p&w', expires: 1_795_086_400_000 }
  return [{ type: 'stun', ...at }, ...(host ? [{ type: 'turn' as const, ...at, login }] : [])]
}

let router: Router
let ids = 0

beforeEach(() => {
  router = new Router({ domain: 'hub.local', name: 'party', newId: () => `id${ids++}`, services })
})

const send = (from: string, xml: string): Effect[] => router.stanza(from, parse(xml) ?? expect.fail(xml))
/** The nickname somebody logged in with, as presence carries it (XEP-0172). */
const nick = (name: string): string => `<nick xmlns="http://jabber.org/protocol/nick">${name}</nick>`

const xmlTo = (to: string, effects: readonly Effect[]): string[] =>
  effects.filter((effect) => effect.to === to).map(({ element }) => element.toString())
const only = (effects: readonly Effect[]): string => {
  expect(effects).toHaveLength(1)
  return effects[0]?.element.toString() ?? ''
}

function arrive(jid: string, name: string, kind: 'host' | 'chat' = 'chat'): void {
  router.login(jid, name, kind)
  send(jid, '<iq type="get" id="r"><query xmlns="jabber:iq:roster"/></iq>')
  send(jid, '<presence/>')
}

describe('presence', () => {
  it('puts everyone present on the list of who asks', () => {
    arrive(ANNA, 'Anna')
    router.login(BOB, 'Bob', 'chat')
    expect(only(send(BOB, '<iq type="get" id="r1"><query xmlns="jabber:iq:roster"/></iq>'))).toBe(
      `<iq type="result" to="${BOB}" id="r1"><query xmlns="jabber:iq:roster">` +
        '<item jid="anna@hub.local" name="Anna" subscription="both"/></query></iq>',
    )
  })

  it('tells everyone of a newcomer, first on the list, then there, and the newcomer of everyone', () => {
    arrive(ANNA, 'Anna')
    router.login(BOB, 'Bob', 'chat')
    const effects = send(BOB, '<presence><status>hi</status></presence>')
    const anna = xmlTo(ANNA, effects)
    expect(anna).toHaveLength(2)
    expect(anna[0]).toContain('<item jid="bob@hub.local" name="Bob" subscription="both"/>')
    expect(anna[1]).toBe(`<presence from="${BOB}" to="${ANNA}"><status>hi</status>${nick('Bob')}</presence>`)
    expect(xmlTo(BOB, effects)).toContain(`<presence from="${ANNA}" to="${BOB}">${nick('Anna')}</presence>`)
  })

  it('tells everyone of away and back', () => {
    arrive(ANNA, 'Anna')
    arrive(BOB, 'Bob')
    const effects = send(BOB, '<presence><show>away</show></presence>')
    expect(xmlTo(ANNA, effects)).toEqual([
      `<presence from="${BOB}" to="${ANNA}"><show>away</show>${nick('Bob')}</presence>`,
    ])
    expect(router.people()).toContainEqual({
      jid: 'bob@hub.local',
      name: 'Bob',
      kind: 'chat',
      presence: { show: 'away', text: '' },
    })
  })

  it('takes who leaves off every list, whether it says goodbye or not', () => {
    arrive(ANNA, 'Anna')
    arrive(BOB, 'Bob')
    const goodbye = xmlTo(ANNA, send(BOB, '<presence type="unavailable"/>'))
    expect(goodbye[0]).toBe(`<presence type="unavailable" from="${BOB}" to="${ANNA}"/>`)
    expect(goodbye[1]).toContain('<item jid="bob@hub.local" subscription="remove"/>')
    expect(router.logout(BOB)).toEqual([])
    arrive(BOB, 'Bob')
    expect(xmlTo(ANNA, router.logout(BOB))).toEqual([goodbye[0], expect.stringContaining('subscription="remove"')])
    expect(router.people().map(({ name }) => name)).toEqual(['Anna'])
  })

  it('shows a host by the name it says, and a person by the nickname it logged in with', () => {
    arrive(ANNA, 'Anna')
    router.login(HOST, 'host-a', 'host')
    const claimed = nick('anna-laptop')
    expect(xmlTo(ANNA, send(HOST, `<presence>${claimed}</presence>`))[0]).toContain('name="anna-laptop"')
    const stanza = `<presence>${claimed}<x xmlns="urn:partyline:host:0"/><show>dnd</show></presence>`
    const person = xmlTo(HOST, send(ANNA, stanza))
    expect(person).toEqual([`<presence from="${ANNA}" to="${HOST}"><show>dnd</show>${nick('Anna')}</presence>`])
  })

  it('grants a request to see somebody at once, and asks nobody', () => {
    arrive(ANNA, 'Anna')
    arrive(BOB, 'Bob')
    expect(only(send(ANNA, '<presence type="subscribe" to="bob@hub.local"/>'))).toBe(
      '<presence type="subscribed" from="bob@hub.local" to="anna@hub.local"/>',
    )
    expect(send(ANNA, '<presence type="unsubscribe" to="bob@hub.local"/>')).toEqual([])
    expect(send(ANNA, '<presence type="subscribe" to="carla@hub.local"/>')).toEqual([])
  })

  it('gives presence to one, and takes it back when the connection ends', () => {
    arrive(ANNA, 'Anna')
    arrive(HOST, 'host')
    router.login(BOB, 'Bob', 'chat')
    expect(only(send(BOB, '<presence to="anna@hub.local/phone"/>'))).toBe(
      `<presence to="${ANNA}" from="${BOB}">${nick('Bob')}</presence>`,
    )
    expect(only(router.logout(BOB))).toBe(`<presence type="unavailable" from="${BOB}" to="${ANNA}"/>`)
  })

  it('answers a probe with what is known', () => {
    arrive(ANNA, 'Anna')
    arrive(BOB, 'Bob')
    expect(only(send(ANNA, '<presence type="probe" to="bob@hub.local"/>'))).toBe(
      `<presence from="${BOB}" to="${ANNA}">${nick('Bob')}</presence>`,
    )
  })

  it('refuses a presence that is too long for everyone', () => {
    arrive(ANNA, 'Anna')
    const long = `<presence><status>${'x'.repeat(MAX_PRESENCE)}</status></presence>`
    expect(only(send(ANNA, long))).toContain('<not-acceptable')
  })

  it('shows text without control characters, at most 255 of them', () => {
    arrive(ANNA, 'Anna')
    send(ANNA, `<presence><show>xa</show><status>a\u202eb\nc${'d'.repeat(300)}</status></presence>`)
    const text = router.people()[0]?.presence.text ?? ''
    expect(text.startsWith('ab cd')).toBe(true)
    expect(text).toHaveLength(255)
  })
})

describe('messages', () => {
  beforeEach(() => {
    arrive(ANNA, 'Anna')
    arrive(BOB, 'Bob')
  })

  it('go to a bare and to a full address, from whoever sent them', () => {
    const expected = `<message to="${BOB}" id="1" from="${ANNA}"><body>hé</body></message>`
    for (const to of ['bob@hub.local', 'BOB@Hub.Local', BOB, 'bob@hub.local/elsewhere'])
      expect(only(send(ANNA, `<message to="${to}" id="1"><body>hé</body></message>`))).toBe(expected)
  })

  it('to oneself come back', () => {
    expect(send(ANNA, '<message><body>note</body></message>').map(({ to }) => to)).toEqual([ANNA])
  })

  it('for somebody who is not here come back with an error', () => {
    router.logout(BOB)
    const back = only(send(ANNA, '<message to="bob@hub.local/desk" id="7" type="chat"><body>hi</body></message>'))
    expect(back).toBe(
      `<message type="error" to="${ANNA}" from="bob@hub.local/desk" id="7"><error type="cancel">` +
        '<service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>',
    )
  })

  it('that are errors are never answered', () => {
    expect(send(ANNA, '<message type="error" to="carla@hub.local"/>')).toEqual([])
    expect(send(ANNA, '<message type="error" to="x@elsewhere.org"/>')).toEqual([])
    expect(send(ANNA, '<iq type="result" id="1" to="carla@hub.local/x"/>')).toEqual([])
    expect(send(ANNA, '<iq type="error" id="1"/>')).toEqual([])
  })

  it.each([
    ['<message to="x@conference.hub.local"/>', 'remote-server-not-found'],
    ['<presence to="room@muc.elsewhere.org/nick"/>', 'remote-server-not-found'],
    ['<message to="hub.local"/>', 'service-unavailable'],
    ['<message type="groupchat" to="bob@hub.local"/>', 'service-unavailable'],
    ['<message to="@hub.local"/>', 'jid-malformed'],
    ['<message to="bob@hub.local/"/>', 'jid-malformed'],
    [`<message to="${'b'.repeat(2000)}@hub.local"/>`, 'jid-malformed'],
  ])('%s comes back: %s', (xml, condition) => {
    expect(only(send(ANNA, xml))).toContain(`<${condition} `)
  })

  it('in the name of somebody else are refused', () => {
    for (const from of ['bob@hub.local', BOB, 'anna@hub.local/other', 'hub.local', 'anna@elsewhere.org', '@'])
      expect(() => send(ANNA, `<message from="${from}" to="bob@hub.local"/>`)).toThrow(
        expect.objectContaining({ code: 'peer.impersonation' }),
      )
    for (const from of ['anna@hub.local', ANNA])
      expect(only(send(ANNA, `<message from="${from}" to="bob@hub.local"/>`))).toContain(`from="${ANNA}"`)
  })
})

describe('requests', () => {
  beforeEach(() => {
    arrive(ANNA, 'Anna')
    arrive(BOB, 'Bob')
  })

  it('tell what the hub is and can do', () => {
    const info = only(
      send(ANNA, '<iq type="get" id="1" to="hub.local"><query xmlns="http://jabber.org/protocol/disco#info"/></iq>'),
    )
    expect(info).toContain('<identity category="server" type="im" name="party"/>')
    for (const feature of ['urn:xmpp:ping', 'jabber:iq:roster', 'vcard-temp'])
      expect(info).toContain(`var="${feature}"`)
    expect(info).not.toContain('carbons')
  })

  it.each([
    ['<iq type="get" id="1" to="hub.local"><ping xmlns="urn:xmpp:ping"/></iq>', '<iq type="result" '],
    ['<iq type="get" id="1" to="hub.local"><query xmlns="http://jabber.org/protocol/disco#items"/></iq>', '<query '],
    ['<iq type="get" id="1" to="bob@hub.local"><query xmlns="http://jabber.org/protocol/disco#info"/></iq>', 'account'],
    ['<iq type="get" id="1"><vCard xmlns="vcard-temp"/></iq>', '<vCard xmlns="vcard-temp"/>'],
    ['<iq type="get" id="1" to="bob@hub.local"><vCard xmlns="vcard-temp"/></iq>', '<vCard xmlns="vcard-temp"/>'],
    ['<iq type="set" id="1"><vCard xmlns="vcard-temp"/></iq>', '<not-allowed '],
    ['<iq type="set" id="1"><query xmlns="jabber:iq:roster"><item jid="x@y"/></query></iq>', '<not-allowed '],
    ['<iq type="get" id="1" to="bob@hub.local"><query xmlns="jabber:iq:roster"/></iq>', '<service-unavailable '],
    ['<iq type="set" id="1"><enable xmlns="urn:xmpp:carbons:2"/></iq>', '<service-unavailable '],
    ['<iq type="get" id="1"><query xmlns="jabber:iq:private"/></iq>', '<service-unavailable '],
    ['<iq type="get" id="1"><blocklist xmlns="urn:xmpp:blocking"/></iq>', '<service-unavailable '],
    ['<iq type="set" id="1"><query xmlns="urn:xmpp:mam:2"/></iq>', '<service-unavailable '],
    ['<iq type="set" id="1" to="hub.local"><query xmlns="jabber:iq:register"/></iq>', '<service-unavailable '],
    ['<iq type="get" id="1" to="carla@hub.local/x"><ping xmlns="urn:xmpp:ping"/></iq>', '<service-unavailable '],
    ['<iq type="get" id="1" to="carla@hub.local"><ping xmlns="urn:xmpp:ping"/></iq>', '<service-unavailable '],
    ['<iq type="get"><ping xmlns="urn:xmpp:ping"/></iq>', '<bad-request '],
    ['<iq type="get" id="1"/>', '<bad-request '],
    ['<iq type="what" id="1"><ping xmlns="urn:xmpp:ping"/></iq>', '<bad-request '],
    ['<iq type="get" id="1"><ping xmlns="urn:xmpp:ping"/><ping xmlns="urn:xmpp:ping"/></iq>', '<bad-request '],
  ])('%s is answered %s', (xml, expected) => {
    const effects = send(ANNA, xml)
    expect(effects.map(({ to }) => to)).toEqual([ANNA])
    expect(only(effects)).toContain(expected)
  })

  it('to another client go there, and its answers come back', () => {
    const ask = only(send(ANNA, `<iq type="get" id="9" to="${BOB}"><ping xmlns="urn:xmpp:ping"/></iq>`))
    expect(ask).toBe(`<iq type="get" id="9" to="${BOB}" from="${ANNA}"><ping xmlns="urn:xmpp:ping"/></iq>`)
    expect(only(send(BOB, `<iq type="result" id="9" to="${ANNA}"/>`))).toBe(
      `<iq type="result" id="9" to="${ANNA}" from="${BOB}"/>`,
    )
  })
})

describe('servers for STUN and TURN (XEP-0215)', () => {
  const ask = (jid: string, xml: string): string =>
    only(send(jid, `<iq type="get" id="1" to="hub.local">${xml}</iq>`)).replace(/^<iq[^>]*>|<\/iq>$/g, '')
  const all = '<services xmlns="urn:xmpp:extdisco:2"/>'
  const STUN = '<service type="stun" host="192.0.2.1" port="3478" transport="udp"/>'
  const host = `${PEER}@hub.local/partyline`
  const TURN =
    '<service type="turn" host="192.0.2.1" port="3478" transport="udp" restricted="1" ' +
    `username="1795086400:${PEER}" password="p&amp;w" expires="2026-11-19T11:06:40.000Z"/>`

  beforeEach(() => {
    router.login(host, 'host', 'host')
    router.login(ANNA, 'Anna', 'chat')
  })

  it('are told to hosts with what to use them with, and to people without', () => {
    expect(ask(host, all)).toBe(`<services xmlns="urn:xmpp:extdisco:2">${STUN}${TURN}</services>`)
    expect(ask(ANNA, all)).toBe(`<services xmlns="urn:xmpp:extdisco:2">${STUN}</services>`)
  })

  it('are told by type, and credentials one by one', () => {
    const turn = '<services xmlns="urn:xmpp:extdisco:2" type="turn"/>'
    expect(ask(host, turn)).toBe(`<services xmlns="urn:xmpp:extdisco:2">${TURN}</services>`)
    const one =
      '<credentials xmlns="urn:xmpp:extdisco:2"><service host="192.0.2.1" type="turn" port="3478"/></credentials>'
    expect(ask(host, one)).toBe(`<credentials xmlns="urn:xmpp:extdisco:2">${TURN}</credentials>`)
    expect(ask(ANNA, one)).toContain('item-not-found')
    expect(ask(host, one.replace('192.0.2.1', '192.0.2.2'))).toContain('item-not-found')
    expect(ask(host, '<else xmlns="urn:xmpp:extdisco:2"/>')).toContain('item-not-found')
  })
})
