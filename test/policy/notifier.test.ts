import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { decodeNotice, encodeNotice } from '../../daemon/policy/notice.ts'
import { Notifier } from '../../daemon/policy/notifier.ts'
import { VirtualClock } from '../virtual-clock.ts'

type Run = NonNullable<ConstructorParameters<typeof Notifier>[0]['run']>

function notifier(
  platform: NodeJS.Platform,
  env: NodeJS.ProcessEnv = { DBUS_SESSION_BUS_ADDRESS: 'unix:' },
  isWanted = true,
) {
  const clock = new VirtualClock()
  const calls: Parameters<Run>[0][] = []
  const run: Run = async (call) => void calls.push(call)
  return {
    clock,
    calls,
    notifier: new Notifier({ clock, logger: silentLogger, platform, env, isWanted: () => isWanted, run }),
  }
}

/** What somebody may call himself. */
const NASTY = '"; rm -rf ~ #$(id)`id`\n<b>x</b>&\u202e\u0007 --icon=/etc/passwd'

describe('a notification on the desktop', () => {
  test.each(['linux', 'darwin', 'win32'] as const)(
    'on %s carries what others wrote as text, never as code',
    (platform) => {
      const { notifier: one, calls } = notifier(platform)
      one.show('Partyline', 'harmless')
      one.show('Partyline', NASTY)
      const [plain, nasty] = calls
      if (!plain || !nasty) throw new Error('nothing was shown')
      const text = platform === 'win32' ? nasty.env?.PARTYLINE_TEXT : nasty.args.at(-1)
      expect(text).toMatch(/^"; rm -rf/)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that none is left is what is tested.
      expect(text).not.toMatch(/[\n\u0007\u202e]/)
      if (platform === 'linux') {
        expect(text).toContain('&lt;b&gt;')
        // Behind this nothing is an option.
        expect(nasty.args.at(-3)).toBe('--')
      }
      const code = (args: readonly string[]) => (platform === 'win32' ? args : args.slice(0, -1))
      expect([nasty.program, ...code(nasty.args)]).toEqual([plain.program, ...code(plain.args)])
    },
  )

  test('is none where there is no desktop, or nobody wants it', () => {
    const silent = [notifier('linux', {}), notifier('linux', undefined, false), notifier('freebsd', {})]
    for (const { notifier: one, calls } of silent) {
      one.show('Partyline', 'hello')
      expect(calls).toEqual([])
    }
  })

  test('comes four times at once, and then ever so often', () => {
    const { notifier: one, calls, clock } = notifier('linux')
    for (let i = 0; i < 100; i++) one.show('Partyline', 'hello')
    expect(calls).toHaveLength(4)
    clock.advance(60_000)
    for (let i = 0; i < 100; i++) one.show('Partyline', 'hello')
    expect(calls).toHaveLength(8)
  })
})

test('a notice comes out as it went in, and nothing else is one', () => {
  expect([decodeNotice(encodeNotice('asking')), decodeNotice(encodeNotice('accepted'))]).toEqual(['asking', 'accepted'])
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(() => decodeNotice(bytes)).toThrow(expect.objectContaining({ code: 'peer.malformed' }))
    }),
  )
})
