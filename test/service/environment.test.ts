import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OWN_VARIABLES, readSupervision } from '../../daemon/service/environment.ts'

const PID = 4711
const sockets = (LISTEN_FDS: string, LISTEN_FDNAMES?: string, LISTEN_PID = String(PID)) =>
  readSupervision({ LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID }, PID).sockets

describe('what a service manager says', () => {
  test('is nothing where there is none', () =>
    expect(readSupervision({}, PID)).toEqual({
      notifySocket: undefined,
      watchdog: undefined,
      sockets: {},
      journalStream: undefined,
    }))

  test.each([
    ['/run/systemd/notify', '/run/systemd/notify'],
    ['@/org/notify', '@/org/notify'],
    ['@', undefined],
    ['', undefined],
    ['relative', undefined],
    ['vsock:2:1234', undefined],
  ])('is told at NOTIFY_SOCKET=%s if that is a Unix socket', (NOTIFY_SOCKET, taken) =>
    expect(readSupervision({ NOTIFY_SOCKET }, PID).notifySocket).toBe(taken),
  )

  test.each([
    ['30000000', undefined, 30_000],
    ['30000000', '4711', 30_000],
    ['30000000', '4712', undefined],
    ['0', undefined, undefined],
    ['-1', undefined, undefined],
    ['soon', undefined, undefined],
    ['1'.repeat(30), undefined, undefined],
  ])('WATCHDOG_USEC=%s for process %s', (WATCHDOG_USEC, WATCHDOG_PID, patience) =>
    expect(readSupervision({ WATCHDOG_USEC, WATCHDOG_PID }, PID).watchdog).toBe(patience),
  )

  test.each([
    [['1'], { app: 3 }],
    [['1', 'partyline.socket'], { app: 3 }],
    [['1', 'control'], { control: 3 }],
    [['2', 'control:app'], { control: 3, app: 4 }],
    [['0'], {}],
    // Meant for a parent that forgot to take it away.
    [['1', 'app', '1'], {}],
    [['1', 'app', ''], {}],
  ] as const)('sockets %j', ([count, names, pid], taken) => expect(sockets(count, names, pid)).toEqual(taken))

  test.each([
    ['2', 'app'],
    ['2', 'app:app'],
    ['2', 'app:metrics'],
    ['3', 'app:control:'],
  ])('%s sockets called %s are refused', (count, names) =>
    expect(() => sockets(count, names)).toThrow(expect.objectContaining({ code: 'local.bad-activation' })),
  )

  test('a huge number of sockets ends at the first that is not known', () =>
    expect(() => sockets('999999999999999', 'app:control')).toThrow(/socket 3 of 999999999999999/))

  test('whatever the variables hold, there is an answer or a refusal with a code', () =>
    fc.assert(
      fc.property(fc.record(Object.fromEntries(OWN_VARIABLES.map((name) => [name, fc.string()])) as never), (env) => {
        const read = (): unknown => readSupervision({ ...(env as object), LISTEN_PID: String(PID) }, PID)
        try {
          read()
        } catch (error) {
          expect(error).toMatchObject({ code: 'local.bad-activation' })
        }
      }),
    ))
})
