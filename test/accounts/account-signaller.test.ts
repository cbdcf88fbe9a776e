import { describe, expect, test } from 'vitest'
import { addressAt, resourceOf } from '../../daemon/accounts/account-address.ts'
import { AccountSignaller } from '../../daemon/accounts/account-signaller.ts'
import { systemClock } from '../../daemon/clock.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import { newIdentity } from '../hub/hub-host.ts'
import { describeSignaller, type SuitePair } from '../signaling/signaller-suite.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { AccountHost } from './account-host.ts'
import { Authority } from './authority.ts'
import { stanza, XmppServer } from './xmpp-server.ts'

const DOMAIN = 'example.org'
const NAMES = ['anna', 'ben', 'cleo'] as const

/** Three hosts with an account each, at one server. */
async function makePair(): Promise<SuitePair> {
  const authority = await Authority.make()
  const certificate = await authority.certify(DOMAIN)
  const users = Object.fromEntries(NAMES.map((name) => [name, 'secret']))
  const server = await XmppServer.start({ domain: DOMAIN, certificate, users })
  const { port } = server
  const hosts = NAMES.map(() => new AccountHost(systemClock))
  const [a, b, c] = hosts
  if (!a || !b || !c) throw new Error('unreachable: there are three')
  for (const [index, host] of hosts.entries()) {
    for (const [other, { peer }] of hosts.entries()) host.ways.set(peer, [`${NAMES[other]}@${DOMAIN}`])
    const jid = `${NAMES[index]}@${DOMAIN}`
    await host.accounts.add({ jid, password: 'secret', server: server.place, ca: authority.pem })
  }
  const endOf = (host: AccountHost) => ({
    identity: host.identity,
    signaller: host.accounts.signaller,
    close: () => host.accounts.close(),
  })
  return {
    a: endOf(a),
    b: endOf(b),
    others: [endOf(c)],
    cut: async () => {
      await server.stop()
      await a.until(() => a.only.state === 'waiting')
    },
    mend: async () => {
      await server.listen(port)
      for (const host of hosts) host.accounts.networkChanged([])
      await Promise.all([a, b].map((host) => host.until(() => host.only.state === 'online')))
    },
    stop: async () => {
      await Promise.all(hosts.map((host) => host[Symbol.asyncDispose]()))
      await server.stop()
    },
  }
}

describeSignaller('an XMPP account', makePair)

describe('what comes to an account', () => {
  function world() {
    const refusals = new Refusals()
    const clock = new VirtualClock()
    const { peer } = newIdentity()
    const signaller = new AccountSignaller({ self: peer, clock, refusals, accountsOf: () => [], connections: () => [] })
    const got: string[] = []
    signaller.onSignal((sealed) => void got.push(Buffer.from(sealed).toString()))
    const take = (text: string) => signaller.take('anna@example.org', stanza(text))
    return { refusals, clock, got, take }
  }
  const signal = (text: string) => `<signal xmlns='${NS.signal}'>${text}</signal>`
  const HELLO = Buffer.from('hello').toString('base64')

  test('is a signal, or left alone', () => {
    const { got, take, refusals } = world()
    take(`<message from='ben@example.org/x'>${signal(HELLO)}</message>`)
    take(`<message from='ben@example.org/x'><body>buy this</body></message>`)
    take(`<message from='ben@example.org/x' type='error'>${signal(HELLO)}</message>`)
    expect([got, refusals.snapshot()]).toEqual([['hello'], {}])
  })

  test('is counted where it is none, or too long', () => {
    const { got, take, refusals } = world()
    take(`<message from='ben@example.org/x'>${signal('&amp;&amp;')}</message>`)
    take(`<message from='ben@example.org/x'>${signal('A'.repeat(200_000))}</message>`)
    expect([got, refusals.snapshot()]).toEqual([[], { 'peer.bad-signal': 1, 'peer.oversized': 1 }])
  })

  test('is bounded for each who sends it: one of them does not silence the others', () => {
    const { got, take, refusals, clock } = world()
    for (let n = 0; n < 1000; n++) take(`<message from='mallory@example.com/${n % 2}'>${signal(HELLO)}</message>`)
    const bound = got.length
    expect(bound).toBeLessThan(700)
    expect(refusals.snapshot()['peer.rate-limited']).toBe(1000 - bound)
    take(`<message from='ben@example.org/x'>${signal(HELLO)}</message>`)
    expect(got).toHaveLength(bound + 1)
    clock.advance(1000)
    take(`<message from='mallory@example.com/1'>${signal(HELLO)}</message>`)
    expect(got).toHaveLength(bound + 2)
  })
})

test('the address of a host at an account follows from its id, and tells nothing of it', () => {
  const [one, another] = [newIdentity().peer, newIdentity().peer]
  expect(resourceOf(one)).toMatch(/^pl-[0-9a-f]{20}$/)
  expect(addressAt('anna@example.org', one)).toBe(`anna@example.org/${resourceOf(one)}`)
  expect(resourceOf(one)).not.toBe(resourceOf(another))
  expect(one).not.toContain(resourceOf(one).slice(3))
})
