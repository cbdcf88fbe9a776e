import type { StunMessage } from '../nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../nat/stun/registry.ts'

const REQUESTS: ReadonlySet<number> = new Set([
  METHOD.allocate,
  METHOD.refresh,
  METHOD.createPermission,
  METHOD.channelBind,
])

/**
 * True for what only a client sends to a server, and a server never to a client. Checks of ICE are Binding requests as well, and name whom they
 * are for (RFC 8445 section 7.2.2).
 */
export function isForServer(message: StunMessage): boolean {
  if (message.class === 'request')
    return REQUESTS.has(message.method) || (message.method === METHOD.binding && !message.has(ATTRIBUTE.username))
  return message.class === 'indication' && message.method === METHOD.send
}
