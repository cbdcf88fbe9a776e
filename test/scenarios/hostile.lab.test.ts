import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import { allSeeAll, Guest } from './party.ts'

const missing = labMissing()

/** A script run on a host of the lab, in place of a hostile program there. */
const script = (body: string): string[] => [process.execPath, '--input-type=module', '-e', body]

const GARBAGE_ON_TCP = (target: string, port: number) =>
  script(`import net from 'node:net'; import { randomBytes } from 'node:crypto'
    const dial = (bytes) => new Promise((done) => { const s = net.connect(${port}, '${target}', () => s.write(bytes)).resume(); s.on('close', done).on('error', () => {}) })
    await Promise.all([randomBytes(4096), Buffer.from('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'), Buffer.from([22, 3, 1, 255, 255]), Buffer.alloc(70000, 22)].map(dial))`)

const OLD_TLS = (target: string, port: number) =>
  script(`import tls from 'node:tls'
    const s = tls.connect({ host: '${target}', port: ${port}, rejectUnauthorized: false, maxVersion: 'TLSv1.2', ALPNProtocols: ['partyline/1'] })
    s.resume(); await new Promise((done) => s.on('close', done).on('error', done))`)

const NO_CERTIFICATE = (target: string, port: number) =>
  script(`import tls from 'node:tls'
    const s = tls.connect({ host: '${target}', port: ${port}, rejectUnauthorized: false, ALPNProtocols: ['partyline/1'] })
    s.resume(); s.on('error', () => {}); await new Promise((done) => s.on('close', done))`)

const GARBAGE_BEACONS = (target: string, port: number) =>
  script(`import dgram from 'node:dgram'; import { randomBytes } from 'node:crypto'
    const s = dgram.createSocket('udp4')
    const send = (bytes, port) => new Promise((done) => s.send(bytes, port, '${target}', done))
    for (let i = 0; i < 50; i++) for (const port of [47799, ${port}]) for (const size of [1, 255, 256, 1400]) await send(randomBytes(size), port)
    s.close()`)

const GARBAGE_MDNS = script(`import dgram from 'node:dgram'; import { randomBytes } from 'node:crypto'
    const s = dgram.createSocket('udp4'); await new Promise((done) => s.bind(0, '192.168.50.3', done)); s.setMulticastInterface('192.168.50.3')
    for (let i = 0; i < 200; i++) await new Promise((done) => s.send(randomBytes(1 + (i * 7) % 1400), 5353, '224.0.0.251', done))
    s.close()`)

describe.skipIf(missing)(`bad input from the LAN${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('is refused, counted by its code, and disturbs no session', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const a = await Guest.join(lab, 'h1')
    const b = await Guest.join(lab, 'h2')
    await allSeeAll([a, b])
    const { remote } = await a.client.call('sessions.open', { peer: b.id })
    expect(remote).not.toBe('')

    const target = '192.168.50.1'
    const port = a.daemon.port
    for (const attack of [
      GARBAGE_ON_TCP(target, port),
      OLD_TLS(target, port),
      NO_CERTIFICATE(target, port),
      GARBAGE_BEACONS(target, port),
      GARBAGE_MDNS,
    ])
      expect((await lab.exec('h3', attack, { timeout: 30_000 })).code).toBe(0)

    const { refused } = await a.client.call('daemon.status', {})
    expect(Object.keys(refused)).toEqual(
      expect.arrayContaining(['peer.wrong-protocol', 'peer.bad-certificate', 'peer.malformed']),
    )
    expect((await a.client.call('sessions.ping', { peer: b.id })).rtt).toBeGreaterThan(0)
    expect((await a.client.call('peers.list', {})).map((peer) => peer.id)).toEqual([b.id])
  })

  test('recorded beacons raise nobody, when replayed after their host has gone', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const recorder = createRecorder(lab)
    const a = await Guest.join(lab, 'h1')
    const b = await Guest.join(lab, 'h2')
    await allSeeAll([a, b])
    await b.leave()
    await a.untilGone(b.id)
    const replayed = await recorder.replay()
    expect(replayed).toBeGreaterThan(0)
    expect((await a.client.call('daemon.status', {})).peers.seen).toBe(0)
  })
})

/** Records the broadcast beacons that host h3 hears, and sends them again. */
function createRecorder(lab: Lab): { replay(): Promise<number> } {
  const child = lab.spawn('h3', [
    ...script(`import dgram from 'node:dgram'
      const heard = []; const s = dgram.createSocket({ type: 'udp4', reuseAddr: true })
      s.on('message', (bytes) => heard.push(bytes)); s.bind(47799, () => s.setBroadcast(true))
      process.stdin.once('data', async () => {
        for (const bytes of heard.slice()) await new Promise((done) => s.send(bytes, 47799, '192.168.50.255', done))
        console.log(heard.length); s.close(); process.stdin.destroy()
      })`),
  ])
  return {
    async replay() {
      child.stdin?.write('go\n')
      const [output] = child.stdout ? await once(child.stdout, 'data') : []
      return Number(String(output))
    },
  }
}
