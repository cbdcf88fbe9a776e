import type { Handlers } from '../../ipc/api.ts'
import type { People } from '../peers/people.ts'
import type { Milliseconds } from '../types.ts'
import type { RelayService } from './relay-service.ts'

const DAY: Milliseconds = 86_400_000

/** What the socket's methods about this host's relay do. */
export function relayHandlers(
  relay: RelayService,
  people: People,
): Pick<Handlers, Extract<keyof Handlers, `relay.${string}`>> {
  return {
    'relay.start': () => relay.start(),
    'relay.stop': async () => {
      await relay.stop()
      return {}
    },
    'relay.status': () => relay.status(),
    'relay.credentials': ({ peer, lifetime = DAY }) => relay.credentials(people.host(peer), lifetime),
  }
}
