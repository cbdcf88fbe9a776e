import { describe, expect, test } from 'vitest'
import { MAX_WAITING, type Notification, ServiceLife } from '../../daemon/service/life.ts'

function told(life: ServiceLife): Notification[] {
  const all: Notification[] = []
  for (let next = life.take(); next; next = life.take()) all.push(next)
  return all
}

describe('the life of a service', () => {
  test('is ready once, reloads while it is ready, and stops once', () => {
    const life = new ServiceLife(undefined, 0)
    life.reloading(5n)
    life.ready('accepts apps')
    life.ready('again')
    life.reloading(7n)
    life.reloaded('accepts apps')
    expect(told(life)).toEqual([
      ['READY=1', 'STATUS=accepts apps'],
      ['RELOADING=1', 'MONOTONIC_USEC=7'],
      ['READY=1', 'STATUS=accepts apps'],
    ])
    life.stopping()
    life.stopping()
    life.reloading(9n)
    life.ready('late')
    expect(told(life)).toEqual([['STOPPING=1', 'STATUS=says goodbye']])
  })

  test('gives three signs of life for each that is waited for, and none after its end', () => {
    const life = new ServiceLife(30_000, 1000)
    expect(life.deadline).toBe(11_000)
    life.tick(10_999)
    expect(told(life)).toEqual([])
    life.tick(11_000)
    expect(told(life)).toEqual([['WATCHDOG=1']])
    // A loop that was busy for long makes up for nothing.
    life.tick(95_000)
    expect(life.deadline).toBe(105_000)
    expect(told(life)).toEqual([['WATCHDOG=1']])
    life.stopping()
    expect(life.deadline).toBe(Number.POSITIVE_INFINITY)
  })

  test('says nothing of life where nobody waits for it', () => {
    const life = new ServiceLife(undefined, 0)
    life.tick(1e9)
    expect(life.deadline).toBe(Number.POSITIVE_INFINITY)
    expect(told(life)).toEqual([])
  })

  test('one sign of life waits at most', () => {
    const life = new ServiceLife(30, 0)
    for (let now = 10; now < 1000; now += 10) life.tick(now)
    expect(told(life)).toEqual([['WATCHDOG=1']])
  })

  test('of too many words the last ones are told', () => {
    const life = new ServiceLife(undefined, 0)
    life.ready('begun')
    for (let count = 0; count < 100; count++) life.reloaded(`reload ${count}`)
    const all = told(life)
    expect(all).toHaveLength(MAX_WAITING)
    expect(all.at(-1)).toEqual(['READY=1', 'STATUS=reload 99'])
  })

  test('stopping is told before all that waits, which nobody needs any more', () => {
    const life = new ServiceLife(undefined, 0)
    life.ready('begun')
    life.stopping()
    expect(told(life)).toEqual([['STOPPING=1', 'STATUS=says goodbye']])
  })

  test('a status is one short line, whatever it is made of', () => {
    const life = new ServiceLife(undefined, 0)
    life.ready(`x\nMAINPID=1\r\u0085${'y'.repeat(1000)}`)
    const [[, status = ''] = []] = told(life)
    expect(status).toMatch(/^STATUS=x MAINPID=1 y+$/)
    expect(status.length).toBeLessThanOrEqual('STATUS='.length + 200)
  })
})
