import { setTimeout as sleep } from 'node:timers/promises'
import { toPartylineError } from '../../../daemon/errors.ts'
import type { Lab } from '../../lab/lab.ts'
import { Guest } from '../../scenarios/party.ts'
import { type Attempt, type Ends, type MeetingPlace, PATIENCE, SERVER, SETTLING, type Subject } from './subject.ts'

const { address, other, port, tlsPort, user, password } = SERVER
const STUN = [`${address}:${port}`, `${other}:${port}`]
const TURN = `turn:${user}:${password}@${address}:${port}`
const RELAYS = [`${TURN}?transport=udp`, `${TURN}?transport=tcp`, `turns:${user}:${password}@${address}:${tlsPort}`]
const CHANNEL = 'first'

/** Two daemons that have joined the hub of a third, on the port of the web. */
export const partyline: Subject = {
  name: 'partyline',
  relays: [true, false],
  meet: async (lab) => {
    const { hub, ticket } = await openMeeting(lab)
    const place: MeetingPlace = {
      start: (hosts, hasRelay) => PartylineEnds.start(lab, hosts, ticket, hasRelay),
      [Symbol.asyncDispose]: () => hub.leave(),
    }
    return place
  },
}

/** A daemon on the public host with a hub, which everybody may log in at as often as they like, and the ticket to it. */
export async function openMeeting(lab: Lab): Promise<{ hub: Guest; ticket: string }> {
  const settings = { 'hub.port': 443, 'hub.max-per-address': 10_000 }
  const hub = await Guest.join(lab, 'pub', [], { settings })
  await hub.json(['hub', 'start', '--name', 'meeting'])
  const { ticket } = (await hub.json(['hub', 'pin'])) as { ticket: string }
  return { hub, ticket }
}

/** The settings of a host that finds ways through NAT with the servers of the lab. */
function natSettings(hub: string, hasRelay: boolean): Record<string, readonly string[]> {
  return { 'nat.stun': STUN, 'nat.turn': hasRelay ? RELAYS : [], 'hub.join': [hub] }
}

/** Two guests that trust each other and see each other at a hub. */
export async function guestsAt(
  lab: Lab,
  hosts: readonly [string, string],
  hub: string,
  hasRelay: boolean,
): Promise<[Guest, Guest]> {
  const options = { settings: natSettings(hub, hasRelay) }
  const guests = await Promise.all([Guest.join(lab, hosts[0], [], options), Guest.join(lab, hosts[1], [], options)])
  const [a, b] = guests
  await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
  await Promise.all([a.client.call('peers.trust', { peer: b.id }), b.client.call('peers.trust', { peer: a.id })])
  return guests
}

/** The lab's own authority: its servers prove themselves with a certificate that nobody else knows. */
export function trustServers(lab: Lab): void {
  lab.setEnvironment('NODE_EXTRA_CA_CERTS', `${lab.folder}/srv/coturn/cert.pem`)
}

class PartylineEnds implements Ends {
  readonly #from: Guest
  readonly #to: Guest

  private constructor(from: Guest, to: Guest) {
    this.#from = from
    this.#to = to
  }

  static async start(lab: Lab, hosts: readonly [string, string], hub: string, hasRelay: boolean): Promise<Ends> {
    return new PartylineEnds(...(await guestsAt(lab, hosts, hub, hasRelay)))
  }

  async connect(isBest: (route: string) => boolean): Promise<Attempt> {
    const [from, to] = [this.#from, this.#to]
    const answers = await from.client.messages(CHANNEL)
    const events = await to.client.events(['sessions'])
    const answering = (async () => {
      for await (const { name } of events) {
        if (name !== 'sessions.opened') continue
        await to.client.send(from.id, CHANNEL, '!')
        break
      }
    })()
    // Told of by what follows.
    answering.catch(() => {})
    const started = performance.now()
    try {
      await from.client.call('sessions.open', { peer: to.id, timeout: PATIENCE })
      await Promise.race([answers.next(), sleep(PATIENCE).then(() => Promise.reject(new Error('no first byte')))])
      const ms = performance.now() - started
      const first = await this.#route()
      return { connected: true, ms, first, last: await this.#settled(isBest) }
    } catch (error) {
      return { connected: false, ms: performance.now() - started, reason: toPartylineError(error).message }
    } finally {
      await answers.return?.()
      await events.return?.()
    }
  }

  async #route(): Promise<string> {
    const sessions = await this.#from.client.call('sessions.list', {})
    return sessions.find(({ peer }) => peer === this.#to.id)?.route ?? ''
  }

  async #settled(isBest: (route: string) => boolean): Promise<string> {
    const until = performance.now() + SETTLING
    for (;;) {
      const route = await this.#route()
      if (isBest(route) || performance.now() > until) return route
      await sleep(50)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#from.leave(), this.#to.leave()])
  }
}
