import { describe, expect, test } from 'vitest'
import { Candidates } from '../../daemon/datagram/candidates.ts'
import type { HostPort } from '../../daemon/types.ts'

const at = (host: number): HostPort => ({ address: `192.0.2.${host}`, port: 1 })
const token = Buffer.alloc(8, 1)

/** Challenges all that are due; returns where that went, and how many bytes. */
function challenge(candidates: Candidates, now: number): [string, number][] {
  const sent: [string, number][] = []
  for (let due = candidates.due(now); due; due = candidates.due(now)) {
    candidates.challenged(due.candidate, token, due.bytes, now)
    sent.push([due.candidate.to.address, due.bytes])
  }
  return sent
}

describe('candidates', () => {
  test('stay few, whatever is named, heard and preferred', () => {
    const candidates = new Candidates(0)
    candidates.name(
      Array.from({ length: 100 }, (_, i) => at(i)),
      0,
    )
    expect(candidates.count).toBe(8)
    for (let i = 0; i < 100; i++) {
      candidates.heard(at(100 + i), 1000, i)
      candidates.prefer(at(i), i)
    }
    expect(candidates.count).toBeLessThanOrEqual(8 + 4 + 1)
    candidates.name([], 200)
    expect(candidates.count).toBeLessThanOrEqual(4 + 1)
  })

  test('that the link named are tried three times, a second apart, then ever more rarely', () => {
    const candidates = new Candidates(0)
    candidates.name([at(1)], 0)
    candidates.want(0)
    const times: number[] = []
    for (let now = 0; now <= 130_000; now += 100) if (challenge(candidates, now).length > 0) times.push(now / 1000)
    expect(times).toEqual([0, 1, 2, 4, 8, 16, 32, 62, 92, 122])
  })

  test('that nobody named get no more than twice what came from there, in three tries at most', () => {
    const candidates = new Candidates(0)
    candidates.heard(at(1), 35, 0)
    expect(challenge(candidates, 0)).toEqual([['192.0.2.1', 70]])
    expect(challenge(candidates, 1000)).toEqual([])
    expect(candidates.deadline).toBe(Number.POSITIVE_INFINITY)
    candidates.heard(at(1), 10_000, 1000)
    const sent = Array.from({ length: 100 }, (_, i) => challenge(candidates, 1000 + i * 1000)).flat()
    expect(sent).toEqual([
      ['192.0.2.1', 1200],
      ['192.0.2.1', 1200],
    ])
  })

  test('count as proven only by their own token, from their own address', () => {
    const candidates = new Candidates(0)
    candidates.name([at(1), at(2)], 0)
    candidates.want(0)
    candidates.challenged(candidates.due(0)?.candidate as never, token, 1200, 0)
    expect(candidates.answered(token, at(2))).toBeUndefined()
    expect(candidates.answered(Buffer.alloc(8), at(1))).toBeUndefined()
    expect(candidates.answered(token, at(3))).toBeUndefined()
    expect(candidates.answered(token, at(1))).toMatchObject({ to: at(1), proven: true })
    expect(candidates.answered(token, at(1))).toBeUndefined()
  })
})
