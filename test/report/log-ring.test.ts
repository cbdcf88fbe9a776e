import { expect, test } from 'vitest'
import { LogRing, MAX_LINES, MAX_TEXT } from '../../daemon/report/log-ring.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const entry = (message: string) => ({ level: 'debug', part: 'test', message, facts: { port: 5 } }) as const

test('the last lines are kept, oldest first, and no more than that', () => {
  const ring = new LogRing(new VirtualClock())
  expect(ring.lines()).toEqual([])
  for (let n = 0; n < MAX_LINES + 3; n++) ring.push(entry(`line ${n}`))
  const lines = ring.lines()
  expect(lines).toHaveLength(MAX_LINES)
  expect(lines[0]).toBe('2027-01-15T08:00:00.000Z debug test: line 3 port=5')
  expect(lines.at(-1)).toContain(`line ${MAX_LINES + 2}`)
})

test('long lines are cut', () => {
  const ring = new LogRing(new VirtualClock())
  ring.push(entry('x'.repeat(10_000)))
  expect(ring.lines()[0]).toMatch(new RegExp(`test: x{${MAX_TEXT}}$`))
})

test('what has to do with one peer is a trace of it', () => {
  const clock = new VirtualClock()
  const ring = new LogRing(clock)
  const peer = 'b'.repeat(52) as PeerId
  ring.push(entry('nobody'))
  ring.push({ ...entry('dialling'), facts: { peer, to: '192.168.50.2:47800' } })
  clock.advance(5)
  ring.push({ ...entry('dialling'), facts: { peer: 'c'.repeat(52) } })
  ring.push({ ...entry('a link is up'), facts: { to: '192.168.50.2:47800', peer } })
  const at = clock.wall()
  expect(ring.trace(peer)).toEqual([
    { at: at - 5, part: 'test', text: 'dialling to=192.168.50.2:47800' },
    { at, part: 'test', text: 'a link is up to=192.168.50.2:47800' },
  ])
})
