import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PartylineError } from '../../daemon/errors.ts'
import { formatHubTicket, MAX_TICKET_ADDRESSES, parseHub } from '../../daemon/hub/ticket.ts'
import { cleanName } from '../../daemon/identity/host-name.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'

const PEER = peerIdFromKey(new Uint8Array(32).fill(7))

const peers = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(peerIdFromKey)
const addresses = fc.record({
  address: fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom('eth0', 'wlp3s0', 'br-1%25', 'a b&c=d?').map((zone) => `fe80::1%${zone}`),
  ),
  port: fc.integer({ min: 1, max: 65535 }),
})

describe('a ticket', () => {
  test('reads as it was written', () => {
    const names = fc.string({ unit: 'grapheme', maxLength: 40 }).map(cleanName)
    fc.assert(
      fc.property(
        peers,
        fc.array(addresses, { minLength: 1, maxLength: MAX_TICKET_ADDRESSES }),
        names,
        (peer, list, name) => {
          const ticket = { peer, addresses: list, name }
          expect(parseHub(formatHubTicket(ticket))).toEqual(ticket)
        },
      ),
    )
  })

  test('is one readable line', () => {
    const ticket = formatHubTicket({
      peer: PEER,
      addresses: [
        { address: '192.168.50.254', port: 5223 },
        { address: 'fd00::1', port: 5224 },
      ],
      name: "Anna's hub & bar",
    })
    expect(ticket).toBe(`partyline-hub:${PEER}?a=192.168.50.254:5223&a=[fd00::1]:5224&n=Anna's%20hub%20%26%20bar`)
  })

  test('stays below what is read, however many addresses a hub has', () => {
    const many = Array.from({ length: 40 }, () => ({ address: '2001:db8:1111:2222:3333:4444:5555:6666', port: 65535 }))
    const ticket = formatHubTicket({ peer: PEER, addresses: many, name: '🎈'.repeat(10) })
    expect(parseHub(ticket).addresses).toHaveLength(MAX_TICKET_ADDRESSES)
  })

  test('may hold what a later version adds', () => {
    expect(parseHub(`partyline-hub:${PEER}?z=1&a=192.0.2.1&n=x&w`)).toEqual({
      peer: PEER,
      addresses: [{ address: '192.0.2.1', port: 5223 }],
      name: 'x',
    })
  })
})

describe('an address', () => {
  test.for([
    ['192.0.2.1', { address: '192.0.2.1', port: 5223 }],
    [' 192.0.2.1:5000 ', { address: '192.0.2.1', port: 5000 }],
    ['fd00::1', { address: 'fd00::1', port: 5223 }],
    ['[fd00::1]:5000', { address: 'fd00::1', port: 5000 }],
    ['[fe80::1%eth0]:5000', { address: 'fe80::1%eth0', port: 5000 }],
  ] as const)('%s is a hub whose key is not known', ([text, target]) => {
    expect(parseHub(text)).toEqual({ peer: undefined, addresses: [target], name: '' })
  })
})

describe('what is neither', () => {
  test.for([
    '',
    'hub.example.org',
    '192.0.2.1:0',
    '192.0.2.1:65536',
    '[192.0.2.1]:5',
    'partyline-hub:',
    `partyline-hub:${PEER}`,
    `partyline-hub:${PEER}?n=x`,
    `partyline-hub:${PEER}?a=example.org`,
    `partyline-hub:${PEER}?a=%E0%A4%A`,
    `partyline-hub:${PEER.slice(1)}?a=192.0.2.1`,
    `partyline-hub:${PEER.toUpperCase()}?a=192.0.2.1`,
    `partyline-hub:${PEER}?${'a=192.0.2.1&'.repeat(13)}`,
    `partyline-hub:${PEER}?a=192.0.2.1&n=${'x'.repeat(1024)}`,
  ])('"%s" is refused', (text) => {
    expect(() => parseHub(text)).toThrow(expect.objectContaining({ code: 'usage.invalid-argument' }))
  })

  test('is refused with a code, whatever it is', () => {
    const near = fc
      .tuple(fc.constantFrom('', 'partyline-hub:', `partyline-hub:${PEER}?`), fc.string())
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(near, (text) => {
        try {
          expect(parseHub(text).addresses.length).toBeGreaterThan(0)
        } catch (error) {
          expect((error as PartylineError).code).toBe('usage.invalid-argument')
        }
      }),
    )
  })
})
