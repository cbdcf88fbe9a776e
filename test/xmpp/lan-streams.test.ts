import { once } from 'node:events'
import { connect, createServer, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { RECEIPT } from '../../daemon/xmpp/lan-connection.ts'
import { HANDSHAKE } from '../../daemon/xmpp/lan-stream.ts'
import { DIAL_AGAIN } from '../../daemon/xmpp/lan-streams.ts'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import { SignalQueue } from '../../daemon/xmpp/signal-queue.ts'
import { TlsHost, until } from '../link/tls-host.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { LanHost, twoHosts } from './lan-host.ts'
import { newIdentity } from './stream-end.ts'

const header = (from: string, to: string): string =>
  `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${NS.stream}' from='${from}' to='${to}'>`

/** What somebody hears who dials a host and says something. */
async function say(host: LanHost, words: string): Promise<string> {
  const socket = host.dial()
  socket.write(words)
  socket.once('end', () => socket.end())
  return text(socket)
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))

describe('two hosts', () => {
  test('chat both ways over one stream, and end it gracefully', async () => {
    const [alice, bob] = await twoHosts({ plain: true }, { plain: true })
    await using _a = alice
    await using _b = bob
    await alice.streams.sendChat('bob@h2', 'Grüße <& 🎉>\nzweite Zeile\u0007')
    await until(() => bob.told.length === 1)
    await bob.streams.sendChat('alice@h1', 'ответ')
    await until(() => alice.told.length === 1)
    bob.streams.sendChatState('alice@h1', true)
    await until(() => alice.told.length === 2)
    expect(bob.told).toEqual(['alice@h1: Grüße <& 🎉>\nzweite Zeile'])
    expect(alice.told).toEqual(['bob@h2: ответ', 'bob@h2 writes'])
    expect([alice.streams.counts, bob.streams.counts]).toEqual([
      { open: 1, halfOpen: 0 },
      { open: 1, halfOpen: 0 },
    ])
    await alice.streams.close()
    await until(() => bob.streams.counts.open === 0 && bob.inbound.size === 0)
    expect([alice.refusals.snapshot(), bob.refusals.snapshot()]).toEqual([{}, {}])
  })

  test('with keys prove them, and know by a receipt that a message is there', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    await alice.streams.sendChat('bob@h2', 'hi')
    expect(bob.told).toEqual(['alice@h1: hi'])
    await Promise.all([bob.streams.sendChat('alice@h1', 'one'), bob.streams.sendChat('alice@h1', 'two')])
    expect(alice.told).toEqual(['bob@h2: one', 'bob@h2: two'])
    expect(bob.streams.counts.open).toBe(1)
  })

  test('carry signals that wait for the stream, sixteen at most', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    const heard: string[] = []
    bob.streams.onSignal((sealed) => heard.push(Buffer.from(sealed).toString()))
    for (let n = 0; n < 20; n++) alice.streams.send(bob.identity.peer, Buffer.from(`s${n}`))
    await until(() => heard.length >= 16)
    alice.streams.send(bob.identity.peer, Buffer.alloc(16 * 1024 + 1))
    alice.streams.send(bob.identity.peer, Buffer.from('last'))
    await until(() => heard.includes('last'))
    expect(heard).toEqual([...Array.from({ length: 16 }, (_, n) => `s${n}`), 'last'])
  })

  test('who dial each other at the same time both get through', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    await Promise.all([alice.streams.sendChat('bob@h2', 'hi bob'), bob.streams.sendChat('alice@h1', 'hi alice')])
    await Promise.all([alice.streams.sendChat('bob@h2', '2'), bob.streams.sendChat('alice@h1', '2')])
    expect([alice.told, bob.told]).toEqual([
      ['bob@h2: hi alice', 'bob@h2: 2'],
      ['alice@h1: hi bob', 'alice@h1: 2'],
    ])
  })

  test('with another key than announced do not speak', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    alice.roster.instances.set('bob@h2', { ...bob.card, peer: newIdentity().peer })
    await expect(alice.streams.sendChat('bob@h2', 'secret')).rejects.toMatchObject({
      code: expect.stringMatching(/^(peer|network)\./),
    })
    await until(() => alice.streams.counts.open === 0 && bob.streams.counts.open === 0)
    expect(bob.told).toEqual([])
    // Bob finds that the proof is for another host's stream, or alice that the key is another: whoever is first.
    const refused = { ...alice.refusals.snapshot(), ...bob.refusals.snapshot() }
    expect(Object.keys(refused).every((code) => ['peer.impersonation', 'peer.bad-signature'].includes(code))).toBe(true)
    expect(Object.keys(refused)).not.toEqual([])
  })

  test('take 500 signals at once from an address, and 50 a second', async () => {
    const clock = new VirtualClock()
    const [alice, bob] = await twoHosts({}, { clock })
    await using _a = alice
    await using _b = bob
    let heard = 0
    bob.streams.onSignal(() => heard++)
    const refused = () => bob.refusals.snapshot()['peer.rate-limited'] ?? 0
    const send = async (count: number): Promise<void> => {
      const before = heard + refused()
      for (let n = 0; n < count; n++) {
        alice.streams.send(bob.identity.peer, Buffer.from(`${n}`))
        if (n === 0) await until(() => heard + refused() > before)
      }
      await until(() => heard + refused() === before + count)
    }
    await send(600)
    expect([heard, refused()]).toEqual([500, 100])
    clock.advance(1000)
    await send(60)
    expect([heard, refused()]).toEqual([550, 110])
    await alice.streams.close()
  })

  test('speak on over the stream they have, whoever announces the id of one of them', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    const heard: string[] = []
    bob.streams.onSignal((sealed) => heard.push(Buffer.from(sealed).toString()))
    alice.streams.send(bob.identity.peer, Buffer.from('one'))
    await until(() => heard.length === 1)
    alice.forgets(bob)
    alice.roster.instances.set('eve@h3', { ...bob.card, instance: 'eve@h3', addresses: [] })
    expect(alice.streams.reaches(bob.identity.peer)).toBe(true)
    alice.streams.send(bob.identity.peer, Buffer.from('two'))
    await until(() => heard.length === 2)
    expect(heard).toEqual(['one', 'two'])
  })

  test('speak over the port that also takes links', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    await using host = await TlsHost.listening({}, (socket) => bob.streams.take(socket))
    alice.roster.instances.set('bob@h2', { ...bob.card, addresses: [{ ...host.at, interface: 'lo' }] })
    await alice.streams.sendChat('bob@h2', 'through the port')
    expect(bob.told).toEqual(['alice@h1: through the port'])
    expect(host.listener.counts).toEqual({ open: 1, halfOpen: 0 })
    await alice.streams.close()
    await until(() => host.listener.counts.open === 0)
  })

  test('open a new stream where the last one broke', async () => {
    const [alice, bob] = await twoHosts({ plain: true }, { plain: true })
    await using _a = alice
    await using _b = bob
    await alice.streams.sendChat('bob@h2', 'one')
    await until(() => bob.told.length === 1)
    for (const socket of bob.inbound) socket.resetAndDestroy()
    await until(() => alice.streams.counts.open === 0)
    await alice.streams.sendChat('bob@h2', 'two')
    await until(() => bob.told.length === 2)
  })
})

describe('a message', () => {
  test('does not reach who is not there', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    const { card } = bob
    await expect(alice.streams.sendChat('carol@h3', 'hi')).rejects.toMatchObject({ code: 'network.unreachable' })
    await bob[Symbol.asyncDispose]()
    await expect(alice.streams.sendChat('bob@h2', 'hi')).rejects.toMatchObject({ code: 'network.unreachable' })
    alice.roster.instances.set('bob@h2', { ...card, addresses: [] })
    await expect(alice.streams.sendChat('bob@h2', 'hi')).rejects.toMatchObject({ code: 'network.unreachable' })
    expect(alice.streams.reaches(bob.identity.peer)).toBe(false)
  })

  test('finds the one of several addresses that answers', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    const dead = ['127.0.0.2', '127.0.0.3'].map((address) => ({ address, port: bob.port, interface: 'lo' }))
    alice.roster.instances.set('bob@h2', { ...bob.card, addresses: [...dead, ...bob.card.addresses] })
    await alice.streams.sendChat('bob@h2', 'found you')
    expect(bob.told).toEqual(['alice@h1: found you'])
  })

  test('is empty, or too long, to be sent', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    await expect(alice.streams.sendChat('bob@h2', ' \u0000\n')).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
    await expect(alice.streams.sendChat('bob@h2', 'é'.repeat(2049))).rejects.toMatchObject({ code: 'usage.too-large' })
    await alice.streams.sendChat('bob@h2', 'é'.repeat(2048))
    expect(bob.told[0]).toHaveLength(2048 + 'alice@h1: '.length)
  })

  test('gets to a client that hangs up until it has heard of us, after more than one attempt at all of its addresses', async () => {
    const clock = new VirtualClock()
    await using alice = await LanHost.listening('alice@h1', { clock })
    await using bob = await LanHost.listening('bob@h2', { plain: true })
    let hungUp = 0
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      if (hungUp === 2) return bob.streams.take(socket)
      hungUp++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    alice.meets(bob)
    alice.roster.instances.set('bob@h2', { ...bob.card, addresses: [{ address: '127.0.0.1', port, interface: 'lo' }] })
    const plain = { ...alice.card, peer: undefined }
    bob.roster.instances.set('alice@h1', plain)
    const sent = alice.streams.sendChat('bob@h2', 'are you there?')
    for (const attempt of [1, 2]) {
      await until(() => hungUp === attempt && alice.streams.counts.open === 0)
      clock.advance(DIAL_AGAIN)
    }
    await sent
    await until(() => bob.told.length === 1)
    expect(bob.told).toEqual(['alice@h1: are you there?'])
    expect(alice.streams.counts.open).toBe(1)
    server.close()
    await alice.streams.close()
  })

  test('is lost with a client that takes the connection and leaves for five seconds, or says nothing that makes sense', async () => {
    const clock = new VirtualClock()
    await using alice = await LanHost.listening('alice@h1', { clock })
    const answers = [(socket: Socket) => socket.end(), (socket: Socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n')]
    for (const [index, answer] of answers.entries()) {
      const server = createServer((socket) => void answer(socket.on('error', () => {}).resume())).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const card = { ...alice.card, instance: 'eve', peer: undefined }
      alice.roster.instances.set('eve', { ...card, addresses: [{ address: '127.0.0.1', port, interface: 'lo' }] })
      const began = clock.now()
      let code: unknown
      alice.streams.sendChat('eve', 'hi').catch((error) => {
        code = error.code
      })
      await until(() => {
        if (alice.streams.counts.open === 0) clock.advance(10)
        return code !== undefined
      })
      expect(code).toBe(index === 0 ? 'network.lost' : 'peer.bad-xml')
      expect(clock.now() - began >= 5000).toBe(index === 0)
      server.close()
    }
    expect(alice.streams.counts.open).toBe(0)
  })
})

describe('a stream that comes in', () => {
  test('is taken from an instance that is looked up first', async () => {
    const [alice, bob] = await twoHosts({ plain: true }, { plain: true })
    await using _a = alice
    await using _b = bob
    bob.forgets(alice)
    bob.roster.late.set('alice@h1', alice.card)
    await alice.streams.sendChat('bob@h2', 'it is me')
    await until(() => bob.told.length === 1)
    expect(bob.roster.lookedUp).toEqual(['alice@h1'])
  })

  test('is refused in the name of somebody who is not there, or is elsewhere', async () => {
    await using bob = await LanHost.listening('bob@h2')
    const words = `${header('alice@h1', 'bob@h2')}<message><body>hi</body></message>`
    expect(await say(bob, words)).toMatch(/<stream:error><invalid-from [^>]+><\/stream:error><\/stream:stream>$/)
    bob.roster.instances.set('alice@h1', {
      ...bob.card,
      instance: 'alice@h1',
      addresses: [{ address: '192.0.2.1', port: 1, interface: 'lo' }],
    })
    expect(await say(bob, words)).toMatch(/<invalid-from /)
    expect(bob.told).toEqual([])
    expect(bob.refusals.snapshot()).toEqual({ 'peer.impersonation': 2 })
    expect(bob.streams.counts).toEqual({ open: 0, halfOpen: 0 })
  })

  test('is known by its address in any spelling, zone or not', async () => {
    await using bob = await LanHost.listening('bob@h2', { listen: '::' })
    const port = 1
    for (const [instance, address] of [
      ['six', '0:0:0:0:0:0:0:1%lo'],
      ['four', '::ffff:127.0.0.1'],
    ] as const)
      bob.roster.instances.set(instance, {
        ...bob.card,
        instance,
        peer: undefined,
        addresses: [{ address, port, interface: 'lo' }],
      })
    for (const [instance, host] of [
      ['six', '::1'],
      ['four', '127.0.0.1'],
    ] as const) {
      const socket = connect({ host, port: bob.port })
      socket.on('error', () => {})
      socket.write(`${header(instance, 'bob@h2')}<message><body>hi</body></message></stream:stream>`)
      expect(await text(socket)).toMatch(/<\/stream:stream>$/)
    }
    expect(bob.told).toEqual(['six: hi', 'four: hi'])
  })

  test.each<[string, string, string]>([
    [
      'a billion laughs',
      '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;">]><stream>&lol1;</stream>',
      'restricted-xml',
    ],
    ['deep nesting', `${header('alice@h1', 'bob@h2')}${'<a>'.repeat(100)}`, 'policy-violation'],
    ['huge attributes', `${header('alice@h1', 'bob@h2')}<message to='${'x'.repeat(70_000)}'/>`, 'policy-violation'],
    ['an unfinished stanza', `${header('alice@h1', 'bob@h2')}<message><body>${'x'.repeat(70_000)}`, 'policy-violation'],
    ['a stanza before the header', `<message xmlns='jabber:client'><body>hi</body></message>`, 'invalid-namespace'],
    ['another encoding', `<?xml version='1.0' encoding='UTF-16'?>`, 'unsupported-encoding'],
    [
      'a stanza of somebody else',
      `${header('alice@h1', 'bob@h2')}<message from='carol@h3'><body>x</body></message>`,
      'invalid-from',
    ],
  ])('is ended at %s, and nothing else is disturbed', async (_, words, condition) => {
    const [alice, bob] = await twoHosts({ plain: true }, { plain: true })
    await using _a = alice
    await using _b = bob
    await alice.streams.sendChat('bob@h2', 'before')
    expect(await say(bob, words)).toMatch(
      new RegExp(`<stream:error><${condition} [^>]+></stream:error></stream:stream>$`),
    )
    await alice.streams.sendChat('bob@h2', 'after')
    await until(() => bob.told.length === 2)
    expect(bob.told).toEqual(['alice@h1: before', 'alice@h1: after'])
    expect(Object.values(bob.refusals.snapshot())).toEqual([1])
    expect(bob.streams.counts.open).toBe(1)
  })

  test('does not get in when thousands are half-open, but who is in stays, and an address has eight at most', async () => {
    const [alice, bob] = await twoHosts({ plain: true }, { plain: true })
    await using _a = alice
    await using _b = bob
    await alice.streams.sendChat('bob@h2', 'before')
    await until(() => bob.told.length === 1)
    const flood: Socket[] = []
    for (let batch = 0; batch < 20; batch++) {
      const sockets = Array.from({ length: 100 }, () => bob.dial())
      for (const socket of sockets) {
        socket.resume().once('end', () => socket.destroy())
        socket.write('<?xml version="1.0"?><stream:stream ')
      }
      flood.push(...sockets)
      await until(() => flood.filter(({ destroyed }) => !destroyed).length <= 7)
    }
    expect(bob.streams.counts).toEqual({ open: 8, halfOpen: 7 })
    expect(bob.refusals.snapshot()).toEqual({ 'peer.too-many-links': 1993 })
    await alice.streams.sendChat('bob@h2', 'after')
    await until(() => bob.told.length === 2)
    for (const socket of flood) socket.destroy()
    await until(() => bob.streams.counts.open === 1)
  })

  test('is read at 64 KiB a second and loses nothing, with all others from its address', async () => {
    const clock = new VirtualClock()
    await using bob = await LanHost.listening('bob@h2', { plain: true, clock })
    bob.roster.instances.set('alice@h1', { ...bob.card, instance: 'alice@h1' })
    const padding = `<message type='headline'><body>${'x'.repeat(60_000)}</body></message>`
    const ping = `<iq type='get' id='last'><ping xmlns='${NS.ping}'/></iq>`
    const bytesRead = () => [...bob.inbound].reduce((sum, socket) => sum + socket.bytesRead, 0)
    const answers: string[] = []
    const clients = [bob.dial(), bob.dial()]
    for (const [number, socket] of clients.entries()) {
      socket.setEncoding('utf8')
      socket.on('data', (more: string) => {
        answers[number] = (answers[number] ?? '') + more
      })
      socket.write(header('alice@h1', 'bob@h2') + padding.repeat(16) + ping)
    }
    const isStopped = () => bob.inbound.size === 2 && [...bob.inbound].every((socket) => socket.isPaused())
    await until(() => bytesRead() > 512 * 1024 && isStopped())
    expect(bytesRead()).toBeLessThan(1024 * 1024)
    const since = clock.now()
    await until(() => {
      clock.advance(1000)
      return answers.filter((answer) => answer.includes('id="last"')).length === 2
    })
    expect(clock.now() - since).toBeGreaterThan(16_000)
    expect(bob.refusals.snapshot()).toEqual({})
    for (const client of clients) client.destroy()
  })

  test('is cut when it asks and does not read the answers', async () => {
    const clock = new VirtualClock()
    await using bob = await LanHost.listening('bob@h2', { plain: true, clock })
    bob.roster.instances.set('alice@h1', { ...bob.card, instance: 'alice@h1' })
    const socket = bob.dial().pause()
    socket.write(header('alice@h1', 'bob@h2'))
    const questions = `<iq type='get' id='1'><query xmlns='${NS.discoInfo}'/></iq>`.repeat(500)
    while (!bob.refusals.snapshot()['peer.slow-reader']) {
      socket.write(questions)
      clock.advance(1000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => bob.streams.counts.open === 0)
    expect(bob.refusals.snapshot()).toEqual({ 'peer.slow-reader': 1 })
    socket.destroy()
    await closed(socket)
  })

  test('is one of two at most with an instance: the oldest ends when another opens', async () => {
    await using bob = await LanHost.listening('bob@h2', { plain: true })
    bob.roster.instances.set('alice@h1', { ...bob.card, instance: 'alice@h1' })
    const heard: string[] = ['', '', '']
    for (let n = 0; n < 3; n++) {
      const socket = bob.dial().setEncoding('utf8')
      socket.on('data', (more: string) => {
        heard[n] += more
        if (more.endsWith('</stream:stream>')) socket.end('</stream:stream>')
      })
      socket.write(header('alice@h1', 'bob@h2'))
      await until(() => (heard[n] ?? '') !== '')
    }
    await until(() => bob.streams.counts.open === 2)
    await bob.streams.sendChat('alice@h1', 'the last one')
    await until(() => heard[2]?.includes('the last one') === true)
    expect(heard[0]).toMatch(/<\/stream:stream>$/)
    expect(heard[1]).not.toContain('the last one')
  })

  test('finds nothing once the host has closed', async () => {
    const [alice, bob] = await twoHosts()
    await using _a = alice
    await using _b = bob
    await bob.streams.close()
    expect(await say(bob, header('alice@h1', 'bob@h2'))).toBe('')
    await expect(bob.streams.sendChat('alice@h1', 'x')).rejects.toMatchObject({ code: 'local.stopping' })
    await bob.streams.close()
  })
})

const codes = async (attempts: readonly Promise<void>[]): Promise<unknown[]> =>
  (await Promise.allSettled(attempts)).map((one) => (one.status === 'fulfilled' ? 'sent' : one.reason.code))

describe('what waits', () => {
  test('for a receipt: 64 messages, for ten seconds', async () => {
    const clock = new VirtualClock()
    const [alice, bob] = await twoHosts({ clock })
    await using _a = alice
    await using _b = bob
    await alice.streams.sendChat('bob@h2', 'first')
    for (const socket of bob.inbound) socket.pause()
    const attempts = Array.from({ length: 64 }, (_, n) => alice.streams.sendChat('bob@h2', `${n}`))
    expect(await codes([alice.streams.sendChat('bob@h2', 'one more')])).toEqual(['peer.busy'])
    clock.advance(RECEIPT)
    expect(await codes(attempts)).toEqual(Array(64).fill('network.timeout'))
    for (const socket of bob.inbound) socket.resume()
    clock.advance(RECEIPT)
  })

  test('for a stream: 64 messages, for five seconds', async () => {
    const clock = new VirtualClock()
    const [alice, bob] = await twoHosts({ clock, connect: () => new Socket() })
    await using _a = alice
    await using _b = bob
    const attempts = Array.from({ length: 65 }, (_, n) => alice.streams.sendChat('bob@h2', `${n}`))
    expect(await codes(attempts.slice(64))).toEqual(['peer.busy'])
    clock.advance(5000)
    expect(await codes(attempts.slice(0, 64))).toEqual(Array(64).fill('network.unreachable'))
  })

  test('for a header that does not come: five seconds', async () => {
    const clock = new VirtualClock()
    await using alice = await LanHost.listening('alice@h1', { clock })
    const mute = createServer((socket) => void socket.on('error', () => {}).resume()).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as { port: number }
    const addresses = [{ address: '127.0.0.1', port, interface: 'lo' }]
    alice.roster.instances.set('mute', { ...alice.card, instance: 'mute', peer: undefined, addresses })
    const attempt = alice.streams.sendChat('mute', 'hi')
    await until(() => alice.streams.counts.open === 1)
    clock.advance(HANDSHAKE)
    expect(await codes([attempt])).toEqual(['network.timeout'])
    clock.advance(HANDSHAKE)
    mute.close()
  })

  test('for a stream to a peer: signals, for five seconds, of 256 peers', () => {
    const queue = new SignalQueue()
    const peers = Array.from({ length: 257 }, () => newIdentity().peer)
    const sealed = Buffer.from('x')
    expect(peers.map((peer) => queue.add(peer, sealed, 0))).toEqual([...Array(256).fill(true), false])
    const [first, second] = peers as [(typeof peers)[0], (typeof peers)[0]]
    expect(queue.take(first, 4999)).toEqual([sealed])
    expect(queue.take(second, 5000)).toEqual([])
    expect(queue.take(first, 5000)).toEqual([])
  })
})

// Only Linux has all of 127.0.0.0/8.
describe.skipIf(process.platform !== 'linux')('with many addresses', () => {
  test('64 streams are half-open at a time, and make room when their time is over', async () => {
    const clock = new VirtualClock()
    await using bob = await LanHost.listening('bob@h2', { clock })
    const flood = Array.from({ length: 80 }, (_, n) => bob.dial(`127.0.1.${1 + (n % 16)}`).resume())
    for (const socket of flood) socket.once('end', () => socket.destroy())
    await until(() => bob.refusals.snapshot()['peer.too-many-links'] === 16)
    expect(bob.streams.counts).toEqual({ open: 64, halfOpen: 64 })
    clock.advance(HANDSHAKE)
    expect(bob.streams.counts).toEqual({ open: 0, halfOpen: 0 })
    await until(() => flood.every(({ destroyed }) => destroyed))
    clock.advance(HANDSHAKE)
  })

  test('256 streams are open in all', async () => {
    await using bob = await LanHost.listening('bob@h2', { plain: true })
    const sockets: Socket[] = []
    for (let n = 0; n < 264; n++) {
      const [instance, address] = [`guest${n}`, `127.0.1.${1 + (n % 33)}`]
      const addresses = [{ address, port: 1, interface: 'lo' }]
      bob.roster.instances.set(instance, { ...bob.card, instance, addresses })
      const socket = bob.dial(address).resume()
      sockets.push(socket)
      socket.once('end', () => socket.destroy()).write(header(instance, 'bob@h2'))
      const settled = n + 1
      await until(
        () =>
          bob.streams.counts.open -
            bob.streams.counts.halfOpen +
            (bob.refusals.snapshot()['peer.too-many-links'] ?? 0) ===
          settled,
      )
    }
    expect(bob.streams.counts).toEqual({ open: 256, halfOpen: 0 })
    expect(bob.refusals.snapshot()).toEqual({ 'peer.too-many-links': 8 })
    for (const socket of sockets) socket.destroy()
  })
})
