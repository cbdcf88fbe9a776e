import { describe, expect, test } from 'vitest'
import { PEER_CHECKS, PEER_VERDICTS } from '../../daemon/doctor/checks.ts'
import type { Finding, PeerFindings } from '../../daemon/doctor/findings.ts'
import { addressChecks } from '../../daemon/doctor/peer-checks.ts'
import {
  ANNA,
  address,
  finch,
  joinedHub,
  MALLORY,
  NO_HUB,
  peerFindings,
  person,
  seen,
  session,
  WALL,
} from './findings.ts'

function examine(id: string, change: Partial<PeerFindings>): Finding {
  const check = [...PEER_CHECKS, ...PEER_VERDICTS].find((one) => one.id === id)
  if (!check) throw new Error(`no check ${id}`)
  return check.examine(peerFindings(change))
}

const away = person({ state: 'away', sightings: [] })
const viaHub = person({ sightings: [seen('hub', { address: '192.168.50.254', port: 0 })] })
const hub = { ...NO_HUB, hubs: [joinedHub()] }
const far = address({ interface: undefined, target: { address: '10.9.9.9', port: 47800 } })

const CASES: readonly (readonly [
  check: string,
  when: string,
  change: Partial<PeerFindings>,
  status: Finding['status'],
  says: RegExp,
  fix?: RegExp,
])[] = [
  ['known', 'it is seen', {}, 'ok', /anna is seen by mdns and beacon, last 3 s ago/],
  ['known', 'it is seen through a hub', { peer: viaHub, hub }, 'ok', /The hub: lanparty/],
  ['known', 'it is connected and unseen', { peer: person({ state: 'connected', sightings: [] }) }, 'ok', /connected/],
  ['known', 'it is away', { peer: away, lastSeen: WALL - 7_200_000 }, 'warn', /last seen 2 h ago/, /runs Partyline/],
  ['known', 'it was never here', { peer: away, lastSeen: undefined }, 'warn', /never seen/, /runs Partyline/],
  ['session', 'one is open', { session: session() }, 'ok', /route lan by tcp.*round trip 0\.4 ms/],
  ['session', 'none is open', {}, 'skip', /when it is needed/],
  ['session', 'it is blocked', { peer: person({ trust: 'blocked' }) }, 'skip', /Blocked/],
  ['session', 'it is a plain client', { peer: finch() }, 'skip', /plain XMPP/],
  ['session', 'something is known to stand in the way', { peer: person({ note: 'Apart.' }) }, 'warn', /Apart/, /./],
  ['key', 'it proved itself', {}, 'ok', /proved its key just now/],
  ['key', 'nobody answered', { addresses: [address()] }, 'skip', /proved its key before/],
  ['key', 'it never proved itself', { peer: person({ proven: false }), addresses: [] }, 'skip', /has not proven/],
  ['key', 'it is a plain client', { peer: finch() }, 'skip', /No key/],
  [
    'key',
    'another host answers by TLS',
    { addresses: [address({ tcp: 'open', tls: MALLORY })] },
    'fail',
    /WRONG KEY.*192\.168\.50\.2:47800 \(malloryaaaaa\)/,
    /compare.*partyline forget annaaaaaaaaa/,
  ],
  ['key', 'another host answers by beacon', { addresses: [address({ beacon: MALLORY })] }, 'fail', /WRONG KEY/, /id/],
  ['conclusion', 'a session is open', { session: session() }, 'ok', /connected, by lan to 192\.168\.50\.2:47800/],
  ['conclusion', 'it answers', {}, 'ok', /should connect/],
  ['conclusion', 'it answers and is not discovered', { peer: away }, 'warn', /discovery does not see it/, /doctor/],
  [
    'conclusion',
    'it is blocked here',
    { peer: person({ trust: 'blocked' }), addresses: [] },
    'fail',
    /blocked by you/,
    /partyline trust annaaaaaaaaa`/,
  ],
  [
    'conclusion',
    'a firewall there drops TCP',
    { addresses: [address({ beacon: ANNA })] },
    'fail',
    /discovered but data is blocked: a firewall on the machine of anna lets discovery through and drops TCP port 47800/,
    /On the machine of anna run `sudo ufw allow 47800/,
  ],
  [
    'conclusion',
    'a firewall there rejects TCP',
    { addresses: [address({ beacon: ANNA, tcp: 'refused' })] },
    'fail',
    /rejects TCP port 47800/,
    /firewall-cmd/,
  ],
  [
    'conclusion',
    'nothing answers what is sent to it',
    { addresses: [address()] },
    'fail',
    /was seen 3 s ago, but neither TCP nor UDP port 47800 of 192\.168\.50\.2 answers: a firewall/,
    /Private/,
  ],
  [
    'conclusion',
    'nothing listens',
    { addresses: [address({ tcp: 'refused' })] },
    'fail',
    /has ended/,
    /Start Partyline/,
  ],
  [
    'conclusion',
    'its machine is gone',
    { addresses: [address({ tcp: 'unreachable' })] },
    'fail',
    /no machine answers at its address:/,
    /isolation/,
  ],
  [
    'conclusion',
    'it turns us down',
    { addresses: [address({ beacon: ANNA, tcp: 'open' })] },
    'fail',
    /turns this host down/,
    /Ask anna/,
  ],
  ['conclusion', 'its port is something else', { addresses: [address({ tcp: 'open' })] }, 'fail', /not anna/, /status/],
  [
    'conclusion',
    'only another host answers',
    { addresses: [address({ tcp: 'open', tls: MALLORY })] },
    'fail',
    /Another host answers/,
    /check of the key/,
  ],
  ['conclusion', 'it is on another network', { addresses: [far] }, 'fail', /another network \(10\.9\.9\.9\)/, /Join/],
  ['conclusion', 'it is away', { peer: away, addresses: [address()] }, 'warn', /is away: last seen 3 s ago/, /Start/],
  [
    'conclusion',
    'this host is on no network',
    { interfaces: [], addresses: [{ ...far, tcp: 'unreachable' }] },
    'fail',
    /no network/,
    /cable/,
  ],
  [
    'conclusion',
    'clients are kept apart',
    { peer: viaHub, hub, addresses: [address({ methods: ['hub'], tcp: 'unreachable' })] },
    'fail',
    /seen only through the hub lanparty: the network keeps clients apart \(client isolation\).*Chat works/,
    /isolation.*cable/,
  ],
  [
    'conclusion',
    'clients are kept apart, or a firewall drops',
    { peer: viaHub, hub, addresses: [address({ methods: ['hub'] })] },
    'fail',
    /client isolation\), or a firewall/,
    /isolation.*ufw/,
  ],
  ['conclusion', 'a hub told no address', { peer: viaHub, addresses: [] }, 'fail', /told no address/, /Wait/],
  ['conclusion', 'a hub leads to another network', { peer: viaHub, addresses: [far] }, 'fail', /10\.9\.9\.9/, /router/],
  [
    'conclusion',
    'it is a plain client',
    { peer: finch(), addresses: [address({ tcp: 'open' })] },
    'ok',
    /finch is a plain XMPP client: chat only/,
  ],
  [
    'conclusion',
    'it is a plain client at a hub',
    { peer: finch({ sightings: [seen('hub', { address: '192.168.50.254' })] }), hub, addresses: [] },
    'ok',
    /through the hub lanparty/,
  ],
  [
    'conclusion',
    'it is a plain client behind a firewall',
    { peer: finch(), addresses: [address({ target: { address: '192.168.50.2', port: 5298 } })] },
    'fail',
    /5298/,
    /Open TCP port 5298/,
  ],
  ['conclusion', 'a plain client left', { peer: finch({ state: 'away', sightings: [] }) }, 'warn', /away/, /online/],
]

describe('the checks of a peer', () => {
  for (const [id, when, change, status, says, fix = /^$/] of CASES)
    test(`${id}, when ${when}`, () => {
      const found = examine(id, change)
      expect(found).toMatchObject({ status, detail: expect.stringMatching(says), fix: expect.stringMatching(fix) })
      expect(found.fix === '').toBe(status === 'ok' || status === 'skip')
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
    expect(checks.map(({ id, status, detail }) => `${id} ${status} ${detail}`)).toEqual([
      'address-1 ok On the network of eth0. Seen by mdns. Beacon and TLS answer, and anna proved its key.',
      'address-2 ok On the network of eth0. Seen by mdns. TLS answers (no beacon does), and anna proved its key.',
      expect.stringMatching(/^address-3 warn .*Its beacon is heard; TCP port 47800 does not answer/),
      expect.stringMatching(/^address-4 warn .*is open, and no Partyline host proved itself there/),
      expect.stringMatching(/^address-5 warn .*Remembered from before\. .*refuses/),
      expect.stringMatching(/^address-6 warn On none of this host's networks \(eth0\).*no machine answers/),
      expect.stringMatching(
        /^address-7 fail .*Another host answers there: malloryaaaaa\. 984 more addresses not asked/,
      ),
    ])
    expect(checks[5]?.title).toBe('Address 10.9.9.9:47800')
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
