import { isIP } from 'node:net'
import { familyOf } from '../nat/turn/peer-address.ts'
import { broadcastOf, plainAddress } from '../network/addresses.ts'
import type { InterfaceAddress, NetworkInterface } from '../network/network.ts'
import type { HostPort } from '../types.ts'

/** Which of a host's addresses its relays have, as they are here and as others see them. */
export class RelayAddresses {
  #all: readonly InterfaceAddress[] = []
  #own: ReadonlySet<string> = new Set()
  #relays: ReadonlySet<string> = new Set()
  readonly #bind = new Map<4 | 6, string>()
  readonly #external = new Map<4 | 6, string>()

  /** Takes up the interfaces there are now, and setting `relay.external`. */
  update(interfaces: readonly NetworkInterface[], external: readonly string[]): void {
    const all = interfaces.flatMap(({ addresses }) => addresses)
    this.#all = all.filter(({ scope }) => scope !== 'link-local')
    const taking = interfaces.filter(({ participating, kind }) => participating && kind !== 'loopback')
    const usable = taking.flatMap(({ addresses }) => addresses).filter(({ scope }) => scope !== 'link-local')
    this.#bind.clear()
    this.#external.clear()
    for (const family of [4, 6] as const) {
      const best = bestOf(usable, family) ?? bestOf(this.#all, family)
      if (best !== undefined) this.#bind.set(family, best)
      const told = external.map(plainAddress).find((address) => isIP(address) === family)
      if (told !== undefined) this.#external.set(family, told)
    }
    const broadcasts = all.flatMap(({ address, prefix, broadcast }) => broadcast ?? broadcastOf(address, prefix) ?? [])
    this.#own = new Set([...all.map(({ address }) => address), ...broadcasts, ...this.#external.values()])
    this.#relays = new Set([...this.#bind.values(), ...this.#external.values()])
  }

  /** All of this host's, broadcast addresses and the ones outside included. */
  own = (): ReadonlySet<string> => this.#own

  /** Those that relays have. */
  relays = (): ReadonlySet<string> => this.#relays

  /** Where clients may come to, one socket each: an answer has to leave from the address that was asked. */
  get listening(): readonly string[] {
    return [...new Set(this.#all.map(({ address }) => address))]
  }

  /** How others are told of this server, one address of each family at most. */
  get told(): readonly string[] {
    return ([4, 6] as const).flatMap((family) => this.#external.get(family) ?? this.#bind.get(family) ?? [])
  }

  hasFamily(family: 4 | 6): boolean {
    return this.#bind.has(family)
  }

  /** The address of this host for a relay of that family. */
  bindFor(family: 4 | 6): string | undefined {
    return this.#bind.get(family)
  }

  /** A relay's address as others see it. */
  outside({ address, port }: HostPort): HostPort {
    return { address: this.#external.get(familyOf(address)) ?? address, port }
  }
}

/** The one that reaches furthest; loopback where there is nothing else. */
function bestOf(addresses: readonly InterfaceAddress[], family: 4 | 6): string | undefined {
  const candidates = addresses.filter((one) => one.family === family)
  for (const scope of ['global', 'private', 'loopback'] as const) {
    const found = candidates.find((one) => one.scope === scope)
    if (found) return found.address
  }
  return undefined
}
