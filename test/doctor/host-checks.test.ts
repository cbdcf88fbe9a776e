import { describe, expect, test } from 'vitest'
import { HOST_CHECKS } from '../../daemon/doctor/checks.ts'
import type { Finding, HostFindings } from '../../daemon/doctor/findings.ts'
import { hostFindings, person, seen } from './findings.ts'
import { HOST_CASES } from './host-cases.ts'
import { INTERNET_CASES } from './internet-cases.ts'

const CASES = [...HOST_CASES, ...INTERNET_CASES]

/** What a check finds; of several things the one with this code. */
function examine(id: string, change: Partial<HostFindings>, code = ''): Finding {
  const check = HOST_CHECKS.find((one) => one.id === id)
  if (!check) throw new Error(`no check ${id}`)
  const all = [check.examine(hostFindings(change))].flat()
  const found = all.find((one) => one.code === code) ?? all[0]
  if (!found) throw new Error(`${id} finds nothing`)
  return found
}

describe('the checks of this host', () => {
  for (const [id, when, change, code, says, fix = /^$/] of CASES)
    test(`${id}, when ${when}`, () => {
      const found = examine(id, change, code)
      expect(found).toMatchObject({ code, detail: expect.stringMatching(says), fix: expect.stringMatching(fix) })
      expect(found.fix === '').toBe(code === 'ok' || code === 'skip')
    })

  test('each is tried, and its id is for programs', () => {
    expect(new Set(HOST_CHECKS.map(({ id }) => id)).size).toBe(HOST_CHECKS.length)
    for (const { id } of HOST_CHECKS) {
      expect(id).toMatch(/^[a-z0-9]+(-[a-z]+)*$/)
      if (!id.startsWith('discovery-')) expect(CASES.some(([check]) => check === id)).toBe(true)
    }
  })

  test('on a LAN on which all is well, nothing is wrong', () => {
    for (const { examine } of HOST_CHECKS)
      for (const { status } of [examine(hostFindings())].flat()) expect(['ok', 'skip']).toContain(status)
  })

  test('a crowd makes no long sentence', () => {
    const people = Array.from({ length: 2000 }, (_, i) =>
      person({ id: `p${i}`, name: `n${i}`, sightings: [seen('hub')] }),
    )
    expect(examine('multicast-lan', { people }).detail).toMatch(/n4 and 1995 more are there/)
  })
})
