import { beforeEach, expect, test } from 'vitest'
import { PresenceService } from '../../daemon/services/presence.ts'
import type { Presence } from '../../daemon/types.ts'

let applied: Presence[]
let published: unknown[]
let presence: PresenceService

beforeEach(() => {
  applied = []
  published = []
  presence = new PresenceService({
    apply: (one) => void applied.push({ ...one }),
    publish: (event, params) => void published.push([event, params]),
  })
})

test('everyone is available until told otherwise', () => {
  expect(presence.get()).toEqual({ show: 'available', text: '' })
  expect(applied).toEqual([])
})

test('a presence is told to everyone, and to the apps here', () => {
  const away = { show: 'away', text: 'beim Essen ☕' }
  expect(presence.set('away', 'beim Essen ☕')).toEqual(away)
  expect(presence.get()).toEqual(away)
  expect(applied).toEqual([away])
  expect(published).toEqual([['presence.changed', away]])
})

test.each([
  ['at\nlunch\u001b[2J\t!', 'at lunch[2J !'],
  ['\u202egnihton\u2066', 'gnihton'],
  [' \u2028 ', ''],
  ['half \ud83d', 'half'],
])('text %j is shown as %j', (text, shown) => expect(presence.set('busy', text).text).toBe(shown))

test('a text has 255 characters, and ends between two', () => {
  expect(presence.set('busy', '☕'.repeat(300)).text).toBe('☕'.repeat(255))
  expect(presence.set('busy', '🎂'.repeat(300)).text).toBe('🎂'.repeat(255))
})
