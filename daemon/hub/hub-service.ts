import { rm } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import type { Publish } from '../../ipc/api.ts'
import type { HubStatus, Result } from '../../ipc/methods.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import type { PeerId } from '../types.ts'
import type { HubServer } from './hub-server.ts'
import type { Hubs } from './hubs.ts'
import { formatHubTicket } from './ticket.ts'

interface HubServiceOptions {
  readonly self: PeerId
  /** A hub that is not started yet; an empty name means one made from this host's. */
  readonly create: (name: string) => HubServer
  readonly hubs: Hubs
  readonly port: () => number
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

  /** Makes this host a hub, if it is none. Throws `usage.invalid-argument` when it is one of another name. */
  start(name: string = this.#options.name()): Promise<HubStatus> {
    return this.#inTurn(() => this.#start(name))
  }

  /** Throws `local.no-hub`. */
  async stop(): Promise<void> {
    if (!this.#server) throw new PartylineError('local.no-hub', 'this host is no hub')
    await this.close()
  }

  /** Ends the hub of this host, if it is one; it keeps nothing. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      const server = this.#server
      if (!server) return
      this.#server = undefined
      await this.#options.hubs.advertise(undefined)
      await server.stop()
      await rm(this.#options.certificateFile, { force: true })
      this.#options.publish('hub.changed', {})
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
    if (!server) throw new PartylineError('local.no-hub', 'this host is no hub')
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

  /** Leaves a hub, by name, address or ticket. Throws `local.no-hub`. */
  leave(hub: string): HubStatus {
    const { hubs, remembered, remember } = this.#options
    const forgotten = hubs.leave(hub)
    remember(remembered().filter((known) => known !== hub && !forgotten.includes(known)))
    return this.status()
  }

  async #start(name: string): Promise<HubStatus> {
    const running = this.#server
    if (running && name !== '' && name !== running.name)
      throw new PartylineError('usage.invalid-argument', `this host is the hub ${running.name} already`)
    if (running) return this.status()
    const { create, hubs, port, certificateFile, publish } = this.#options
    const server = create(name)
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

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(task, task)
    this.#turn = turn.catch(() => {})
    return turn
  }
}
