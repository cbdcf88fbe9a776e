import { generateKeyPairSync } from 'node:crypto'
import { type Identity, identityOf } from '../../daemon/identity/key.ts'
import type { Milliseconds } from '../../daemon/types.ts'
import { LanStream, type LanStreamOptions, type StreamRemote } from '../../daemon/xmpp/lan-stream.ts'

export const newIdentity = (): Identity => identityOf(generateKeyPairSync('ed25519').privateKey)

interface EndOptions extends Partial<LanStreamOptions> {
  /** Whom a responder admits, with the peer id the roster tells of; nobody else. */
  readonly knows?: StreamRemote
  /** Leaves the question who it is unanswered. */
  readonly undecided?: boolean
}

/** One end of a serverless stream, without a connection: what it writes is kept, what it tells as well. */
export class StreamEnd {
  readonly stream: LanStream
  readonly told: string[] = []
  now: Milliseconds = 0
  /** Why it was closed. */
  reason = ''
  #written = ''

  constructor(role: LanStreamOptions['role'], self: string, { knows, undecided, ...options }: EndOptions = {}) {
    this.stream = new LanStream(
      { role, self, identity: newIdentity(), randomBytes: (size) => new Uint8Array(size).fill(7), ...options },
      {
        write: (xml) => {
          this.#written += xml
        },
        asked: (from) => {
          if (undecided) this.told.push(`asked ${from}`)
          else if (knows?.instance === from) this.stream.admit(knows, this.now)
          else this.stream.refuse()
        },
        opened: () => this.told.push('opened'),
        proven: (peer) => this.told.push(`proven ${peer}`),
        chat: (text, id) => this.told.push(`chat ${id ?? '-'} ${text}`),
        composing: (composing) => this.told.push(`composing ${composing}`),
        receipt: (id) => this.told.push(`receipt ${id}`),
        undelivered: (id) => this.told.push(`undelivered ${id}`),
        signal: (sealed) => this.told.push(`signal ${Buffer.from(sealed).toString('hex')}`),
        refused: (code) => this.told.push(`refused ${code}`),
        closed: (error) => {
          this.reason = error?.message ?? ''
          this.told.push(`closed ${error?.code ?? 'gracefully'}`)
        },
      },
      0,
    )
    this.stream.start()
  }

  hears(xml: string | Uint8Array): void {
    this.stream.receive(Buffer.from(xml), this.now)
  }

  /** What was written since it was last asked for. */
  says(): string {
    const said = this.#written
    this.#written = ''
    return said
  }

  passes(ms: Milliseconds): void {
    this.now += ms
    this.stream.tick(this.now)
  }
}

/** Carries what the two ends say until they are silent. */
export function carry(a: StreamEnd, b: StreamEnd): void {
  for (let [there, back] = [a.says(), b.says()]; there !== '' || back !== ''; [there, back] = [a.says(), b.says()]) {
    b.hears(there)
    a.hears(back)
  }
}
