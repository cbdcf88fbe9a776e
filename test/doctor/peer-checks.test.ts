import { describe, expect, test } from 'vitest'
import { PEER_CHECKS, PEER_VERDICTS } from '../../daemon/doctor/checks.ts'
import type { Finding, PeerFindings } from '../../daemon/doctor/findings.ts'
import { addressChecks } from '../../daemon/doctor/peer-checks.ts'
import { ANNA, address, finch, MALLORY, peerFindings, person, session } from './findings.ts'
import { far, PEER_CASES } from './peer-cases.ts'

/** What a check finds; of several things the one with this code. */
function examine(id: string, change: Partial<PeerFindings>, code = ''): Finding {
  const check = [...PEER_CHECKS, ...PEER_VERDICTS].find((one) => one.id === id)
  if (!check) throw new Error(`no check ${id}`)
  const all = [check.examine(peerFindings(change))].flat()
  const found = all.find((one) => one.code === code) ?? all[0]
  if (!found) throw new Error(`${id} finds nothing`)
  return found
}

describe('the checks of a peer', () => {
  for (const [id, when, change, code, says, fix = /^$/] of PEER_CASES)
    test(`${id}, when ${when}`, () => {
      const found = examine(id, change, code)
      expect(found).toMatchObject({ code, detail: expect.stringMatching(says), fix: expect.stringMatching(fix) })
      expect(found.fix === '').toBe(code === 'ok' || code === 'skip')
    })

  test('each address says on which network it is, what saw it and what answers', () => {
    const checks = addressChecks(
      peerFindings({
        addresses: [
          address({ beacon: ANNA, tcp: 'open', tls: ANNA }),
          address({ tcp: 'open', tls: ANNA }),
          address({ beacon: ANNA, tcp: 'timeout' }),
          address({ tcp: 'open' }),
          address({ tcp: 'refused', methods: [] }),
          { ...far, tcp: 'unreachable' },
          address({ beacon: MALLORY }),
        ],
        unasked: 984,
      }),
    )
    expect(checks.map(({ id, code, detail }) => `${id} ${code} ${detail}`)).toEqual([
      'address-1 ok On the network of eth0. Seen by mdns. Beacon and TLS answer, and anna proved its key.',
      'address-2 ok On the network of eth0. Seen by mdns. TLS answers (no beacon does), and anna proved its key.',
      expect.stringMatching(/^address-3 peer.address-silent .*Its beacon is heard; TCP port 47800 does not answer/),
      expect.stringMatching(/^address-4 peer.address-silent .*is open, and no Partyline host proved itself there/),
      expect.stringMatching(/^address-5 peer.address-silent .*Remembered from before\. .*refuses/),
      expect.stringMatching(
        /^address-6 peer.address-silent On none of this host's networks \(eth0\).*no machine answers/,
      ),
      expect.stringMatching(
        /^address-7 peer.address-of-other .*Another host answers there: malloryaaaaa\. 984 more addresses not asked/,
      ),
    ])
    expect(checks[5]?.title).toBe('Address 10.9.9.9:47800')
  })

  test('an address that does not answer is no matter while a session is open', () => {
    const [check] = addressChecks(peerFindings({ session: session(), addresses: [address()] }))
    expect(check).toMatchObject({ code: 'skip', detail: expect.stringContaining('The session goes another way') })
  })

  test('an address of a plain client needs only to be open', () => {
    const [check] = addressChecks(peerFindings({ peer: finch(), addresses: [address({ tcp: 'open' })] }))
    expect(check).toMatchObject({ id: 'address-1', status: 'ok', fix: '' })
  })

  test('a name that a shell would act on is in no command', () => {
    const evil = person({ name: '$(reboot)' })
    for (const change of [{ peer: { ...evil, trust: 'blocked' } as const }, { addresses: [address({ tls: MALLORY })] }])
      for (const { id } of PEER_VERDICTS) {
        const { fix } = examine(id, { peer: evil, ...change })
        for (const [, command] of fix.matchAll(/`([^`]*)`/g)) expect(command).not.toContain('reboot')
      }
  })
})
