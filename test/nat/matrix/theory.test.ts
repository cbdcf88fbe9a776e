import { describe, expect, test } from 'vitest'
import { KIND_NAMES, KINDS, type KindName } from './kinds.ts'
import { behind, expectation } from './theory.ts'

/** What two programs that do nothing but punch holes found in the lab, of the pairs that differ in mapping and filtering. */
const FOUND = `
           eim    arc    cone   adm    sym    sym-cone
  eim      direct direct direct fails  fails  direct
  arc             direct direct direct direct direct
  cone                   direct direct direct direct
  adm                           fails  fails  direct
  sym                                  fails  direct
  sym-cone                                    direct`

const [head = '', ...rows] = FOUND.trim().split('\n')
const columns = head.trim().split(/\s+/) as KindName[]
const found = rows.flatMap((row) => {
  const [a = '', ...cells] = row.trim().split(/\s+/)
  return cells.map((cell, i) => [a as KindName, columns[columns.length - cells.length + i] as KindName, cell] as const)
})

describe('the theory of hole punching', () => {
  test.each(found)('%s with %s: %s, as it was found', (a, b, cell) => {
    expect(expectation(KINDS[a], KINDS[b]).way).toBe(cell === 'direct' ? 'direct' : 'none')
  })

  test('does not depend on who is first', () => {
    for (const a of KIND_NAMES)
      for (const b of KIND_NAMES) expect(expectation(KINDS[a], KINDS[b])).toEqual(expectation(KINDS[b], KINDS[a]))
  })

  test('needs a relay where UDP is blocked, but for hosts that accept TCP', () => {
    expect(expectation(KINDS.udpblock, KINDS.cone)).toEqual({ way: 'none', obstacle: 'udp' })
    expect(expectation(KINDS.udpblock, KINDS.none)).toEqual({ way: 'direct' })
    expect(expectation(KINDS.udpblock, KINDS.dmz)).toEqual({ way: 'direct' })
    expect(expectation(KINDS.web, KINDS.none)).toEqual({ way: 'none', obstacle: 'udp' })
    expect(expectation(KINDS.web, KINDS.udpblock)).toEqual({ way: 'none', obstacle: 'udp' })
  })

  test('takes the worse of two NATs', () => {
    expect(behind(KINDS.cone, KINDS.sym)).toMatchObject({ mapping: 'APDM', filtering: 'APDF' })
    expect(behind(KINDS.arc, KINDS.cone)).toMatchObject({ mapping: 'EIM', filtering: 'ADF', udp: true })
    expect(behind(KINDS.udpblock, KINDS.cone)).toMatchObject({ udp: false, tcpOut: 'all', tcpIn: false })
    expect(behind(KINDS.eim, KINDS.web)).toMatchObject({ udp: false, tcpOut: 'web' })
  })
})
