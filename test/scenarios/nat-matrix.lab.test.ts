import { describe, expect, test } from 'vitest'
import { labMissing } from '../lab/lab.ts'
import { cellsNamed } from '../nat/matrix/cells.ts'
import { measure } from '../nat/matrix/measure.ts'
import { partyline } from '../nat/matrix/partyline.ts'
import type { Measured } from '../nat/matrix/results.ts'

const missing = labMissing(['turnserver', 'openssl', 'ss', 'conntrack'])
const LIMIT = 10_000

/** One attempt in each of these cells, by name; all of them are in docs/nat.md. */
async function tried(names: readonly string[], relay: boolean): Promise<ReadonlyMap<string, Measured>> {
  const options = { cells: cellsNamed(names), subjects: [partyline], runs: 1, relays: [relay], onMeasured: () => {} }
  return new Map((await measure(options)).map((one) => [one.cell, one]))
}

const routes = (found: ReadonlyMap<string, Measured>): Readonly<Record<string, string>> =>
  Object.fromEntries([...found.values()].map(({ cell, route }) => [cell, route]))

describe.skipIf(missing)(`NAT against NAT${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('where there is a direct path the session ends on it, with a relay at hand or without', async () => {
    expect(routes(await tried(['one-home', 'none-sym', 'eim-eim', 'cone-sym', 'ipv6'], true))).toEqual({
      'one-home': 'lan',
      'none-sym': 'direct',
      'eim-eim': 'punched',
      'cone-sym': 'punched',
      ipv6: 'direct',
    })
    expect(routes(await tried(['arc-adm'], false))).toEqual({ 'arc-adm': 'punched' })
  }, 120_000)

  test('elsewhere a relay carries it: over UDP, TCP or TLS', async () => {
    const expected = { 'sym-sym': 'relay', 'eim-udpblock': 'relay', 'web-web': 'relay' }
    expect(routes(await tried(Object.keys(expected), true))).toEqual(expected)
  }, 120_000)

  test('without a relay the user is told soon that there is no way, and why', async () => {
    const found = await tried(['sym-sym', 'eim-udpblock'], false)
    for (const one of found.values()) {
      expect(one).toMatchObject({ route: 'failed', reason: expect.stringContaining('a relay (TURN) is needed') })
      expect(one.ms).toBeLessThan(LIMIT)
    }
    expect(found.get('sym-sym')?.reason).toContain('symmetric NAT')
    expect(found.get('eim-udpblock')?.reason).toContain("UDP does not get out of the peer's network")
  }, 120_000)
})
