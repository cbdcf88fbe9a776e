import { generateKeyPairSync } from 'node:crypto'
import { systemClock } from '../../daemon/clock.ts'
import { HubClient } from '../../daemon/hub/hub-client.ts'
import { hostPresence } from '../../daemon/hub/hub-presence.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { AVAILABLE, type HostPort } from '../../daemon/types.ts'
import { xml } from '../../daemon/xmpp/stanzas.ts'

/** How long each step of a crowd at a hub took, in milliseconds. */
interface CrowdTimes {
  readonly logIn: number
  /** Until everyone has everyone's presence. */
  readonly presence: number
  /** Until a message of each has arrived at the next. */
  readonly messages: number
}

/** Logs so many hosts in at a hub at once, waits until all see all, and passes a message from each to the next. */
export async function crowdAtHub(target: HostPort, count: number): Promise<CrowdTimes> {
  const everyone = Promise.withResolvers<void>()
  const delivered = Promise.withResolvers<void>()
  let seen = 0
  let received = 0
  const identities = Array.from({ length: count }, () => identityOf(generateKeyPairSync('ed25519').privateKey))
  const members = new Set<string>(identities.map(({ peer }) => peer))
  const clients = identities.map((identity) => {
    const others = new Set<string>()
    return new HubClient({
      identity,
      clock: systemClock,
      target,
      admit: () => {},
      onStanza: ({ name, attrs }) => {
        const from = String(attrs.from).split('@')[0] ?? ''
        if (name === 'message' && ++received === count) delivered.resolve()
        if (name !== 'presence' || from === identity.peer || !members.has(from) || others.has(from)) return
        others.add(from)
        if (++seen === count * (count - 1)) everyone.resolve()
      },
      onClosed: (reason) => everyone.reject(reason),
    })
  })
  const started = performance.now()
  await Promise.all(clients.map((client) => client.connect()))
  const loggedIn = performance.now()
  for (const [i, client] of clients.entries()) client.send(hostPresence(AVAILABLE, `host ${i}`))
  await everyone.promise
  const present = performance.now()
  for (const [i, client] of clients.entries()) {
    const next = clients[(i + 1) % count]
    client.send(xml('message', { to: `${next?.jid}`, type: 'chat' }, xml('body', {}, 'hello')))
  }
  await delivered.promise
  return { logIn: loggedIn - started, presence: present - loggedIn, messages: performance.now() - present }
}
