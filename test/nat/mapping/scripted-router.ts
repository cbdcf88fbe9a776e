import type { OpenGatewaySocket } from '../../../daemon/nat/mapping/gateway-client.ts'
import type { Gateway, MappingWish } from '../../../daemon/nat/mapping/protocol.ts'

export const GATEWAY: Gateway = { family: 4, address: '192.168.1.1', own: '192.168.1.11', interface: 'eth0' }
export const GATEWAY_6: Gateway = { family: 6, address: 'fe80::1%eth0', own: '2001:db8::11', interface: 'eth0' }
export const WISH: MappingWish = {
  gateway: GATEWAY,
  transport: 'udp',
  internalPort: 47_800,
  externalPort: 47_800,
  lifetime: 7_200_000,
}

/** Lets what has been promised happen. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A router behind a UDP socket that answers as a test says. */
export class ScriptedRouter {
  /** What it was asked, in hexadecimal. */
  readonly asked: string[] = []
  /** What it answers to each packet. */
  answer: (packet: Buffer) => readonly Buffer[] = () => []
  readonly #open = new Set<{ packet: (packet: Buffer) => void; failed: (code: string) => void }>()

  readonly open: OpenGatewaySocket = (_gateway, _port, on) => {
    this.#open.add(on)
    return {
      send: (packet) => {
        this.asked.push(packet.toString('hex'))
        for (const answer of this.answer(packet)) queueMicrotask(() => this.#open.has(on) && on.packet(answer))
      },
      close: () => this.#open.delete(on),
    }
  }

  /** Sockets that are open. */
  get waiting(): number {
    return this.#open.size
  }

  /** Says something to all who listen. */
  tell(packet: Buffer): void {
    for (const { packet: hear } of [...this.#open]) hear(packet)
  }

  /** Nothing can be sent to it any more. */
  fail(code: string): void {
    for (const { failed } of [...this.#open]) failed(code)
  }
}
