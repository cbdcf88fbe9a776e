import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { DiscoveryName, PeerId } from '../../daemon/types.ts'
import type { DoctorCheck } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import type { Command } from './worker.ts'

const missing = labMissing()
const WORKER = new URL('./worker.ts', import.meta.url).pathname

/** A host of the lab with a doctor. */
async function startHost(lab: Lab, host: string) {
  const child = lab.spawn(host, [process.execPath, WORKER, host])
  const { stdin, stdout, stderr } = child
  if (!stdin || !stdout || !stderr) throw new Error('the worker has no pipes')
  let errors = ''
  stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-20_000)
  })
  const lines = createInterface(stdout)[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`the worker on ${host} ended: ${errors}`)
    return JSON.parse(value) as { peer: PeerId; checks: DoctorCheck[]; took: number }
  }
  const ask = (command: Command) => {
    stdin.write(`${JSON.stringify(command)}\n`)
    return next()
  }
  const { peer } = await next()
  return {
    peer,
    /** The checks by id; within five seconds, or it is a failure. */
    diagnose: async (about?: PeerId) => {
      const { checks, took } = await ask({ do: 'diagnose', ...(about && { peer: about }) })
      expect(took).toBeLessThan(5000)
      return Object.fromEntries(checks.map((check) => [check.id, check]))
    },
    untilSeen: (other: PeerId, by: readonly DiscoveryName[]) => ask({ do: 'untilSeen', peer: other, by }),
    /** A sighting that a hub would bring. */
    seeByHub: (other: PeerId, address: string, port: number) =>
      ask({
        do: 'see',
        sighting: { peer: other, method: 'hub', interface: 'eth0', address, port, name: 'h2', proven: false },
      }),
  }
}

/** One packet from the port of mDNS, so that what is counted is known to be counted. */
const MDNS_BY_HAND = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("192.168.50.1"))
s.sendto(bytes(12), ("224.0.0.251", 5353))
`

const filter = (hook: 'input' | 'output', ...rules: readonly string[]): string =>
  `flush ruleset\ntable inet doctor { chain ${hook} { type filter hook ${hook} priority 0; ${rules.join('; ')}; } }`

describe.skipIf(missing).concurrent(`the doctor on real hosts${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('tells apart who is there, behind a firewall of several kinds, and gone', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = await Promise.all([startHost(lab, 'h1'), startHost(lab, 'h2')])
    await h1.untilSeen(h2.peer, ['mdns', 'beacon'])

    const host = await h1.diagnose()
    for (const { id, status } of Object.values(host)) expect([id, status]).not.toEqual([id, 'fail'])
    for (const id of ['interfaces', 'port', 'multicast-self', 'discovery-mdns', 'people', 'multicast-lan'])
      expect(host[id]).toMatchObject({ status: 'ok', fix: '' })

    const well = await h1.diagnose(h2.peer)
    expect(well.conclusion).toMatchObject({ status: 'ok', detail: expect.stringContaining('should connect') })
    expect(well['address-1']).toMatchObject({ status: 'ok', detail: expect.stringContaining('Beacon and TLS answer') })

    await lab.nft('h2', filter('input', 'tcp dport 47800 drop'))
    const dropped = await h1.diagnose(h2.peer)
    expect(dropped.conclusion).toMatchObject({
      code: 'peer.firewalled',
      detail: expect.stringContaining('lets discovery through and drops TCP port 47800'),
      fix: expect.stringContaining('sudo ufw allow 47800'),
    })

    await lab.nft('h2', filter('input', 'tcp dport 47800 reject with tcp reset'))
    expect((await h1.diagnose(h2.peer)).conclusion?.detail).toContain('rejects TCP port 47800')

    await lab.nft('h2', filter('input', 'tcp dport 47800 drop', 'udp dport 47800 drop'))
    expect((await h1.diagnose(h2.peer)).conclusion?.detail).toMatch(/data is blocked|drops both/)

    await lab.nft('h2', filter('input', 'udp dport 47800 drop'))
    expect((await h1.diagnose(h2.peer)).conclusion).toMatchObject({ status: 'ok' })

    await lab.nft('h2', 'flush ruleset')
    await lab.link('h2', 'down')
    const gone = await h1.diagnose(h2.peer)
    expect(gone.reach).toMatchObject({ code: 'peer.seen-unreachable' })
    expect(gone.conclusion).toMatchObject({ status: 'fail', detail: expect.stringMatching(/switched off|sleeps/) })
  })

  test('hears its own multicast, or says what holds it back', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    const h1 = await startHost(lab, 'h1')
    expect((await h1.diagnose())['multicast-self']).toMatchObject({ status: 'ok' })

    await lab.nft('h1', filter('output', 'ip daddr 224.0.0.0/4 drop', 'ip6 daddr ff02::fb drop'))
    expect((await h1.diagnose())['multicast-self']).toMatchObject({
      code: 'multicast.deaf',
      detail: expect.stringMatching(/eth0 \(IPv4, EPERM\).*eth0 \(IPv6, EPERM\).*its own firewall forbids/),
    })

    await lab.nft('h1', filter('input', 'udp dport 5353 drop'))
    expect((await h1.diagnose())['multicast-self']).toMatchObject({
      status: 'fail',
      detail: expect.stringMatching(/eth0 \(IPv4\) and eth0 \(IPv6\)/),
      fix: expect.stringContaining('firewall'),
    })

    await lab.nft('h1', filter('input', 'ip daddr 224.0.0.251 drop'))
    expect((await h1.diagnose())['multicast-self']).toMatchObject({ code: 'multicast.half-deaf' })

    await lab.nft('h1', 'flush ruleset')
    const again = await h1.diagnose()
    expect(again['multicast-self']).toMatchObject({ status: 'ok' })
    expect(again.people).toMatchObject({ code: 'lan.nobody', detail: expect.stringContaining('Nobody else is seen') })
  })

  test('sends its own multicast no further than this host', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    const h1 = await startHost(lab, 'h1')
    // Whoever does mDNS sends from its port; the doctor alone sends from another.
    const rules = ['udp dport 5353 counter', 'udp dport 5353 udp sport != 5353 counter']
    await lab.nft(
      'lan',
      `table bridge doctor { chain in { type filter hook prerouting priority 0; ${rules.join('; ')}; } }`,
    )
    await lab.exec('h1', ['/usr/bin/python3', '-c', MDNS_BY_HAND])
    expect((await h1.diagnose())['multicast-self']).toMatchObject({ status: 'ok' })
    const { stdout } = await lab.exec('lan', ['nft', 'list', 'ruleset'])
    const [mdns, doctor] = [...stdout.matchAll(/counter packets (\d+)/g)].map(([, packets]) => Number(packets))
    expect(mdns).toBeGreaterThan(0)
    expect(doctor).toBe(0)
  })

  test('tells of a network that filters multicast', async () => {
    await using lab = await Lab.up('lan', { n: 2, nomcast: true })
    const [h1, h2] = await Promise.all([startHost(lab, 'h1'), startHost(lab, 'h2')])
    await h1.untilSeen(h2.peer, ['beacon'])
    expect((await h1.diagnose())['multicast-lan']).toMatchObject({
      code: 'multicast.mdns-filtered',
      detail: expect.stringMatching(/On eth0 others are heard by broadcast beacons and none by mDNS/),
    })
    await h1.seeByHub(h2.peer, '192.168.50.2', 47800)
    expect((await h1.diagnose())['multicast-lan']).toMatchObject({
      code: 'multicast.filtered',
      detail: expect.stringMatching(/Multicast does not pass on eth0/),
    })
    expect((await h1.diagnose(h2.peer)).conclusion).toMatchObject({ status: 'ok' })
  })

  test('tells of an access point that keeps its clients apart', async () => {
    await using lab = await Lab.up('isolated', { n: 2 })
    const [h1, h2] = await Promise.all([startHost(lab, 'h1'), startHost(lab, 'h2')])
    expect((await h1.diagnose()).people).toMatchObject({ status: 'warn' })
    await h1.seeByHub(h2.peer, '192.168.50.254', 0)
    expect((await h1.diagnose(h2.peer)).conclusion?.detail).toContain('told no address')
    await h1.seeByHub(h2.peer, '192.168.50.2', 47800)
    expect((await h1.diagnose(h2.peer)).conclusion).toMatchObject({
      code: 'peer.isolated',
      detail: expect.stringMatching(/only through the hub lanparty: the network keeps clients apart/),
      fix: expect.stringContaining('isolation'),
    })
    expect((await h1.diagnose())['multicast-lan']).toMatchObject({ status: 'warn' })
  })

  test('another key at the address of a peer is told loudly', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = await Promise.all([startHost(lab, 'h1'), startHost(lab, 'h2')])
    const elsewhere = `${h2.peer.slice(0, -4)}aaaa` as PeerId
    await h1.seeByHub(elsewhere, '192.168.50.2', 47800)
    const checks = await h1.diagnose(elsewhere)
    expect(checks.key).toMatchObject({ code: 'peer.wrong-key', detail: expect.stringContaining('WRONG KEY') })
    expect(checks.conclusion).toMatchObject({ status: 'fail' })
  })
})
