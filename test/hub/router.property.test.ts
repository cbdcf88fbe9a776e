import fc from 'fast-check'
import { Element } from 'ltx'
import { expect, it } from 'vitest'
import { Router } from '../../daemon/hub/router.ts'

const NAMES = ['anna', 'bob', 'carla', 'dora'] as const
const jidOf = (name: string): string => `${name}@hub.local/r`

type Step =
  | { readonly kind: 'come' | 'leave' | 'list'; readonly who: string }
  | {
      readonly kind: 'presence'
      readonly who: string
      readonly type: string | undefined
      readonly to: string | undefined
    }
  | { readonly kind: 'message' | 'iq'; readonly who: string; readonly type: string | undefined; readonly to: string }

const who = fc.constantFrom(...NAMES)
const to = fc.oneof(
  who.map((name) => `${name}@hub.local`),
  who.map(jidOf),
  fc.constantFrom('hub.local', 'x@muc.hub.local', 'nobody@hub.local', 'anna@hub.local/other', '@', ''),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('come', 'leave', 'list'), who }),
  fc.record({
    kind: fc.constant('presence'),
    who,
    type: fc.constantFrom(undefined, undefined, 'unavailable', 'subscribe', 'probe', 'error', 'odd'),
    to: fc.oneof(fc.constant(undefined), fc.constant(undefined), to),
  }),
  fc.record({
    kind: fc.constantFrom('message', 'iq'),
    who,
    type: fc.constantFrom(undefined, 'get', 'set', 'result', 'error', 'chat', 'groupchat'),
    to,
  }),
) as fc.Arbitrary<Step>

/** What a client believes, from what it was sent alone. */
interface Belief {
  readonly there: Set<string>
  readonly list: Set<string>
  asked: boolean
  present: boolean
}

/** Runs steps through a router and keeps what each client believes. */
class Party {
  readonly router = new Router({ domain: 'hub.local', name: 'party', newId: () => 'id' })
  readonly beliefs = new Map<string, Belief>()

  run(one: Step): void {
    const jid = jidOf(one.who)
    const belief = this.beliefs.get(jid)
    if (one.kind === 'come') {
      if (belief) return
      this.beliefs.set(jid, { there: new Set(), list: new Set(), asked: false, present: false })
      this.router.login(jid, one.who, 'chat')
      return
    }
    if (!belief) return
    if (one.kind === 'leave') {
      this.beliefs.delete(jid)
      this.#deliver(jid, undefined, this.router.logout(jid))
      return
    }
    const stanza = stanzaOf(one)
    if (one.kind === 'list') belief.asked = true
    if (one.kind === 'presence' && one.to === undefined) {
      if (one.type === undefined) belief.present = true
      if (one.type === 'unavailable') {
        belief.present = false
        belief.there.clear()
      }
    }
    this.#deliver(jid, 'to' in one ? one.to : undefined, this.router.stanza(jid, stanza))
  }

  #deliver(sender: string, addressed: string | undefined, effects: ReturnType<Router['logout']>): void {
    for (const effect of effects) {
      const belief = this.beliefs.get(effect.to)
      if (!belief) throw new Error(`${effect.to} is not logged in`)
      expect(effect.element.attrs.to === effect.to || effect.element.attrs.type === 'subscribed').toBe(true)
      // What names an address goes there or comes back to the sender, and to nobody else.
      if (addressed !== undefined) expect([sender, jidOf(addressed.split('@')[0] ?? '')]).toContain(effect.to)
      believe(belief, effect.element)
    }
  }
}

function stanzaOf(one: Step): Element {
  if (one.kind === 'list') {
    const iq = new Element('iq', { type: 'get', id: '1' })
    iq.c('query', { xmlns: 'jabber:iq:roster' })
    return iq
  }
  const { type, to: address } = one as { type?: string; to?: string }
  const stanza = new Element(one.kind, {
    id: '1',
    ...(type && { type }),
    ...(address !== undefined && { to: address }),
  })
  if (one.kind === 'iq') stanza.c('ping', { xmlns: 'urn:xmpp:ping' })
  return stanza
}

function believe(belief: Belief, stanza: Element): void {
  const from = stanza.attrs.from ?? ''
  if (stanza.name === 'presence' && stanza.attrs.type === undefined) belief.there.add(from)
  if (stanza.name === 'presence' && stanza.attrs.type === 'unavailable') belief.there.delete(from)
  const query = stanza.name === 'iq' ? stanza.getChild('query', 'jabber:iq:roster') : undefined
  if (!query) return
  if (stanza.attrs.type === 'result') belief.list.clear()
  for (const item of query.getChildElements()) {
    if (item.attrs.subscription === 'remove') belief.list.delete(item.attrs.jid ?? '')
    else belief.list.add(item.attrs.jid ?? '')
  }
}

it('everyone present knows everyone present, whatever happened; who asked for a list has everyone on it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const party = new Party()
      // Presence for one, from somebody who told nobody else, is its own matter.
      const open = steps.filter((one) => one.kind !== 'presence' || one.to === undefined || one.type === 'subscribe')
      for (const one of open) party.run(one)
      const present = [...party.beliefs].filter(([, belief]) => belief.present).map(([jid]) => jid)
      expect(party.router.people().map(({ jid }) => `${jid}/r`)).toEqual(present.sort())
      for (const [jid, belief] of party.beliefs) {
        if (belief.present) expect([...belief.there].sort()).toEqual(present)
        if (belief.asked)
          expect([...belief.list].sort()).toEqual(present.filter((one) => one !== jid).map((one) => one.split('/')[0]))
      }
    }),
    { numRuns: 300 },
  )
})

it('a stanza goes to whom it names or back to its sender, never to a third, and only to who is logged in', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const party = new Party()
      for (const one of steps) party.run(one)
    }),
    { numRuns: 300 },
  )
})
