import type { Handlers } from '../../ipc/api.ts'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Invites } from './invites.ts'

const DAY: Milliseconds = 86_400_000
/** Somebody sits and waits for the answer. */
const OFFER_TIME: Milliseconds = 600_000

/** What the socket's methods about invitations do. */
export function inviteHandlers(invites: Invites): Pick<Handlers, Extract<keyof Handlers, `invites.${string}`>> {
  return {
    'invites.create': ({ uses = 1, lifetime, for: receiver, petname = '', offline = false }) =>
      invites.create({
        uses,
        lifetime: lifetime ?? (offline ? OFFER_TIME : DAY),
        for: receiver === undefined ? undefined : checkedPeer(receiver),
        petname,
        offline,
      }),
    'invites.list': () => invites.list(),
    'invites.revoke': ({ id }) => invites.revoke(id),
    'invites.join': ({ ticket, petname, timeout }, caller) => invites.join(ticket, { petname, timeout }, caller.signal),
    'invites.wait': ({ peer }) => invites.wait(checkedPeer(peer)),
    'invites.answer': ({ ticket }) => invites.answer(ticket),
  }
}

function checkedPeer(text: string): PeerId {
  if (isPeerId(text)) return text
  throw new PartylineError('usage.invalid-argument', `"${text}" is no peer id`)
}
