import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Result } from '../../ipc/methods.ts'
import type { Lab } from '../lab/lab.ts'
import { Guest } from './party.ts'

/** The second name of the host `pub`. */
const PLACE = 'other.test:443'

type Settings = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** An XMPP server and a STUN and TURN server on the internet, with the port of the web open on both. */
export async function openInternet(lab: Lab, ...modules: readonly string[]): Promise<void> {
  await Promise.all([lab.svc('srv', 'coturn', 'rest', '443'), lab.svc('pub', 'prosody', 'lab.test', 'web', ...modules)])
  lab.setEnvironment('NODE_EXTRA_CA_CERTS', join(lab.folder, 'srv/coturn/cert.pem'))
}

/** A file of the XMPP server. */
export const serverFile = (lab: Lab, name: 'log' | 'pid' | 'cert.pem'): string =>
  readFileSync(join(lab.folder, 'pub/prosody', name), 'utf8')

/** A daemon that knows of nothing but an account: `alice` or `bob`, whose password is the name. */
export async function startWithAccount(
  lab: Lab,
  host: string,
  user: 'alice' | 'bob',
  settings: Settings = {},
): Promise<Guest> {
  const guest = await Guest.join(lab, host, [], { settings: { 'log.level': 'debug', ...settings } })
  await logIn(lab, guest, user)
  return guest
}

/** As `partyline account add`. */
async function logIn(lab: Lab, guest: Guest, user: 'alice' | 'bob'): Promise<Result<'accounts.add'>> {
  const ca = serverFile(lab, 'cert.pem')
  const account = { jid: `${user}@lab.test`, password: user, server: PLACE, ca }
  return guest.client.call('accounts.add', account)
}

/** The first invites the second. Resolves with the ticket once they trust each other. */
export async function befriend(host: Guest, guest: Guest): Promise<string> {
  const { ticket } = (await host.json(['invite'])) as Result<'invites.create'>
  await guest.json(['join', ticket])
  return ticket
}

/** A line of chat there and one back. */
export async function chat(a: Guest, b: Guest, about = 'hello'): Promise<void> {
  await a.client.call('chat.send', { peer: b.id, text: `${about} from ${a.host}` })
  await b.hears(`${about} from ${a.host}`)
  await b.client.call('chat.send', { peer: a.id, text: `${about} from ${b.host}` })
  await a.hears(`${about} from ${b.host}`)
}
