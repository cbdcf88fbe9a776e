import type { Handlers } from '../../../ipc/api.ts'
import type { ParsedParams } from '../../../ipc/methods.ts'
import { PartylineError } from '../../errors.ts'
import type { People } from '../../peers/people.ts'
import type { SessionManager } from '../../session/session-manager.ts'
import type { PeerId } from '../../types.ts'
import type { MessageService } from '../messages.ts'

interface MessageHandlerParts {
  readonly people: Pick<People, 'host'>
  readonly sessions: Pick<SessionManager, 'get'>
  readonly messages: MessageService
}

type MessageMethod = Extract<keyof Handlers, `messages.${string}`>

/** Handlers of the `messages.` methods. */
export function messageHandlers({ people, sessions, messages }: MessageHandlerParts): Pick<Handlers, MessageMethod> {
  /** Who has a session is named by a peer id more often than not: then nobody has to be looked up. */
  const host = (text: string): PeerId => (sessions.get(text as PeerId) ? (text as PeerId) : people.host(text))
  return {
    'messages.send': ({ peer, channel, data, ...options }, caller) => {
      refuseReserved(channel)
      return messages.app(caller).send(host(peer), channel, bytesOf(data), options)
    },
    'messages.lanes': ({ peer, lanes, gather }, caller) => {
      messages.app(caller).setLanes(host(peer), lanes, gather)
      return {}
    },
    'messages.flush': ({ peer }) => {
      sessions.get(host(peer))?.flush()
      return {}
    },
    'messages.listen': ({ channel, accept }, caller) => {
      refuseReserved(channel)
      messages.listen(caller, channel, accept ?? 'all')
      return {}
    },
    'messages.unlisten': ({ channel }, caller) => {
      messages.unlisten(caller, channel)
      return {}
    },
    'messages.accept': ({ peer }, caller) => {
      messages.app(caller).accept(host(peer))
      return {}
    },
    'messages.refuse': ({ peer }, caller) => {
      messages.app(caller).refuse(host(peer))
      return {}
    },
  }
}

/** Names that begin with `partyline.` belong to the daemon. Throws `usage.invalid-argument`. */
export function refuseReserved(name: string): void {
  if (name.startsWith('partyline.'))
    throw new PartylineError(
      'usage.invalid-argument',
      `${name}: names that begin with "partyline." belong to the daemon`,
    )
}

/** The bytes of a message's content, in whichever form the encoding brought it. */
function bytesOf(data: ParsedParams<'messages.send'>['data']): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, 'utf8')
  return data instanceof Uint8Array ? data : Buffer.from(data.base64, 'base64')
}
