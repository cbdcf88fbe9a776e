import { describe, expect, test } from 'vitest'
import { encodeAddress, encodeError, encodeXorAddress } from '../../../daemon/nat/stun/attributes.ts'
import { StunBinding } from '../../../daemon/nat/stun/binding.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'
import type { HostPort } from '../../../daemon/types.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'

const SERVER: HostPort = { address: '192.0.2.10', port: 3478 }
const SEEN: HostPort = { address: '198.51.100.1', port: 40_000 }

class Asking {
  now = 0
  changes = 0
  readonly sent: { message: StunMessage; to: HostPort; at: number }[] = []
  readonly binding: StunBinding

  constructor() {
    this.binding = new StunBinding(
      { server: SERVER, now: 0, random: seededBytes(seeded(1)) },
      {
        output: (packet, to) => this.sent.push({ message: StunMessage.decode(packet), to, at: this.now }),
        changed: () => this.changes++,
      },
    )
    this.binding.tick(0)
  }

  get last() {
    const last = this.sent.at(-1)
    if (!last) throw new Error('nothing was sent')
    return last
  }

  /** Lets time pass, with a tick at each deadline. */
  pass(ms: number): void {
    const until = this.now + ms
    while (this.binding.deadline <= until) {
      this.now = this.binding.deadline
      this.binding.tick(this.now)
    }
    this.now = until
  }

  answer(
    write: (writer: StunWriter, id: Buffer) => StunWriter,
    kind: 'success' | 'error' = 'success',
    from = this.last.to,
  ): boolean {
    const { transaction } = this.last.message
    const packet = write(new StunWriter(kind, METHOD.binding, transaction), transaction).finish()
    return this.binding.receive(StunMessage.decode(packet), from, this.now)
  }

  tell(seen: HostPort, from = this.last.to): boolean {
    return this.answer(
      (writer, id) => writer.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(seen, id)),
      'success',
      from,
    )
  }
}

describe('a STUN binding', () => {
  test('asks at once, learns the address, and asks again before a router forgets', () => {
    const asking = new Asking()
    asking.now = 30
    expect(asking.binding.isUndecided).toBe(true)
    expect(asking.tell(SEEN)).toBe(true)
    expect(asking.binding).toMatchObject({
      isUndecided: false,
      state: 'known',
      mapped: SEEN,
      roundTrip: 30,
      detail: '',
    })
    asking.pass(60_000)
    const pauses = asking.sent.slice(1).map(({ at }, index) => at - (asking.sent[index]?.at ?? 0))
    expect(pauses[0]).toBeGreaterThanOrEqual(20_000)
    expect(pauses[0]).toBeLessThanOrEqual(25_030)
  })

  test('asks again as RFC 8489 section 6.2.1 says, tells silence early, and rests for longer and longer', () => {
    const asking = new Asking()
    asking.pass(39_000)
    expect(asking.sent.map(({ at }) => at)).toEqual([0, 500, 1500, 3500, 7500, 15_500, 31_500])
    expect(asking.binding).toMatchObject({ isUndecided: false, state: 'silent', mapped: undefined })
    expect(asking.changes).toBe(1)
    asking.pass(3_600_000)
    expect(asking.sent.length).toBeLessThan(90)
  })

  test('tells each other address once, and nothing while it is the same', () => {
    const asking = new Asking()
    asking.tell(SEEN)
    expect(asking.changes).toBe(1)
    for (const seen of [SEEN, SEEN, { ...SEEN, port: 40_001 }, { ...SEEN, port: 40_001 }]) {
      asking.pass(asking.binding.deadline - asking.now)
      asking.tell(seen)
    }
    expect(asking.changes).toBe(2)
    expect(asking.binding.mapped).toEqual({ ...SEEN, port: 40_001 })
  })

  test('asks at once when the network changed, and forgets the address where nobody answers', () => {
    const asking = new Asking()
    asking.tell(SEEN)
    asking.pass(1000)
    asking.binding.refresh(asking.now)
    expect(asking.last.at).toBe(1000)
    asking.pass(5000)
    expect(asking.binding.mapped).toBeUndefined()
  })

  test('believes only the server it asked, about what it asked last', () => {
    const asking = new Asking()
    expect(asking.tell(SEEN, { address: '192.0.2.66', port: 3478 })).toBe(false)
    expect(asking.tell(SEEN, { ...SERVER, port: 3479 })).toBe(false)
    const other = new StunWriter('success', METHOD.binding, Buffer.alloc(12, 1)).finish()
    expect(asking.binding.receive(StunMessage.decode(other), SERVER, 0)).toBe(false)
    expect(asking.binding.state).toBe('asking')
    expect(asking.tell(SEEN)).toBe(true)
    expect(asking.tell({ ...SEEN, port: 1 })).toBe(false)
  })

  test.each(['127.0.0.1', '0.0.0.0', '224.0.0.251', '255.255.255.255', 'fe80::1', '::1', 'ff02::1'])(
    'believes nobody that it looks like %s',
    (address) => {
      const asking = new Asking()
      expect(asking.tell({ address, port: 9 })).toBe(true)
      expect(asking.binding).toMatchObject({ state: 'refused', mapped: undefined })
    },
  )

  test('reads the answers of old servers too, and none that ask for what it does not know', () => {
    const asking = new Asking()
    expect(asking.answer((writer) => writer.add(ATTRIBUTE.mappedAddress, encodeAddress(SEEN)))).toBe(true)
    expect(asking.binding.mapped).toEqual(SEEN)
    const other = new Asking()
    other.answer((writer) => writer.add(0x7abc).add(ATTRIBUTE.mappedAddress, encodeAddress(SEEN)))
    expect(other.binding.state).toBe('refused')
  })

  test('follows a server to another, a few times, within its family, and goes back to the first afterwards', () => {
    const asking = new Asking()
    const away = (to: HostPort) =>
      asking.answer(
        (writer) =>
          writer
            .add(ATTRIBUTE.errorCode, encodeError({ code: 300, reason: '' }))
            .add(ATTRIBUTE.alternateServer, encodeAddress(to)),
        'error',
      )
    for (const port of [1, 2, 3]) {
      away({ address: '192.0.2.11', port })
      expect(asking.last.to).toEqual({ address: '192.0.2.11', port })
    }
    away({ address: '192.0.2.11', port: 4 })
    expect(asking.binding).toMatchObject({ state: 'refused', server: SERVER })
    const six = new Asking()
    const to = { address: '2001:db8::1', port: 1 }
    six.answer(
      (writer) =>
        writer
          .add(ATTRIBUTE.errorCode, encodeError({ code: 300, reason: '' }))
          .add(ATTRIBUTE.alternateServer, encodeAddress(to)),
      'error',
    )
    expect(six.sent).toHaveLength(1)
  })
})
