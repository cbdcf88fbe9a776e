import { expect, test } from 'vitest'
import { FINDINGS } from '../../daemon/doctor/finding-codes.ts'
import { HOST_CASES } from './host-cases.ts'
import { INTERNET_CASES } from './internet-cases.ts'
import { PEER_CASES } from './peer-cases.ts'

/** Found per address, and provoked in peer-checks.test.ts. */
const BY_ADDRESS = ['peer.address-silent', 'peer.address-of-other']

test('everything in the table is found in some case, and everything found is in the table', () => {
  const provoked = new Set([...HOST_CASES, ...INTERNET_CASES, ...PEER_CASES].map(([, , , code]) => code as string))
  for (const calm of ['ok', 'skip']) provoked.delete(calm)
  expect([...provoked, ...BY_ADDRESS].sort()).toEqual(Object.keys(FINDINGS).sort())
})

test('codes are for programs, titles tell findings apart, and each says what to do', () => {
  for (const [code, { title, fix }] of Object.entries(FINDINGS)) {
    expect(code).toMatch(/^[a-z0-9]+\.[a-z0-9]+(-[a-z0-9]+)*$/)
    expect(title).not.toMatch(/\.$/)
    expect(fix).toMatch(/\.$/)
  }
  expect(new Set(Object.values(FINDINGS).map(({ title }) => title)).size).toBe(Object.keys(FINDINGS).length)
})
