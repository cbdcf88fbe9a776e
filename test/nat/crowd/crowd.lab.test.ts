import { describe, expect, test } from 'vitest'
import { labMissing } from '../../lab/lab.ts'
import { measureCrowd } from './crowd.ts'

const PEERS = 50
const missing = labMissing(['turnserver', 'openssl', 'ss', 'conntrack'])

describe.skipIf(missing)(`a crowd at one endpoint${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('costs the same gathering, sockets and allocations as a single peer, and all go straight in the end', async () => {
    const one = await measureCrowd(1)
    const crowd = await measureCrowd(PEERS)
    expect([one.connected, crowd.connected]).toEqual([1, PEERS])
    // Some may begin by the relay.
    expect(crowd.settled).toEqual({ punched: PEERS })
    expect(crowd.sockets).toBe(one.sockets)
    expect(crowd.counted.allocations).toBe(1)
    expect(one.counted.allocations).toBe(1)
    expect(crowd.counted['allocate requests']).toBeLessThanOrEqual(one.counted['allocate requests'] + 2)
    // Two servers, and a repetition where an answer was late.
    expect(crowd.counted['binding requests to servers']).toBeLessThanOrEqual(4)
    // RFC 8445 section 14.2: new checks of all agents together are paced, however many peers there are; their repetitions and answers are few.
    expect(crowd.counted['checks sent']).toBeLessThan(20 * PEERS)
  }, 180_000)
})
