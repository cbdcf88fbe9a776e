import { describe, expect, test } from 'vitest'
import { labMissing } from '../lab/lab.ts'
import { cellsNamed } from '../nat/matrix/cells.ts'
import { measure } from '../nat/matrix/measure.ts'
import { partyline } from '../nat/matrix/partyline.ts'
import type { Measured } from '../nat/matrix/results.ts'

const missing = labMissing(['turnserver', 'openssl', 'ss', 'conntrack'])
const LIMIT = 10_000

/** One attempt in each of these cells; all of them are in docs/nat.md. */
async function tried(names: readonly string[], relays: readonly boolean[]): Promise<readonly Measured[]> {
  return measure({ cells: cellsNamed(names), subjects: [partyline], runs: 1, relays, onMeasured: () => {} })
}

describe.skipIf(missing)(`NAT against NAT${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('where there is a direct path the session ends on it, with a relay at hand or without', async () => {
    const routes = Object.fromEntries(
      (await tried(['one-home', 'none-sym', 'eim-eim', 'cone-sym', 'ipv6'], [true])).map(({ cell, route }) => [
        cell,
        route,
      ]),
    )
    expect(routes).toEqual({
      'one-home': 'lan',
      'none-sym': 'direct',
      'eim-eim': 'punched',
      'cone-sym': 'punched',
      ipv6: expect.stringMatching(/^(direct|punched)$/),
    })
    expect(await tried(['arc-adm'], [false])).toMatchObject([{ route: 'punched' }])
  }, 120_000)

  test('elsewhere a relay carries it: over UDP, TCP or TLS', async () => {
    const routes = (await tried(['sym-sym', 'eim-udpblock', 'web-web'], [true])).map(({ cell, route }) => [cell, route])
    expect(routes).toEqual([
      ['sym-sym', 'relay'],
      ['eim-udpblock', 'relay'],
      ['web-web', 'relay'],
    ])
  }, 120_000)

  test('without a relay the user is told soon that there is no way, and why', async () => {
    const [symmetric, blocked] = await tried(['sym-sym', 'eim-udpblock'], [false])
    for (const one of [symmetric, blocked]) {
      expect(one).toMatchObject({ route: 'failed', reason: expect.stringContaining('relay (TURN) is needed') })
      expect(one?.ms).toBeLessThan(LIMIT)
    }
    expect(symmetric?.reason).toContain('symmetric NAT')
    expect(blocked?.reason).toContain("UDP does not get out of the peer's network")
  }, 120_000)
})
