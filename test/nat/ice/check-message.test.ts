import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Check,
  readAnswer,
  readCheck,
  writeAnswer,
  writeCheck,
  writeRefusal,
} from '../../../daemon/nat/ice/check-message.ts'
import { StunMessage } from '../../../daemon/nat/stun/message.ts'

const ID = Buffer.from('0123456789ab')
const KEY = 'a password of 22 chars'
const CHECK: Check = {
  to: 'them',
  from: 'mine',
  priority: 0xfffffffe,
  role: 'controlling',
  tieBreaker: Buffer.from('tiebreak'),
  nomination: 7,
}

describe('a check', () => {
  test('comes back as it was written, protected by SHA-256 and nothing less', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffffffff),
        fc.boolean(),
        fc.option(fc.nat(0xffffffff), { nil: undefined }),
        (priority, is, nomination) => {
          const check = { ...CHECK, priority, role: is ? 'controlling' : 'controlled', nomination } as const
          const message = StunMessage.decode(writeCheck(ID, check, KEY))
          expect(readCheck(message)).toEqual(check)
          expect(message.isAuthentic(Buffer.from(KEY), 'sha256')).toBe(true)
          expect(message.integrity).toBe('sha256')
        },
      ),
    )
  })

  test('is padded to the very size that is asked for', () => {
    for (const size of [1200, 1232, 1280, 1332, 1372, 1400, 1432, 1452, 1472]) {
      const packet = writeCheck(ID, CHECK, KEY, size)
      expect(packet).toHaveLength(size)
      expect(readCheck(StunMessage.decode(packet))).toEqual(CHECK)
    }
  })

  test('without names, priority or role is none', () => {
    const whole = StunMessage.decode(writeCheck(ID, CHECK, KEY))
    for (const { type } of whole.attributes.slice(0, 3)) {
      const rest = { ...whole, attributes: whole.attributes.filter((one) => one.type !== type) }
      const part = Object.assign(Object.create(StunMessage.prototype), rest)
      expect(readCheck(part)).toBeUndefined()
    }
  })

  test('whatever the bytes are, reading never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(139), fc.nat(255)), { maxLength: 8 }), (changes) => {
        const packet = Buffer.from(writeCheck(ID, CHECK, KEY).subarray(0, -8))
        packet.writeUInt16BE(packet.length - 20, 2)
        for (const [at, byte] of changes) if (at >= 20 && at < packet.length) packet[at] = byte
        let message: StunMessage | undefined
        try {
          message = StunMessage.decode(packet)
        } catch {
          return
        }
        readCheck(message)
        readAnswer(message)
      }),
      { numRuns: 500 },
    )
  })
})

describe('an answer', () => {
  const request = StunMessage.decode(writeCheck(ID, CHECK, KEY))

  test('tells how its receiver is seen, or that it is refused', () => {
    for (const mapped of [
      { address: '192.0.2.1', port: 1 },
      { address: '2001:db8::1', port: 65_535 },
    ]) {
      const answer = StunMessage.decode(writeAnswer(request, mapped, KEY))
      expect(answer.transaction.equals(ID)).toBe(true)
      expect(readAnswer(answer)).toEqual({ mapped })
    }
    const refusal = StunMessage.decode(writeRefusal(request, { code: 487, reason: 'Role Conflict' }, KEY))
    expect(readAnswer(refusal)).toEqual({ refused: 487 })
  })

  test('without either is none', () => {
    expect(readAnswer(request)).toBeUndefined()
  })

  test('is smaller than its request, so that nothing is amplified', () => {
    const long = writeAnswer(request, { address: '2001:db8::1', port: 65_535 }, KEY)
    expect(long.length).toBeLessThan(writeCheck(ID, { ...CHECK, nomination: undefined }, KEY).length)
  })
})
