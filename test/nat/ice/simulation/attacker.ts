import { randomBytes } from 'node:crypto'
import type { RemoteCandidate } from '../../../../daemon/nat/candidate.ts'
import { encodeError, encodeXorAddress } from '../../../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, ERROR, METHOD } from '../../../../daemon/nat/stun/registry.ts'
import type { HostPort } from '../../../../daemon/types.ts'
import type { IceWorld } from './ice-world.ts'
import { Link, PERFECT } from './link.ts'

interface Credentials {
  readonly ufrag: string
  readonly pwd: string
}

interface Check {
  /** Whom it claims to come from; the attacker itself unless told. */
  readonly source?: HostPort
  /** The password it is protected with; the target's unless told. */
  readonly pwd?: string
  readonly ufrag?: string
  readonly isControlling?: boolean
  readonly nominates?: boolean
  readonly tieBreaker?: Buffer
}

/** A hostile host with a public address and the power to send from any address; the target wants a path to it. */
export class Attacker {
  /** What reached its address. */
  readonly received: { readonly payload: Buffer; readonly from: HostPort }[] = []
  readonly own: Credentials = { ufrag: 'evil', pwd: 'evil+evil+evil+evil+evil' }
  /** What the target said of itself. */
  target: Credentials | undefined
  onCheck: (message: StunMessage, from: HostPort) => void = () => {}
  readonly #world: IceWorld
  readonly #index: number
  readonly #victim: number
  readonly #link: Link
  #version = 0

  /** Takes over host `index`; `target` is the index of whom it attacks. */
  constructor(world: IceWorld, index: number, target: number) {
    this.#world = world
    this.#index = index
    this.#victim = target
    this.#link = new Link(world.internet.timeline, Math.random, { ...PERFECT, latency: 1 })
    world.internet.host(index).onDatagram = (payload, from) => {
      this.received.push({ payload, from })
      if ((payload[0] ?? 255) > 3) return
      const message = StunMessage.decode(payload)
      if (message.class === 'request') this.onCheck(message, from)
    }
    world.host(index).onSignal = (_, { description }) => {
      if (description) this.target = description.credentials
    }
  }

  get address(): HostPort {
    const host = this.#world.internet.host(this.#index)
    return { address: host.addresses[0] ?? '', port: host.port }
  }

  /** Tells the target candidates, with the credentials it has or others. */
  describe(addresses: readonly HostPort[], credentials: Credentials = this.own): void {
    const candidates = addresses.map(({ address, port }, at): RemoteCandidate => {
      return { kind: 'host', address, port, priority: 2 ** 30 - at, foundation: `f${at}` }
    })
    this.#world.host(this.#victim).onSignal(this.#index, {
      description: { credentials, candidates },
      version: ++this.#version,
      seen: 0,
    })
  }

  /** Sends to the target's address, from wherever it likes. */
  send(payload: Buffer, source: HostPort = this.address): void {
    const target = this.#world.internet.host(this.#victim)
    const to = { address: target.addresses[0] ?? '', port: target.port }
    this.#world.internet.internet.send({ source, to, payload }, this.#link)
  }

  /** A check (RFC 8445 section 7.2.2) as the target's peer would send it. */
  check({ source, pwd, ufrag, isControlling = true, nominates = false, tieBreaker = TIE_BREAKER }: Check = {}): Buffer {
    const key = Buffer.from(pwd ?? this.target?.pwd ?? '')
    const writer = new StunWriter('request', METHOD.binding, randomBytes(12))
      .add(ATTRIBUTE.username, `${ufrag ?? this.target?.ufrag ?? ''}:${this.own.ufrag}`)
      .add(ATTRIBUTE.priority, 2 ** 30)
      .add(isControlling ? ATTRIBUTE.iceControlling : ATTRIBUTE.iceControlled, tieBreaker)
    if (nominates) writer.add(ATTRIBUTE.useCandidate)
    const payload = writer.finish({ integrity: { sha256: key } })
    this.send(payload, source)
    return payload
  }

  /** Answers a check of the target's as its peer would, from any address. */
  answer(
    request: StunMessage,
    from: HostPort,
    { source, pwd = this.own.pwd }: { source?: HostPort; pwd?: string } = {},
  ): void {
    const payload = new StunWriter('success', METHOD.binding, request.transaction)
      .add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(from, request.transaction))
      .finish({ integrity: { sha256: Buffer.from(pwd) } })
    this.send(payload, source)
  }

  /** Answers a check of the target's with a role conflict (RFC 8445 section 7.3.1.1). */
  conflict(request: StunMessage): void {
    const payload = new StunWriter('error', METHOD.binding, request.transaction)
      .add(ATTRIBUTE.errorCode, encodeError({ code: ERROR.roleConflict, reason: 'Role Conflict' }))
      .finish({ integrity: { sha256: Buffer.from(this.own.pwd) } })
    this.send(payload)
  }
}

const TIE_BREAKER = Buffer.alloc(8, 0x7f)
