import { describe, expect, test } from 'vitest'
import { HOST_CHECKS } from '../../daemon/doctor/checks.ts'
import type { Finding, HostFindings } from '../../daemon/doctor/findings.ts'
import { hostFindings, person, seen } from './findings.ts'
import { HOST_CASES } from './host-cases.ts'

function examine(id: string, change: Partial<HostFindings>): Finding {
  const check = HOST_CHECKS.find((one) => one.id === id)
  if (!check) throw new Error(`no check ${id}`)
  return check.examine(hostFindings(change))
}

describe('the checks of this host', () => {
  for (const [id, when, change, code, says, fix = /^$/] of HOST_CASES)
    test(`${id}, when ${when}`, () => {
      const found = examine(id, change)
      expect(found).toMatchObject({ code, detail: expect.stringMatching(says), fix: expect.stringMatching(fix) })
      expect(found.fix === '').toBe(code === 'ok' || code === 'skip')
    })

  test('each is tried, and its id is for programs', () => {
    expect(new Set(HOST_CHECKS.map(({ id }) => id)).size).toBe(HOST_CHECKS.length)
    for (const { id } of HOST_CHECKS) {
      expect(id).toMatch(/^[a-z]+(-[a-z]+)*$/)
      if (!id.startsWith('discovery-')) expect(HOST_CASES.some(([check]) => check === id)).toBe(true)
    }
  })

  test('on a LAN on which all is well, nothing is wrong', () => {
    for (const { examine } of HOST_CHECKS) expect(['ok', 'skip']).toContain(examine(hostFindings()).status)
  })

  test('a crowd makes no long sentence', () => {
    const people = Array.from({ length: 2000 }, (_, i) =>
      person({ id: `p${i}`, name: `n${i}`, sightings: [seen('hub')] }),
    )
    expect(examine('multicast-lan', { people }).detail).toMatch(/n4 and 1995 more are there/)
  })
})
