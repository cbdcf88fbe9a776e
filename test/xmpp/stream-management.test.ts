import fc from 'fast-check'
import { parse } from 'ltx'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { MAX_UNCONFIRMED, StreamManagement } from '../../daemon/xmpp/stream-management.ts'

const NS = 'urn:xmpp:sm:3'
const element = (text: string) => {
  const parsed = parse(text)
  if (!parsed) throw new Error(`not XML: ${text}`)
  return parsed
}
const begun = (): StreamManagement => {
  const management = new StreamManagement()
  expect(management.begin('anna@example.org/x').toString()).toBe(`<enable xmlns="${NS}" resume="true"/>`)
  management.take(element(`<enabled xmlns='${NS}' id='one' resume='true'/>`))
  return management
}
const confirm = (h: number | string) => element(`<a xmlns='${NS}' h='${h}'/>`)

describe('stream management (XEP-0198)', () => {
  test('counts what came, and tells it when asked', () => {
    const management = begun()
    management.came()
    management.came()
    expect(management.take(element(`<r xmlns='${NS}'/>`))?.toString()).toBe(`<a xmlns="${NS}" h="2"/>`)
    expect(management.resumption).toEqual({ id: 'one', received: 2, jid: 'anna@example.org/x' })
  })

  test('sends again what the server did not get, and nothing else', () => {
    const management = begun()
    for (const stanza of ['<a/>', '<b/>', '<c/>', '<d/>']) management.sent(stanza)
    management.take(confirm(1))
    management.pause()
    management.sent('<not-sent/>')
    expect(management.resumed(confirm(2))).toEqual(['<c/>', '<d/>'])
    management.take(confirm(4))
    expect(management.resumed(confirm(4))).toEqual([])
  })

  test('cannot go on where too much is unconfirmed, or the server does not keep streams', () => {
    const management = begun()
    for (let i = 0; i < MAX_UNCONFIRMED; i++) management.sent(`<n${i}/>`)
    expect(management.resumption).toBeDefined()
    management.sent('<one-more/>')
    expect(management.resumption).toBeUndefined()
    const other = new StreamManagement()
    other.begin('anna@example.org/x')
    other.take(element(`<enabled xmlns='${NS}'/>`))
    expect(other.resumption).toBeUndefined()
    other.take(element(`<failed xmlns='${NS}'/>`))
    expect(other.resumption).toBeUndefined()
  })

  test.each(['5', '-1', 'x', '', '99999999999'])('refuses the confirmation %j of what was never sent', (h) => {
    const management = begun()
    management.sent('<a/>')
    expect(() => management.take(confirm(h))).toThrow(PartylineError)
  })

  test('neither loses nor doubles a stanza, wherever the connection breaks', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('send', 'arrive', 'confirm', 'break'), { maxLength: 60 }), (steps) => {
        const management = begun()
        const got: string[] = []
        let flying: string[] = []
        let sent = 0
        for (const step of steps) {
          if (step === 'send') {
            const stanza = `<s${sent++}/>`
            management.sent(stanza)
            flying.push(stanza)
          }
          if (step === 'arrive') got.push(...flying.splice(0, 1))
          if (step === 'confirm') management.take(confirm(got.length))
          if (step === 'break') {
            management.pause()
            flying = [...management.resumed(confirm(got.length))]
          }
        }
        got.push(...flying)
        expect(got).toEqual(Array.from({ length: sent }, (_, index) => `<s${index}/>`))
      }),
    )
  })
})
