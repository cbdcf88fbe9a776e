import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../../ipc/methods.ts'
import { Lab, labMissing } from '../../lab/lab.ts'
import { Guest } from '../../scenarios/party.ts'
import { openMeeting } from '../matrix/partyline.ts'

const missing = labMissing(['miniupnpd'])
/** The home's router on the internet. */
const OUTSIDE = '11.99.0.1'
const EVERY = ['pcp', 'nat-pmp', 'upnp']

type Mapping = Result<'daemon.status'>['internet']['mappings'][number]

const isMapped = (all: readonly Mapping[]): boolean => all.length > 0 && all.every(({ state }) => state === 'mapped')

/** Resolves to what a host knows of its ports, once that is as wanted; there is no event for it. */
async function untilMappings(
  guest: Guest,
  isWanted: (mappings: readonly Mapping[]) => boolean = isMapped,
): Promise<readonly Mapping[]> {
  for (;;) {
    const { mappings } = (await guest.client.call('daemon.status', {})).internet
    if (isWanted(mappings)) return mappings
    await sleep(50)
  }
}

/** What the router forwards, by its packet filter's own word: `tcp 47800 192.168.1.11:47800`. Versions of nft name protocols or number them. */
async function forwarded(lab: Lab): Promise<string[]> {
  const { stdout } = await lab.exec('ra', ['nft', 'list', 'chain', 'inet', 'filter', 'prerouting_miniupnpd'])
  const rules = [...stdout.matchAll(/(0x6|0x11|tcp|udp)\b.* dport (\d+) dnat ip to (\S+)/g)]
  return rules.map(([, protocol = '', port, to]) => `${/0x6|tcp/.test(protocol) ? 'tcp' : 'udp'} ${port} ${to}`).sort()
}

/** Resolves when the router forwards just this. */
async function untilForwarded(lab: Lab, expected: readonly string[]): Promise<void> {
  while ((await forwarded(lab)).join() !== expected.join()) await sleep(100)
}

/** The router loses all that it knew of mappings, as after a power cut, and is there again. */
async function reboot(lab: Lab, speaks: string): Promise<void> {
  await stopDaemon(lab)
  await lab.svc('ra', 'miniupnpd', speaks)
}

/** The router speaks nothing any more, and forwards nothing. */
async function stopDaemon(lab: Lab): Promise<void> {
  await lab.exec('ra', ['sh', '-c', 'kill $(cat $LAB_DIR/miniupnpd.pid)'])
  const chains = ['miniupnpd', 'prerouting_miniupnpd', 'postrouting_miniupnpd']
  await lab.nft('ra', chains.map((chain) => `flush chain inet filter ${chain}`).join('\n'))
}

const home = (lab: Lab, host: string, by: readonly string[] = EVERY, settings = {}): Promise<Guest> =>
  Guest.join(lab, host, [], { settings: { 'nat.map-by': by, ...settings } })

const BOTH = ['tcp 47800 192.168.1.11:47800', 'udp 47800 192.168.1.11:47800']

describe.skipIf(missing)(`ports of a real router${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.concurrent.each([
    { speaks: 'pcp', by: ['pcp'], expected: 'pcp' },
    { speaks: 'pcp', by: ['nat-pmp'], expected: 'nat-pmp' },
    { speaks: 'upnp', by: ['upnp'], expected: 'upnp' },
    { speaks: 'igd1', by: EVERY, expected: 'upnp' },
    { speaks: 'all', by: EVERY, expected: 'pcp' },
  ])('that speaks $speaks are mapped by $by, and given back at the end', async ({ speaks, by, expected }) => {
    await using lab = await Lab.up('upnp')
    await lab.svc('ra', 'miniupnpd', speaks)
    const guest = await home(lab, 'a1', by)
    expect(await untilMappings(guest)).toMatchObject([
      { transport: 'tcp', protocol: expected, address: `${OUTSIDE}:47800`, doubleNat: false },
      { transport: 'udp', protocol: expected, address: `${OUTSIDE}:47800`, doubleNat: false },
    ])
    expect(await forwarded(lab)).toEqual(BOTH)
    await guest.daemon.stop()
    expect(await forwarded(lab)).toEqual([])
  })

  test.concurrent.each([['pcp'], ['nat-pmp']])(
    'that restarts and says so (%s) are mapped again within seconds',
    async (by) => {
      await using lab = await Lab.up('upnp')
      const guest = await home(lab, 'a1', [by])
      await untilMappings(guest)
      await reboot(lab, 'pcp')
      await untilForwarded(lab, BOTH)
      expect(await untilMappings(guest)).toMatchObject([{ protocol: by }, { protocol: by }])
    },
  )

  test.concurrent('are the same after this host was killed: nobody else could have taken them up again', async () => {
    await using lab = await Lab.up('upnp')
    const guest = await home(lab, 'a1', ['pcp'])
    await untilMappings(guest)
    await guest.restart()
    expect(await untilMappings(guest)).toMatchObject([{ address: `${OUTSIDE}:47800` }, { address: `${OUTSIDE}:47800` }])
    expect(await forwarded(lab)).toEqual(BOTH)
    await guest.daemon.stop()
    expect(await forwarded(lab)).toEqual([])
  })

  test.concurrent('that two hosts want go to the first, and the other gets others, the same for TCP and UDP', async () => {
    await using lab = await Lab.up('upnp')
    const first = await home(lab, 'a1')
    await untilMappings(first)
    const second = await home(lab, 'a2')
    const [tcp, udp] = await untilMappings(second)
    expect(tcp?.address).toMatch(/^11\.99\.0\.1:\d+$/)
    expect(tcp?.address).not.toBe(`${OUTSIDE}:47800`)
    expect(udp?.address).toBe(tcp?.address)
    expect(await forwarded(lab)).toEqual(expect.arrayContaining(BOTH))
    await second.daemon.stop()
    expect(await forwarded(lab)).toEqual(BOTH)
  })

  test.concurrent('are mapped and given back as the owner says', async () => {
    await using lab = await Lab.up('upnp')
    const guest = await home(lab, 'a1', EVERY, { 'nat.map': false })
    expect(await untilMappings(guest, () => true)).toEqual([])
    await guest.json(['config', 'set', 'nat.map', 'true'])
    await untilForwarded(lab, BOTH)
    await guest.json(['config', 'set', 'nat.map', 'false'])
    await untilForwarded(lab, [])
    expect(await untilMappings(guest, () => true)).toEqual([])
  })

  test.concurrent('that speaks nothing are not mapped, and it is said why', async () => {
    await using lab = await Lab.up('upnp')
    await stopDaemon(lab)
    const guest = await home(lab, 'a1')
    const [tcp] = await untilMappings(guest, (all) => all.some(({ state }) => state === 'failed'))
    expect(tcp?.detail).toMatch(/pcp: .*not answer.*; nat-pmp: .*not answer|no UPnP router answers/)
    expect(tcp).toMatchObject({ address: '', protocol: '', lifetime: null })
  })

  test.concurrent('that is behind another router are refused, and it is said why', async () => {
    await using lab = await Lab.up('cgnat', { a: 'upnp' })
    const guest = await home(lab, 'a1')
    const [tcp] = await untilMappings(guest, (all) => all.some(({ state }) => state === 'failed'))
    expect(tcp?.detail).toMatch(/pcp: .*; nat-pmp: .*line is down/)
  })

  test.concurrent.each([
    ['tcp', 'udp'],
    ['udx', 'tcp'],
  ])('let somebody behind a symmetric NAT in over %s, who met this host at a hub', async (carrier, blocked) => {
    await using lab = await Lab.up('upnp', { b: 'sym' })
    const rule = `type filter hook forward priority -1; ip saddr 11.99.0.2 ip protocol ${blocked} drop`
    await lab.nft('ra', `table inet block { chain there { ${rule}; } }`)
    const { ticket } = await openMeeting(lab)
    const settings = { 'hub.join': [ticket], 'policy.internet': 'open' }
    const [owner, stranger] = await Promise.all([home(lab, 'a1', EVERY, settings), home(lab, 'b1', EVERY, settings)])
    await Promise.all([untilMappings(owner), stranger.untilSees(owner.id), owner.untilSees(stranger.id)])
    await stranger.json(['connect', owner.id])
    await Promise.all([stranger.untilRoute(owner.id, 'mapped'), owner.untilRoute(stranger.id, 'mapped')])
    const [session] = await stranger.client.call('sessions.list', {})
    expect(session).toMatchObject({ carrier, remote: `${OUTSIDE}:47800` })
  })

  test.concurrent('of IPv6 are opened in the firewall of the router', async () => {
    await using lab = await Lab.up('upnp', { ip: '46' })
    const guest = await home(lab, 'a1', EVERY, { 'nat.map': false })
    const probe = ['/usr/bin/python3', '-c', PROBE, 'fd00:1::11', '47800']
    const dial = async (): Promise<string> => (await lab.exec('pub', probe)).stdout.trim()
    expect(await dial()).toBe('closed')
    await guest.json(['config', 'set', 'nat.map', 'true'])
    const isOpen = ({ state, gateway }: Mapping) => state === 'mapped' && gateway === 'fd00:1::1'
    const all = await untilMappings(guest, (now) => now.filter(isOpen).length === 2)
    expect(all.filter(isOpen)).toMatchObject([{ address: '[fd00:1::11]:47800' }, { address: '[fd00:1::11]:47800' }])
    expect(await dial()).toBe('open')
    await guest.daemon.stop()
    expect((await lab.exec('ra', ['nft', 'list', 'chain', 'inet', 'filter', 'miniupnpd'])).stdout).not.toContain(
      '47800',
    )
  })
})

/** Whether anybody takes a TCP connection there: a firewall that drops says nothing. */
const PROBE = `import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)
    print('open')
except OSError:
    print('closed')`
