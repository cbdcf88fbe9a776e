import type { Timer } from '../../../../daemon/clock.ts'
import { type LocalCandidate, priorityOf } from '../../../../daemon/nat/candidate.ts'
import type { HostPort, Milliseconds } from '../../../../daemon/types.ts'
import { familyOf, keyOf } from './packet.ts'
import type { SimulatedInternet } from './simulated-internet.ts'
import { StunServer } from './stun-server.ts'

/** How often mappings are kept alive, and looked at. */
const REFRESH: Milliseconds = 20_000
/** How often it is seen whether a relayed address still works. */
const RELAY_CHECK: Milliseconds = 3000
/** When a question is asked again that was not answered, after the first time. */
const ASK_AGAIN: readonly Milliseconds[] = [250, 750, 1750]

/** Candidates of a simulated host, gathered as the daemon's pool does it: from its interfaces, its STUN servers, its router and its relay. */
export class CandidatePool {
  readonly #internet: SimulatedInternet
  readonly #index: number
  readonly #onChange: () => void
  /** By STUN server. */
  readonly #reflexive = new Map<string, { readonly seen: HostPort; fresh: boolean }>()
  #mapped: HostPort | undefined
  #timers: Timer[] = []
  #relayTimer: Timer | undefined
  #last = ''

  constructor(internet: SimulatedInternet, index: number, onChange: () => void) {
    this.#internet = internet
    this.#index = index
    this.#onChange = onChange
  }

  /** Gathers everything anew: at the start, and when the host's network has changed. */
  gather(): void {
    this.#reflexive.clear()
    this.#askAll()
    this.#changed()
    this.#relayTimer?.cancel()
    this.#relayTimer = this.#host.after(4 * this.#internet.leg(this.#index).quality.latency, () => this.#lookAtRelay())
  }

  /** True when it was an answer of a STUN server. */
  receive(payload: Buffer, from: HostPort): boolean {
    const seen = StunServer.answer(payload)
    if (!seen) return false
    this.#reflexive.set(from.address, { seen, fresh: true })
    this.#changed()
    return true
  }

  get candidates(): LocalCandidate[] {
    const { addresses, port, allocations } = this.#host
    const own = addresses.map((address) => ({ kind: 'host' as const, address, port }))
    const relayed = [...allocations.values()].map(({ address, port, id }) => ({
      kind: 'relay' as const,
      address,
      port,
      relay: id,
    }))
    const isOwn = (one: HostPort): boolean => addresses.includes(one.address)
    const seen = [...this.#reflexive.values()].map((one) => ({ kind: 'srflx' as const, ...one.seen }))
    const reflexive = seen.filter(
      (one, at) => !isOwn(one) && seen.findIndex((other) => keyOf(other) === keyOf(one)) === at,
    )
    const mapped = this.#mapped ? [{ kind: 'mapped' as const, ...this.#mapped }] : []
    return [...own, ...mapped, ...reflexive, ...relayed].map((one, at) => ({
      ...one,
      priority: priorityOf(one.kind, (familyOf(one.address) === 6 ? 65_535 : 65_000) - at),
      foundation: `${one.kind}${familyOf(one.address)}${at}`,
      interface: '',
    }))
  }

  get #host() {
    return this.#internet.host(this.#index)
  }

  #changed(): void {
    const now = JSON.stringify(this.candidates)
    if (now === this.#last) return
    this.#last = now
    this.#onChange()
  }

  #askAll(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#mapped = this.#internet.forward(this.#index)
    for (const one of this.#reflexive.values()) one.fresh = false
    const later = ASK_AGAIN.map((delay) => this.#host.after(delay, () => this.#ask()))
    const forget = this.#host.after(4000, () => this.#forgetStale())
    this.#timers = [...later, forget, this.#host.after(REFRESH, () => this.#askAll())]
    this.#ask()
  }

  #ask(): void {
    if (!this.#host.addresses.some((address) => familyOf(address) === 4)) return
    for (const { address } of this.#internet.stunServers)
      if (!this.#reflexive.get(address)?.fresh)
        this.#host.send(StunServer.question(), { address, port: StunServer.PORT })
  }

  #forgetStale(): void {
    for (const [server, { fresh }] of this.#reflexive) if (!fresh) this.#reflexive.delete(server)
    this.#changed()
  }

  #lookAtRelay(): void {
    const { allocations } = this.#host
    for (const [id, allocation] of allocations) if (!allocation.isAlive) allocations.delete(id)
    const mayUse = this.#internet.spec.hosts[this.#index]?.relay
    if (mayUse && allocations.size === 0) {
      const allocation = this.#internet.relay.allocate(this.#host, this.#internet.leg(this.#index))
      if (allocation) allocations.set(allocation.id, allocation)
    }
    this.#changed()
    this.#relayTimer = this.#host.after(RELAY_CHECK, () => this.#lookAtRelay())
  }
}
