import type { Service } from 'bonjour-service'
import type { MdnsResponder } from './responder.ts'
import type { ServiceType } from './service-name.ts'

/** What this host tells of itself in one service. */
export interface Advertisement {
  /** The instance: one label of at most 63 bytes of UTF-8, without dots. */
  readonly instance: string
  readonly port: number
  /** In the order in which the keys are to stand. */
  readonly txt: Readonly<Record<string, string>>
  /** Its host name, with `.local`. The machine's own belongs to whoever answers for it, avahi say. */
  readonly host: string
}

/** Where something was heard. */
export interface Heard {
  readonly interface: string
  /** The source of the packet, without a zone. */
  readonly address: string
  /** The addresses that the packet tells of the instance's host. */
  readonly addresses: readonly string[]
  readonly responder: MdnsResponder
}

/** A service of DNS-SD, as one part of the daemon uses it on every interface. */
export interface MdnsService {
  readonly type: ServiceType
  /** Whether others are looked for. */
  readonly browses: boolean
  /** What is advertised now; undefined for nothing. */
  advertisement(): Advertisement | undefined
  /** Full names of the instances that need not answer our questions. */
  known(interfaceName: string, family: 4 | 6): readonly string[]
  /** An instance was told of; `service` is the package's, with whatever a stranger wrote into it. */
  found(service: Service, from: Heard): void
  /** An instance said goodbye. */
  lost(fqdn: string, from: Pick<Heard, 'interface' | 'responder'>): void
  /**
   * Somebody else, whose host name is `host`, uses the instance that is advertised here, or is about to be (`isAnnounced` tells). A service that
   * has this has every new name asked for before it is announced (RFC 6762 sections 8.1 and 9); one whose names hold the peer id needs none.
   */
  clashed?(clash: Clash): void
  /** An interface has gone, and all that was heard there. */
  interfaceGone(name: string): void
}

export interface Clash {
  readonly instance: string
  readonly host: string
  readonly isAnnounced: boolean
}
