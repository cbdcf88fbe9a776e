import { rm } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import type { Publish } from '../../ipc/api.ts'
import type { HubStatus, Result } from '../../ipc/methods.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import { cleanName } from '../identity/host-name.ts'
import type { PeerId } from '../types.ts'
import type { HubServer } from './hub-server.ts'
import type { Hubs } from './hubs.ts'
import { formatHubTicket } from './ticket.ts'

interface HubServiceOptions {
  readonly self: PeerId
  /** A hub that is not started yet. */
  readonly create: (name: string) => Promise<HubServer>
  readonly hubs: Pick<Hubs, 'advertise' | 'status' | 'join' | 'leave' | 'visit'>
  readonly port: () => number
  /** The name of a hub that was given none. */
  readonly name: () => string
  /** This host's addresses that others may reach. */
  readonly addresses: () => readonly string[]
  /** Where the certificate is put for people whose client wants it. */
  readonly certificateFile: string
  /** What setting `hub.join` holds. */
  readonly remembered: () => readonly string[]
  readonly remember: (hubs: readonly string[]) => void
  readonly publish: Publish
}

/** The hub of this host, while it is one, and the hubs it has joined. */
export class HubService {
  readonly #options: HubServiceOptions
  #server: HubServer | undefined
  /** Starting and stopping, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: HubServiceOptions) {
    this.#options = options
  }

  /** Makes this host a hub, if it is none. Throws `usage.invalid-argument` when it is one of another name than the given. */
  start(name?: string): Promise<HubStatus> {
    return this.#inTurn(() => this.#start(name))
  }

  /** Ends the hub of this host; it keeps nothing. Throws `local.no-hub`. */
  stop(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#server) throw noHub()
      await this.#stop(this.#server)
    })
  }

  /** Ends the hub of this host, if it is one. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#server) await this.#stop(this.#server)
    })
  }

  status(): HubStatus {
    const { hubs, addresses, certificateFile } = this.#options
    const server = this.#server
    return {
      running: server !== undefined,
      name: server?.name ?? '',
      domain: server?.domain ?? '',
      port: server?.port ?? 0,
      addresses: server ? [...addresses()] : [],
      fingerprint: server?.fingerprint ?? '',
      certificate: server ? certificateFile : '',
      people: server?.people() ?? [],
      hubs: hubs.status(),
    }
  }

  /** What people and hosts log in with; `change` sets another PIN first, a random one where it names none. Throws `local.no-hub`. */
  door(change?: { readonly pin: string | undefined }): Result<'hub.pin'> {
    const server = this.#server
    if (!server) throw noHub()
    if (change) server.setPin(change.pin)
    const addresses = this.#options.addresses().map((address) => ({ address, port: server.port }))
    return { pin: server.pin, ticket: formatHubTicket({ peer: this.#options.self, addresses, name: server.name }) }
  }

  /** Joins a hub by address or ticket, and does so again at the next start. Throws `usage.invalid-argument` or `local.limit`. */
  join(hub: string): HubStatus {
    const { hubs, remembered, remember } = this.#options
    hubs.join(hub)
    if (!remembered().includes(hub)) remember([...remembered(), hub])
    return this.status()
  }

  /** Is at a hub until what it returns is called. Throws `usage.invalid-argument` or `local.limit`. */
  visit(hub: string): () => void {
    return this.#options.hubs.visit(hub)
  }

  /** Leaves a hub, by name, address or ticket. Throws `local.no-hub`. */
  leave(hub: string): HubStatus {
    const { hubs, remembered, remember } = this.#options
    const before = remembered()
    let forgotten: readonly string[] = []
    try {
      forgotten = hubs.leave(hub)
    } catch (error) {
      // What the settings hold and nobody can join is to be got rid of as well.
      if (!before.includes(hub)) throw error
    }
    const after = before.filter((known) => known !== hub && !forgotten.includes(known))
    if (after.length < before.length) remember(after)
    return this.status()
  }

  async #start(name: string | undefined): Promise<HubStatus> {
    const running = this.#server
    if (running && name !== undefined && cleanName(name) !== running.name)
      throw new PartylineError('usage.invalid-argument', `this host is the hub ${running.name} already`)
    if (running) return this.status()
    const { create, hubs, port, certificateFile, publish } = this.#options
    const server = await create(name ?? this.#options.name())
    await server.start({ port: port() })
    try {
      await writeFileAtomic(certificateFile, server.certificatePem, { mode: 0o644 })
    } catch (error) {
      await server.stop()
      throw fileError(certificateFile, error)
    }
    this.#server = server
    await hubs.advertise(server)
    publish('hub.changed', {})
    return this.status()
  }

  async #stop(server: HubServer): Promise<void> {
    const { hubs, certificateFile, publish } = this.#options
    this.#server = undefined
    await hubs.advertise(undefined)
    await server.stop()
    await rm(certificateFile, { force: true })
    publish('hub.changed', {})
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(task, task)
    this.#turn = turn.catch(() => {})
    return turn
  }
}

function noHub(): PartylineError {
  return new PartylineError('local.no-hub', 'this host is no hub')
}
