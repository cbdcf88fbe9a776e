import { parse } from 'ltx'
import { describe, expect, test } from 'vitest'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import {
  bodyOf,
  capsVersion,
  chatStateOf,
  discoInfoAnswer,
  ENTITY_CAPS,
  errorAnswer,
  isChatText,
  xml,
} from '../../daemon/xmpp/stanzas.ts'

describe('entity capabilities', () => {
  test("have the version string of XEP-0115's simple example (section 5.2)", () => {
    const features = [NS.caps, NS.discoInfo, NS.discoItems, 'http://jabber.org/protocol/muc']
    const identity = { category: 'client', type: 'pc', name: 'Exodus 0.9.1' }
    expect(capsVersion([identity], features.reverse())).toBe('QgayPKawpkPSDYmwT/WM94uAlu0=')
  })

  test('are what disco#info answers, so that a client that checks finds them right', () => {
    const node = `${ENTITY_CAPS.node}#${ENTITY_CAPS.ver}`
    const query = xml('query', { xmlns: NS.discoInfo, node })
    const iq = xml('iq', { type: 'get', id: '1', from: 'bob@h2' }, query)
    const answer = discoInfoAnswer(iq, query, 'alice@h1')
    expect(answer.attrs).toMatchObject({ type: 'result', id: '1', from: 'alice@h1', to: 'bob@h2' })
    const told = answer.getChild('query', NS.discoInfo)
    const identities = (told?.getChildren('identity') ?? []).map(({ attrs }) => ({
      category: attrs.category ?? '',
      type: attrs.type ?? '',
      name: attrs.name ?? '',
    }))
    const features = (told?.getChildren('feature') ?? []).map(({ attrs }) => attrs.var ?? '')
    expect(told?.attrs.node).toBe(node)
    expect(features).toContain(NS.receipts)
    expect(capsVersion(identities, features)).toBe(ENTITY_CAPS.ver)
  })

  test('of others are not ours to tell', () => {
    const query = xml('query', { xmlns: NS.discoInfo, node: 'urn:partyline#other' })
    const answer = discoInfoAnswer(xml('iq', { type: 'get', id: '1' }, query), query, 'a')
    expect(answer.getChild('error')?.getChild('item-not-found', NS.stanzas)).toBeDefined()
  })
})

describe('a message', () => {
  test('has the text of its body, as a screen may show it, and not that of its html', () => {
    const html = `<html xmlns='http://www.w3.org/1999/xhtml'><body>no</body></html>`
    const message = parse(`<message xmlns='jabber:client'>${html}<body>a&#13;&#10;b&#9;&#x9b;c&#x7f;é</body></message>`)
    expect(message && bodyOf(message)).toBe('a\nb\tcé')
    expect(bodyOf(xml('message', { xmlns: NS.client }))).toBeUndefined()
  })

  test('holds 4096 bytes of text, in UTF-8', () => {
    expect(isChatText('é'.repeat(2048))).toBe(true)
    expect(isChatText(`${'é'.repeat(2048)}!`)).toBe(false)
  })

  test('may tell a chat state', () => {
    expect(chatStateOf(xml('message', {}, xml('paused', { xmlns: NS.chatStates })))).toBe('paused')
    expect(chatStateOf(xml('message', {}, xml('paused', { xmlns: 'other' })))).toBeUndefined()
  })

  test('is answered with an error that repeats nothing of it', () => {
    const message = xml('message', { from: 'bob@h2', id: 'x"1' }, xml('body', {}, 'long'))
    expect(errorAnswer(message, 'alice@h1', 'not-acceptable').toString()).toBe(
      `<message type="error" from="alice@h1" to="bob@h2" id="x&quot;1"><error type="modify"><not-acceptable xmlns="${NS.stanzas}"/></error></message>`,
    )
  })
})
