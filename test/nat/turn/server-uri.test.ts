import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../../daemon/errors.ts'
import { formatTurnServer, parseTurnServer } from '../../../daemon/nat/turn/server-uri.ts'

describe('the address of a TURN server', () => {
  test.each([
    ['turn:turn.example.org', ['turn.example.org', 3478, 'udp', '', '']],
    ['TURN:Turn.Example.org:3479?transport=UDP', ['turn.example.org', 3479, 'udp', '', '']],
    ['turn:192.0.2.1?transport=tcp', ['192.0.2.1', 3478, 'tcp', '', '']],
    ['turns:turn.example.org', ['turn.example.org', 5349, 'tls', '', '']],
    ['turns:[2001:db8::1]:443?transport=tcp', ['2001:db8::1', 443, 'tls', '', '']],
    ['turn:alice:wonder@turn.example.org', ['turn.example.org', 3478, 'udp', 'alice', 'wonder']],
    [
      'turn:1795486827%3Aal%40ice:gY5+ZX%2F%25=@[2001:db8::1]',
      ['2001:db8::1', 3478, 'udp', '1795486827:al@ice', 'gY5+ZX/%='],
    ],
    ['turn:alice:@turn.example.org', ['turn.example.org', 3478, 'udp', 'alice', '']],
    ['turn:jos%65%CC%81:pass word@h', ['h', 3478, 'udp', 'jos\u00e9', 'pass word']],
  ])('%s', (text, [host, port, transport, username, password]) => {
    expect(parseTurnServer(text)).toEqual({ host, port, transport, username, password })
  })

  test.each([
    ['', /not the address/],
    ['stun:turn.example.org', /not the address/],
    ['turn.example.org', /not the address/],
    ['turn://turn.example.org', /not the address|host is missing/],
    ['turn:', /host is missing/],
    ['turn:a b', /neither a host name/],
    ['turn:1.2.3', /neither a host name/],
    ['turn:2001:db8::1', /not the address|neither/],
    ['turn:[fe80::1%eth0]', /no IPv6 address/],
    ['turn:[1.2.3.4]', /no IPv6 address/],
    ['turn:h:0', /port/],
    ['turn:h:', /port/],
    ['turn:h:65536', /port/],
    ['turn:h?transport=sctp', /transport=udp or transport=tcp/],
    ['turn:h?x=1', /transport=udp or transport=tcp/],
    ['turns:h?transport=udp', /DTLS/],
    ['turn:secret@h', /USER:PASSWORD/],
    ['turn::secret@h', /USER:PASSWORD/],
    ['turn:a:secret%@h', /%25/],
    ['turn:a:sec%0aret@h', /control character/],
    [`turn:a:${'x'.repeat(600)}@h`, /too long/],
    [`turn:${'x'.repeat(2000)}`, /not the address/],
  ])('%s is refused with a reason, which does not tell the password', (text, reason) => {
    const refused = () => parseTurnServer(text)
    expect(refused).toThrow(
      expect.objectContaining({ code: 'usage.invalid-setting', message: expect.stringMatching(reason) }),
    )
    expect(refused).not.toThrow(/secret|sec%/)
  })

  test('is written without name and password, and read again the same', () => {
    for (const text of ['turn:h', 'turn:h:1', 'turn:h?transport=tcp', 'turns:h', 'turns:[2001:db8::1]:443']) {
      const server = parseTurnServer(text.replace(':', ':alice:wonder@'))
      expect(formatTurnServer(server)).toBe(text)
      expect(parseTurnServer(formatTurnServer(server))).toEqual({ ...server, username: '', password: '' })
    }
  })

  test('of any text is an address or refused', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string().map((rest) => `turn:${rest}`),
      fc.string({ unit: fc.constantFrom(...'turns:[]@%1a.?=&') }),
    )
    fc.assert(
      fc.property(text, (any) => {
        try {
          const { host, port } = parseTurnServer(any)
          expect(host).not.toBe('')
          expect(port).toBeGreaterThan(0)
        } catch (error) {
          expect(error).toBeInstanceOf(PartylineError)
        }
      }),
    )
  })
})
