import { assert, integer, property, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeAddress, encodeXorAddress } from '../../../daemon/nat/stun/attributes.ts'
import { BehaviourTest, type Dependence, type NatBehaviour } from '../../../daemon/nat/stun/behaviour.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'
import type { HostPort } from '../../../daemon/types.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'

const SERVER: HostPort = { address: '192.0.2.10', port: 3478 }
const OTHER: HostPort = { address: '192.0.2.11', port: 3479 }
const OWN: HostPort = { address: '192.168.1.11', port: 5000 }
const OUTSIDE = '198.51.100.1'
const DEPENDENCES = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'] as const

interface Nat {
  readonly mapping: Dependence
  readonly filtering: Dependence
  readonly hairpin?: boolean
  /** Nothing comes back. */
  readonly isBlocked?: boolean
  readonly hasOther?: boolean
}

/** Which destinations share a mapping, or a permission. */
function keyOf(dependence: Dependence, { address, port }: HostPort): string {
  if (dependence === 'endpoint-independent') return ''
  return dependence === 'address-dependent' ? address : `${address} ${port}`
}

/** Runs a test behind a simulated NAT, in virtual time. */
function discover({ mapping, filtering, hairpin = false, isBlocked = false, hasOther = true }: Nat) {
  let now = 0
  const sent: HostPort[] = []
  const ports = new Map<string, number>()
  const permitted = new Set<string>()
  const arriving: { readonly at: number; readonly message: StunMessage }[] = []
  const output = (packet: Buffer, to: HostPort): void => {
    sent.push(to)
    if (isBlocked) return
    const message = StunMessage.decode(packet)
    const outside = mapping === 'none' ? OWN : outsideOf(to)
    permitted.add(keyOf(filtering, to))
    if (to.address === OUTSIDE) {
      if (hairpin) arriving.push({ at: now + 20, message })
      return
    }
    const change = message.get(ATTRIBUTE.changeRequest)?.readUInt32BE() ?? 0
    const from = {
      address: change & 4 ? OTHER.address : to.address,
      port: change & 2 ? OTHER.port : to.port,
    }
    const isOpen = filtering === 'none' || permitted.has(keyOf(filtering, from))
    if (!isOpen) return
    const writer = new StunWriter('success', METHOD.binding, message.transaction)
    writer.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(outside, message.transaction))
    if (hasOther) writer.add(ATTRIBUTE.otherAddress, encodeAddress(OTHER))
    arriving.push({ at: now + 20, message: StunMessage.decode(writer.finish()) })
  }
  const outsideOf = (to: HostPort): HostPort => {
    const key = keyOf(mapping, to)
    const port = ports.get(key) ?? 40_000 + ports.size
    ports.set(key, port)
    return { address: OUTSIDE, port }
  }
  const run = new BehaviourTest({ server: SERVER, own: OWN, random: seededBytes(seeded(1)), output }, now)
  while (!run.result) {
    const next = arriving.shift()
    now = Math.min(next?.at ?? run.deadline, run.deadline)
    if (next && next.at <= now) run.receive(next.message, now)
    else {
      if (next) arriving.unshift(next)
      run.tick(now)
    }
  }
  return { result: run.result as NatBehaviour, sent, took: now }
}

describe('NAT behaviour discovery', () => {
  test('tells every mapping and filtering there is, and hairpinning, with few packets', () => {
    for (const mapping of DEPENDENCES)
      for (const filtering of DEPENDENCES)
        for (const hairpin of [true, false]) {
          const { result, sent, took } = discover({ mapping, filtering, hairpin })
          expect(result).toMatchObject({ udp: true, mapping, filtering, hairpin })
          expect(sent.length).toBeLessThanOrEqual(18)
          expect(took).toBeLessThanOrEqual(6000)
        }
  })

  test('tells that there is no NAT, and what a firewall lets in', () => {
    for (const filtering of DEPENDENCES)
      expect(discover({ mapping: 'none', filtering }).result).toMatchObject({
        mapping: 'none',
        mapped: OWN,
        filtering,
        hairpin: undefined,
      })
  })

  test('tells that UDP is blocked within a second', () => {
    const { result, took, sent } = discover({ mapping: 'none', filtering: 'none', isBlocked: true })
    expect(result).toMatchObject({ udp: false, mapped: undefined, mapping: 'unknown', filtering: 'unknown' })
    expect([took, sent.length]).toEqual([1000, 3])
  })

  test('says what it does not know where the server has one address only', () => {
    const { result } = discover({ mapping: 'endpoint-independent', filtering: 'address-dependent', hasOther: false })
    expect(result).toMatchObject({ udp: true, mapping: 'unknown', filtering: 'unknown' })
  })

  test('is neither led astray nor kept from its end by what else comes', () => {
    assert(
      property(uint8Array({ minLength: 12, maxLength: 12 }), integer({ min: 0, max: 2 }), (transaction, kind) => {
        const run = new BehaviourTest({ server: SERVER, own: OWN, random: seededBytes(seeded(1)), output: () => {} }, 0)
        const forged = new StunWriter(
          (['success', 'error', 'request'] as const)[kind] ?? 'success',
          METHOD.binding,
          transaction,
        )
        forged.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress({ address: '203.0.113.1', port: 1 }, transaction))
        const packet = StunMessage.decode(forged.finish())
        for (let now = 0; !run.result && now < 20_000; now += 50) {
          run.receive(packet, now)
          run.tick(now)
        }
        expect(run.result).toMatchObject({ udp: false })
      }),
    )
  })
})
