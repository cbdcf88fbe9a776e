import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { HubStatus } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { SLIXMPP_NEEDS, Slixmpp } from '../lab/slixmpp.ts'
import { Guest } from './party.ts'

const missing = labMissing([...SLIXMPP_NEEDS, 'avahi-daemon', 'dbus-daemon', 'avahi-publish'])
const VICTIM = '192.168.50.1'

const header = (to: string, from: string): string =>
  `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='${from}' to='${to}'>`
const message = (attributes: string, body: string): string =>
  `<message type='chat' ${attributes}><body>${body}</body></message>`

/** XML that no stream may hold, each after a stream header unless it is one itself. */
function badXml(to: string, from: string): Record<string, Buffer> {
  const open = header(to, from)
  const laughs = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join('')
  const text = {
    'deep nesting': `${open}<message>${'<a>'.repeat(5000)}`,
    'a billion laughs': `<?xml version='1.0'?><!DOCTYPE x [<!ENTITY l0 "ha">${laughs}]>${open.slice(21)}${message('', '&l9;')}`,
    'an entity': `${open}${message('', '&nbsp;')}`,
    'a huge attribute': `${open}<message to='${'x'.repeat(100_000)}'>`,
    'a huge name': `${open}<${'x'.repeat(100_000)}`,
    'a huge stanza': `${open}${message('', 'x'.repeat(100_000))}`,
    'many attributes': `${open}<message ${Array.from({ length: 5000 }, (_, i) => `a${i}='1'`).join(' ')}/>`,
    'a comment': `${open}<!-- hello -->${message('', 'x')}`,
    'a processing instruction': `${open}<?php x ?>${message('', 'x')}`,
    'a stanza before the stream': message(`from='${from}'`, 'too early'),
    'tags that do not match': `${open}<message></body></message>`,
    'another namespace': `<stream:stream xmlns='jabber:server' xmlns:stream='urn:x' to='${to}' from='${from}'>`,
  }
  return {
    ...Object.fromEntries(Object.entries(text).map(([name, xml]) => [name, Buffer.from(xml)])),
    'bytes that are not UTF-8': Buffer.concat([Buffer.from(`${open}<message><body>`), Buffer.from([0xc3, 0x28, 0xff])]),
    'UTF-16': Buffer.from(`${open}${message('', 'x')}`, 'utf16le'),
  }
}

/** On the attacker: sends each payload over a connection of its own, and prints the numbers of those that the other side did not close. */
const SEND_EACH = `import net from 'node:net'; import tls from 'node:tls'; import { text } from 'node:stream/consumers'
  const { host, port, secure, payloads } = JSON.parse(await text(process.stdin)), left = []
  for (const [index, payload] of payloads.entries()) await new Promise((done) => {
    const socket = secure ? tls.connect({ host, port, rejectUnauthorized: false }) : net.connect(port, host)
    const patience = setTimeout(() => { left.push(index); socket.destroy() }, 5000)
    socket.on('error', () => {}).on('close', () => { clearTimeout(patience); done() }).resume()
    socket.once(secure ? 'secureConnect' : 'connect', () => socket.write(Buffer.from(payload, 'base64')))
  })
  console.log(JSON.stringify(left))`

/** On the attacker: holds as many half-open streams as it is given, replacing what is closed, until its input ends. */
const HOLD_HALF_OPEN = `import net from 'node:net'
  const [hosts, ports, count] = JSON.parse(process.argv[1]); let dialled = 0, over = false
  const dial = (i) => { if (over) return; dialled++
    const s = net.connect(ports[i % ports.length], hosts[i % hosts.length], () => s.write(i % 3 ? "<stream:stream to='" : '<')).resume()
    s.on('error', () => {}).on('close', () => setTimeout(dial, 100, i)) }
  for (let i = 0; i < count; i++) dial(i)
  setTimeout(() => console.log('held'), 500)
  process.stdin.on('end', () => { over = true; console.log(dialled); process.exit() }).resume()`

const script = (body: string, ...args: readonly string[]) => [
  process.execPath,
  '--input-type=module',
  '-e',
  body,
  ...args,
]

/** Sends each of these to a port of the victim; gives the names of those after which the victim kept the connection. */
async function sendEach(lab: Lab, port: number, secure: boolean, attacks: Record<string, Buffer>): Promise<string[]> {
  const payloads = Object.values(attacks).map((bytes) => bytes.toString('base64'))
  const input = JSON.stringify({ host: VICTIM, port, secure, payloads })
  const { stdout, stderr } = await lab.exec('h3', script(SEND_EACH), { input, timeout: 60_000 })
  if (stdout === '') throw new Error(stderr)
  return (JSON.parse(stdout) as number[]).map((index) => Object.keys(attacks)[index] ?? '')
}

/** A file and a chat line go from b to a. */
async function worksBetween(lab: Lab, a: Guest, b: Guest, round: string): Promise<void> {
  const line = `alles gut, ${round}`
  await b.client.call('chat.send', { peer: a.id, text: line })
  expect(await a.hears(line)).toMatchObject({ peer: b.id, encrypted: true, via: 'session' })
  const inbox = join(lab.folder, `inbox-${round}`)
  await mkdir(inbox)
  const file = join(lab.folder, `${round}.txt`)
  await writeFile(file, line.repeat(50_000))
  const taking = a.daemon.cli(['receive', '--dir', inbox, '--accept', 'all', '--once'])
  const sent = await b.daemon.cli(['send', a.id, file])
  expect(sent.stderr).toBe('')
  await taking
  expect(await readFile(join(inbox, `${round}.txt`), 'utf8')).toBe(line.repeat(50_000))
}

describe.skipIf(missing)(`hostile XMPP from the LAN${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('is refused and counted, and disturbs nobody', async () => {
    await using lab = await Lab.up('lan', { n: 4 })
    const a = await Guest.join(lab, 'h1')
    const b = await Guest.join(lab, 'h2')
    await b.untilSees(a.id)
    await b.client.call('sessions.open', { peer: a.id })
    const { domain, port: hubPort, certificate } = (await a.json(['hub', 'start', '--name', 'lanparty'])) as HubStatus
    const { pin } = (await a.json(['hub', 'pin'])) as { pin: string }
    const account = (nick: string) => ({
      address: VICTIM,
      port: hubPort,
      jid: `${nick}@${domain}`,
      password: pin,
      caFile: certificate,
    })

    // Eve announces herself, as real clients do, so that her streams are looked at; Finn is somebody else, elsewhere.
    await lab.svc('h3', 'avahi')
    await lab.svc('h4', 'avahi')
    const announce = (host: string, name: string) =>
      lab.spawn(host, ['avahi-publish', '-s', name, '_presence._tcp', '5298', 'txtvers=1', 'status=avail'])
    announce('h3', 'eve@h3')
    announce('h4', 'finn@h4')
    await a.untilContact('eve')
    await a.untilContact('finn')
    const { stdout } = await lab.exec('h3', ['avahi-browse', '-rtp', '_presence._tcp'])
    const record = stdout.split('\n').find((line) => line.includes(`pl.id=${a.id}`))
    const decimal = (_: string, code: string): string => String.fromCharCode(Number(code))
    const instance = (record?.split(';')[3] ?? '').replace(/\\(\d{3})/g, decimal)
    expect(instance).not.toBe('')

    expect(await sendEach(lab, a.daemon.port, false, badXml(instance, 'eve@h3'))).toEqual([])
    expect(
      await sendEach(lab, a.daemon.port, false, {
        'a stream of somebody elsewhere': Buffer.from(`${header(instance, 'finn@h4')}${message('', 'ich bin Finn')}`),
        'a stream of ourselves': Buffer.from(`${header(instance, instance)}${message('', 'ich bin du')}`),
        'a stanza of somebody else': Buffer.from(
          `${header(instance, 'eve@h3')}${message(`from='finn@h4' to='${instance}'`, 'ich bin Finn')}`,
        ),
      }),
    ).toEqual([])
    const { refused } = await a.client.call('daemon.status', {})
    // Each once.
    expect(refused).toMatchObject({ 'peer.bad-xml': 9, 'peer.oversized': 5, 'peer.impersonation': 3 })
    await worksBetween(lab, a, b, 'bad-xml')

    expect(await sendEach(lab, hubPort, true, badXml(domain, `eve@${domain}`))).toEqual([])
    const counted = await a.client.call('daemon.status', {})
    expect(counted.refused).toMatchObject({ 'peer.bad-xml': 18, 'peer.oversized': 10 })
    const eve = Slixmpp.start(lab, 'h3', account('eve'))
    const finn = Slixmpp.start(lab, 'h4', account('finn'))
    await Promise.all([eve.loggedIn(), finn.loggedIn()])
    await eve.raw(`<message type='chat' from='${a.id}@${domain}' to='finn@${domain}'><body>ich bin h1</body></message>`)
    await eve.until('is thrown out', ({ event, condition }) => event === 'error' && condition === 'invalid-from')
    // What she said would have come before the news that she left.
    await finn.until('eve has left', ({ type, from }) => type === 'unavailable' && from === `eve@${domain}`)
    expect(finn.told.filter(({ event }) => event === 'message')).toEqual([])
    await worksBetween(lab, a, b, 'hub')
    expect(
      (await a.client.call('chat.history', {})).filter(({ direction, peer }) => direction === 'in' && peer !== b.id),
    ).toEqual([])
  }, 180_000)

  test('thousands of half-open streams keep nobody else out', async () => {
    await using lab = await Lab.up('lan', { n: 4 })
    const a = await Guest.join(lab, 'h1')
    const b = await Guest.join(lab, 'h2')
    await b.untilSees(a.id)
    await b.client.call('sessions.open', { peer: a.id })
    const { domain, port: hubPort, certificate } = (await a.json(['hub', 'start', '--name', 'lanparty'])) as HubStatus
    const { pin } = (await a.json(['hub', 'pin'])) as { pin: string }

    const attack = JSON.stringify([[VICTIM, 'fd00:50::1'], [a.daemon.port, hubPort, hubPort, a.daemon.port], 4000])
    const attacker = lab.spawn('h3', script(HOLD_HALF_OPEN, attack))
    if (attacker.stdout) await once(attacker.stdout, 'data')
    await worksBetween(lab, a, b, 'half-open')
    const finn = Slixmpp.start(lab, 'h4', {
      address: VICTIM,
      port: hubPort,
      jid: `finn@${domain}`,
      password: pin,
      caFile: certificate,
    })
    await finn.loggedIn()
    await finn.send(`${a.id}@${domain}`, 'trotzdem da')
    await a.hears('trotzdem da')
    const { links, refused } = await a.client.call('daemon.status', {})
    expect(links.halfOpen).toBeLessThanOrEqual(128)
    expect(refused['peer.too-many-links'] ?? 0).toBeGreaterThan(1000)
    attacker.stdin?.end()
  }, 120_000)
})
