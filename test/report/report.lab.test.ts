import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { befriend, chat, openInternet, startWithAccount } from '../scenarios/online.ts'

const missing = labMissing(['turnserver', 'prosody', 'openssl', 'ss'])
const NAMES = ['Annas Rechner', 'Bens Rechner'] as const

describe.skipIf(missing)(`a report${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('tells what happened between two homes, and neither who they are nor where', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'sym' })
    await openInternet(lab)
    const turn = 'turn:hidden:hushed@11.99.0.77:3478'
    const [a, b] = await Promise.all([
      startWithAccount(lab, 'a1', 'alice', { name: NAMES[0], 'nat.turn': [turn], 'log.level': 'error' }),
      startWithAccount(lab, 'b1', 'bob', { name: NAMES[1] }),
    ])
    const ticket = await befriend(a, b)
    await chat(a, b, 'the flower pot')
    const file = join(a.daemon.home, 'report.json')
    expect(await a.json(['report', '--output', file])).toMatchObject({ file })
    const text = readFileSync(file, 'utf8')
    const hidden = [
      a.id,
      b.id,
      ...NAMES,
      'lab.test',
      'other.test',
      'alice',
      'hidden',
      'hushed',
      'flower pot',
      ticket.slice(10, 40),
    ]
    expect(hidden.filter((one) => text.includes(one))).toEqual([])
    expect(text.match(/\b(?:192\.168|10\.99|11\.99)\.\d+\.\d+/g)).toBeNull()
    expect(statSync(file).mode & 0o777).toBe(0o600)

    const report = JSON.parse(text) as Result<'report.create'>
    // Peers are told apart, and found again in the log, though it was to be silent.
    const peers = report.answers['peers.list'] as Result<'peers.list'>
    expect(peers).toMatchObject([{ name: expect.stringMatching(/^<name-\d+>$/), trust: 'trusted' }])
    expect(
      report.log.filter((line) => line.includes('a path was chosen') && line.includes(peers[0]?.id ?? '')),
    ).not.toEqual([])
    expect(Object.values(report.answers).filter((one) => one && typeof one === 'object' && 'error' in one)).toEqual([])
    expect(report.answers['doctor.run']).toMatchObject({ checks: expect.any(Array) })
    // Nothing is written over.
    expect((await a.daemon.cli(['report', '--output', file])).code).toBe(1)
    expect(readFileSync(file, 'utf8')).toBe(text)
  }, 60_000)
})
