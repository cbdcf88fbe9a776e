import { expect, test } from 'vitest'
import { LogRing, MAX_LINE, MAX_LINES } from '../../daemon/report/log-ring.ts'
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
  expect(ring.lines()[0]).toHaveLength(MAX_LINE)
})
