import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { LabMethod, startOn } from './lab-method.ts'
import { describeMethod } from './method-suite.ts'
import { SightingLog } from './sighting-log.ts'

const missing = labMissing()
const title = (text: string) => `${text}${missing ? ` (skipped: ${missing})` : ''}`

describe.skipIf(missing).for(['mdns', 'beacon', 'xmpp'] as const)(title('%s between hosts of the lab'), (kind) => {
  let lab: Lab
  let hosts = 0
  beforeAll(async () => {
    lab = await Lab.up('lan', { n: 3 })
  })
  afterAll(() => lab.down())
  describeMethod(kind, () => {
    const host = hosts++
    return LabMethod.create(lab, `h${1 + (host % 3)}`, kind, `host ${host}`, 47800 + host)
  })
})

// They wait most of the time, each in a lab of its own.
describe.skipIf(missing).for(['mdns', 'beacon', 'xmpp'] as const)(title('%s alone'), (kind) => {
  test.concurrent.for(['4', '6'] as const)(
    'finds a host with IPv%s only, and notices that it was killed',
    async (ip) => {
      await using lab = await Lab.up('lan', { n: 2, ip })
      const [a, b] = [await startOn(lab, 'h1', kind), await startOn(lab, 'h2', kind)]
      const sighting = await a.log.untilSees(b.peer)
      expect(sighting).toMatchObject({ interface: 'eth0', port: 47800, name: 'name of h2' })
      expect(sighting.address).toMatch(ip === '4' ? /^192\.168\.50\.2$/ : /^fd00:50::2$|^fe80:.*%eth0$/)
      await b.log.untilSees(a.peer)
      b.method.kill()
      await a.log.untilGone(b.peer)
    },
  )

  test.concurrent('keeps the zone of link-local addresses', async () => {
    await using lab = await Lab.up('lan', { n: 2, zeroconf: true })
    const [a, b] = [await startOn(lab, 'h1', kind), await startOn(lab, 'h2', kind)]
    await a.log.until((log) => log.of(b.peer).some((one) => one.address.startsWith('fe80:')))
    for (const { address } of a.log.sightings) expect(address).toMatch(/^169\.254\.50\.2$|^fe80:.*%eth0$/)
  })

  test.concurrent('tells on which of two interfaces it saw whom, and goes on when one dies', async () => {
    await using lab = await Lab.up('lan-multi')
    const [a, b] = [await startOn(lab, 'h1', kind), await startOn(lab, 'h2', kind)]
    const [c, d] = [await startOn(lab, 'h3', kind), await startOn(lab, 'h4', kind)]
    await a.log.until((log) => new Set(log.of(b.peer).map((one) => one.interface)).size === 2)
    await a.log.untilSees(c.peer)
    await a.log.untilSees(d.peer)
    const seenOn = (peer: string) =>
      new Set(a.log.sightings.filter((one) => one.peer === peer).map((one) => one.interface))
    expect([seenOn(c.peer), seenOn(d.peer)]).toEqual([new Set(['eth0']), new Set(['eth1'])])
    for (const { interface: name, address } of a.log.sightings)
      expect(address).toMatch(name === 'eth0' ? /^192\.168\.50\.|^fd00:50:|%eth0$/ : /^192\.168\.51\.|^fd00:51:|%eth1$/)

    await lab.link('h1', 'down', 'eth1')
    await a.log.untilGone(d.peer)
    expect(a.log.of(c.peer)).not.toEqual([])
    await lab.link('h1', 'up', 'eth1')
    await a.log.untilSees(d.peer)
  })
})

/** Sends mDNS responses that no honest host sends, and prints how many questions they drew. */
const HOSTILE = `import dgram from 'node:dgram'; import dnsPacket from '${new URL('../../node_modules/dns-packet/index.js', import.meta.url).pathname}'
  const service = '_partyline._tcp.local'
  const s = dgram.createSocket({ type: 'udp4', reuseAddr: true }); let drawn = 0
  s.on('message', (bytes, from) => { if (from.address === '192.168.50.1' && !(bytes[2] & 128)) drawn++ })
  await new Promise((done) => s.bind(5353, '0.0.0.0', done)); s.addMembership('224.0.0.251', '192.168.50.2'); s.setMulticastInterface('192.168.50.2')
  const send = (bytes) => new Promise((done, fail) => s.send(bytes, 5353, '224.0.0.251', (error) => (error ? fail(error) : done())))
  const respond = (answers) => send(dnsPacket.encode({ type: 'response', answers: answers.map((one) => ({ ttl: 120, ...one })) }))
  const ptr = (data) => ({ type: 'PTR', name: service, data })
  await respond(Array.from({ length: 300 }, () => ptr('n')))
  for (let i = 0; i < 100; i++) await send(Buffer.from(Array.from({ length: 60 }, (_, j) => (i * 31 + j * 7) & 255)))
  for (const name of ['x', '.', 'local', '_partyline._tcp.local', 'a.b.c._sub.d', '_', 'ä'.repeat(20) + '.' + service])
    for (const target of ['', '.', 'x'])
      await respond([ptr(name), { type: 'SRV', name, data: { port: 1, target } }, { type: 'TXT', name, data: [Buffer.from('__proto__=1'), Buffer.from('='), Buffer.from('id')] }, { type: 'PTR', name: '_y._sub.' + service, data: name }])
  for (let i = 0; i < 100; i++) await respond(Array.from({ length: 20 }, (_, j) => ptr('no' + i + '-' + j + '.' + service)))
  await new Promise((done) => setTimeout(done, 500)); console.log(drawn); process.exit()`

describe.skipIf(missing)(title('mDNS beside others'), () => {
  const noAvahi = labMissing(['avahi-daemon', 'avahi-browse'])
  test.skipIf(noAvahi)(
    `works with avahi on every host, which sees our service${noAvahi ? ` (skipped: ${noAvahi})` : ''}`,
    async () => {
      await using lab = await Lab.up('lan', { n: 3 })
      for (const host of ['h1', 'h2', 'h3']) await lab.svc(host, 'avahi')
      const [a, b] = [await startOn(lab, 'h1', 'mdns'), await startOn(lab, 'h2', 'mdns')]
      await a.log.untilSees(b.peer)
      await b.log.untilSees(a.peer)
      for (const host of ['h1', 'h3']) {
        const { stdout } = await lab.exec(host, ['avahi-browse', '-rtp', '_partyline._tcp'])
        expect(stdout).toContain(a.peer)
        expect(stdout).toContain(b.peer)
      }
      await b.method.stop()
      await a.log.untilGone(b.peer)
    },
  )

  test.skipIf(noAvahi)('sees a service that avahi publishes, and forgets it when avahi takes it back', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    await lab.svc('h2', 'avahi')
    const b = await LabMethod.create(lab, 'h2', 'mdns', 'unused')
    const a = await startOn(lab, 'h1', 'mdns')
    const { peer } = b.announcement
    const publish = lab.spawn('h2', [
      'avahi-publish',
      '-s',
      `anna ${peer.slice(0, 8)}`,
      '_partyline._tcp',
      '4711',
      'v=1',
      `id=${peer}`,
      'name=anna',
    ])
    expect(await a.log.untilSees(peer)).toMatchObject({ name: 'anna', port: 4711, proven: false })
    publish.kill('SIGTERM')
    await a.log.untilGone(peer)
  })

  test.skipIf(noAvahi)('takes records of others that are none of a host for none', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    await lab.svc('h2', 'avahi')
    const a = await startOn(lab, 'h1', 'mdns')
    const forge = (...txt: string[]) =>
      lab.spawn('h2', ['avahi-publish', '-s', `forged ${txt.length}`, '_partyline._tcp', '4711', ...txt])
    forge()
    forge('v=1')
    forge('v=1', 'id=short')
    forge('v=1', `id=${'1'.repeat(52)}`, 'name=x', 'x=y')
    const b = await startOn(lab, 'h3', 'mdns')
    await a.log.untilSees(b.peer)
    expect(new Set(a.log.sightings.map((one) => one.peer))).toEqual(new Set([b.peer]))
  })

  test('stumbles over no packet that it hears, and is made to ask little by those that tell half', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const a = await startOn(lab, 'h1', 'mdns')
    const attack = await lab.exec('h2', [process.execPath, '--input-type=module', '-e', HOSTILE])
    expect(attack.stderr).toBe('')
    expect(Number(attack.stdout)).toBeLessThan(100)
    const b = await startOn(lab, 'h3', 'mdns')
    await a.log.untilSees(b.peer)
    expect(new Set(a.log.sightings.map((one) => one.peer))).toEqual(new Set([b.peer]))
    const { refused } = await a.method.look()
    expect(Object.keys(refused)).toEqual(
      expect.arrayContaining(['peer.malformed', 'peer.oversized', 'peer.bad-record']),
    )
  })
})

describe.skipIf(missing)(title('the beacon where multicast is dropped'), () => {
  test('finds a host by broadcast, and hears its goodbye', async () => {
    await using lab = await Lab.up('lan', { n: 2, nomcast: true })
    const [a, b] = [await startOn(lab, 'h1', 'beacon'), await startOn(lab, 'h2', 'beacon')]
    await a.log.untilSees(b.peer)
    await b.log.untilSees(a.peer)
    await b.method.stop()
    await a.log.untilGone(b.peer)
  })

  test('says so when an interface cannot be sent on, and works on the other', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const host = await LabMethod.create(lab, 'h1', 'beacon', 'me')
    const dead: NetworkInterface = {
      name: 'dead0',
      index: 99,
      kind: 'cable',
      participating: true,
      multicast: true,
      addresses: [{ address: '192.0.2.7', family: 4, prefix: 24, scope: 'global', broadcast: '192.0.2.255' }],
    }
    const log = new SightingLog()
    await host.method.start(host.announcement, [dead, ...host.interfaces], log)
    const b = await startOn(lab, 'h2', 'beacon')
    await log.untilSees(b.peer)
    const { states } = await host.method.look()
    expect(states).toContainEqual(
      expect.objectContaining({ interface: 'dead0', state: 'failed', detail: expect.stringContaining('ENETUNREACH') }),
    )
    expect(states).toContainEqual(expect.objectContaining({ interface: 'eth0', state: 'active' }))
  })
})
