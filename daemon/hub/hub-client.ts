import type { Element } from 'ltx'
import type { Clock } from '../clock.ts'
import type { PartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { ClientConnection } from '../xmpp/client-connection.ts'
import { parseAddress } from './address.ts'
import { makeCredential } from './credential.ts'
import { dialHub } from './hub-dial.ts'

/** How long TCP and TLS may take. */
const DIAL_PATIENCE: Milliseconds = 4000

interface HubClientOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly target: HostPort
  /** Looks at whose key it is before anything is told; what it throws ends the connection. */
  readonly admit: (peer: PeerId, domain: string) => void
  /** Messages and presence, once logged in. */
  readonly onStanza: (stanza: Element) => void
  /** Once, for a connection that had logged in. */
  readonly onClosed: (reason: PartylineError) => void
}

/** One connection to one hub, logged in with this host's identity. */
export class HubClient extends ClientConnection {
  readonly target: HostPort

  constructor({ identity, target, admit, ...options }: HubClientOptions) {
    super({
      ...options,
      who: 'the hub',
      where: formatHostPort(target),
      patience: DIAL_PATIENCE,
      open: async (signal) => {
        const { socket, peer, domain, certificate } = await dialHub(target, signal)
        try {
          admit(peer, domain)
        } catch (error) {
          socket.destroy()
          throw error
        }
        return {
          socket,
          domain,
          mechanisms: ['PLAIN'],
          credential: () => makeCredential(identity, socket, certificate),
        }
      },
      isOwn: (jid, domain) => {
        const own = parseAddress(jid)
        return own?.local === identity.peer && own.domain === domain
      },
    })
    this.target = target
  }
}
