import { describe, expect, test } from 'vitest'
import type { DoctorCheck } from '../../ipc/methods.ts'
import { Lab, labMissing, startDaemon } from '../lab/lab.ts'

const missing = labMissing(['turnserver', 'openssl', 'ss'])

/** What the doctor says of each kind of NAT of the lab. */
const KINDS: readonly (readonly [kind: string, code: string, says: RegExp])[] = [
  ['eim', 'ok', /one port for all destinations, and only addresses and ports that were sent to/],
  ['eim-rnd', 'ok', /one port for all destinations, and only addresses and ports that were sent to/],
  ['arc', 'ok', /one port for all destinations, and only addresses that were sent to/],
  ['cone', 'ok', /one port for all destinations, and anybody is let in/],
  ['adm', 'nat.symmetric', /symmetric NAT: it gives every address another port/],
  ['sym', 'nat.symmetric', /symmetric NAT: it gives every address and port another port/],
  ['udpblock', 'nat.udp-blocked', /UDP does not come back/],
]

describe.skipIf(missing)(`the doctor${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('names the NAT before this host, and what its servers say', async () => {
    await using lab = await Lab.up('nat-pair')
    await lab.svc('srv', 'coturn', 'lt')
    const settings = { 'nat.stun': ['10.99.0.10'], 'nat.turn': ['turn:alice:wonder@10.99.0.10'] }
    /** What the doctor of a home says behind each kind of router. */
    const look = async (host: string, router: string, kinds: typeof KINDS): Promise<void> => {
      const daemon = await startDaemon(lab, host, { settings })
      for (const [kind, code, says] of kinds) {
        await lab.nat(router, kind)
        const { stdout } = await daemon.cli(['doctor', '--json'])
        const { checks } = JSON.parse(stdout) as { checks: DoctorCheck[] }
        const find = (id: string) => checks.find((check) => check.id === id)
        expect(find('nat'), kind).toMatchObject({ code, detail: expect.stringMatching(says) })
        // A relay that was there a moment ago is not missed at once.
        const answers = kind === 'udpblock' ? /warn|fail/ : /ok/
        expect(find('nat-servers')?.status, kind).toMatch(answers)
      }
    }
    await Promise.all([look('a1', 'ra', KINDS.slice(0, 4)), look('b1', 'rb', KINDS.slice(4))])
  }, 120_000)
})
