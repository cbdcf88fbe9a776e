import { type Places, resolvePlaces } from '../../daemon/places.ts'
import type { Client, ConnectOptions } from '../../ipc/client.ts'
import type { Machine } from './machine.ts'
import type { LoggedLine, Scope, ServiceManager, ServiceState } from './manager.ts'

/** Warnings and errors that are shown. */
const TROUBLES = 5
/** How long the daemon may take to answer. */
const PATIENCE = 3000

/** Everything about how a service fares, from its manager and from the daemon itself. */
export interface ServiceHealth extends ServiceState {
  readonly manager: ServiceManager['name']
  readonly scope: Scope
  /** `accepts` is null where whoever asks may not try. */
  readonly sockets: readonly { readonly name: string; readonly path: string; readonly accepts: boolean | null }[]
  /** What the daemon itself answers; null where it does not, or may not be asked. */
  readonly daemon: {
    readonly version: string
    readonly id: string
    /** In milliseconds. */
    readonly uptime: number
    readonly memory: number
    readonly peers: number
    readonly apps: number
  } | null
  readonly errors: readonly LoggedLine[]
}

interface HealthQuery {
  readonly machine: Machine
  readonly manager: ServiceManager
  readonly scope: Scope
  readonly connect: (options: ConnectOptions) => Promise<Client>
}

/** A service has the places of its scope, whatever the shell that asks has set. */
export function servicePlaces({ env, platform, userHome }: Machine, scope: Scope): Places {
  return resolvePlaces({ env: { ...env, PARTYLINE_HOME: undefined }, system: scope === 'system', platform, userHome })
}

export async function serviceHealth({ machine, manager, scope, connect }: HealthQuery): Promise<ServiceHealth> {
  const [state, errors] = await Promise.all([manager.state(), manager.lines(TROUBLES, 'warn')])
  const { appSocket, controlSocket } = servicePlaces(machine, scope)
  // Sockets of a service that does not run are not tried: systemd would start it.
  const tried = async (path: string): Promise<boolean | null> =>
    state.running ? ((await machine.accepts(path)) ?? null) : false
  const sockets = [
    { name: 'app', path: appSocket, accepts: await tried(appSocket) },
    { name: 'control', path: controlSocket, accepts: await tried(controlSocket) },
  ]
  const daemon = sockets[0]?.accepts ? await ask(() => connect({ app: 'partyline-cli', socket: appSocket })) : null
  const since = state.since ?? (daemon ? new Date(Date.now() - daemon.uptime).toISOString() : null)
  return {
    manager: manager.name,
    scope,
    ...state,
    since,
    pid: state.pid ?? daemon?.pid ?? null,
    sockets,
    daemon,
    errors,
  }
}

async function ask(dial: () => Promise<Client>): Promise<(ServiceHealth['daemon'] & { pid: number }) | null> {
  const answer = async (): Promise<ServiceHealth['daemon'] & { pid: number }> => {
    await using client = await dial()
    const { version, id, uptime, memory, peers, apps, pid } = await client.call('daemon.status', {})
    return { version, id, uptime, memory, peers: peers.seen + peers.connected, apps, pid }
  }
  const { promise: late, resolve } = Promise.withResolvers<null>()
  const patience = setTimeout(resolve, PATIENCE, null)
  try {
    return await Promise.race([answer(), late])
  } catch {
    return null
  } finally {
    clearTimeout(patience)
  }
}
