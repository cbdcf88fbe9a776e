import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { Pcp } from '../../../daemon/nat/mapping/pcp.ts'
import { decodePcp } from '../../../daemon/nat/mapping/pcp-message.ts'
import { VirtualClock } from '../../virtual-clock.ts'
import { pcpAnnouncement, pcpAnswer } from './packets.ts'
import { GATEWAY_6, ScriptedRouter, settle, WISH } from './scripted-router.ts'

const EXTERNAL = { address: '11.99.0.1', port: 47_800 }
const nonce = (mapping: string): Buffer => createHash('sha256').update(mapping).digest().subarray(0, 12)

class World {
  readonly clock = new VirtualClock()
  readonly router = new ScriptedRouter()
  readonly pcp = new Pcp({ clock: this.clock, nonce, open: this.router.open })
  readonly giveUp = new AbortController()

  /** Has the router grant what is asked for, in a given second of its life, with changes to its answers. */
  grants(epoch: () => number, change: (answer: Buffer) => readonly Buffer[] = (answer) => [answer]): void {
    this.router.answer = (asked) =>
      change(
        pcpAnswer({
          nonce: asked.subarray(24, 36),
          transport: asked[36] === 6 ? 'tcp' : 'udp',
          internalPort: asked.readUInt16BE(40),
          external: EXTERNAL,
          lifetime: asked.readUInt32BE(4),
          epoch: epoch(),
        }),
      )
  }

  map(wish = WISH) {
    return this.pcp.map(wish, this.giveUp.signal)
  }
}

const copy = (packet: Buffer, at: number, byte: number): Buffer => {
  const changed = Buffer.from(packet)
  changed[at] = byte
  return changed
}

describe('PCP', () => {
  test('is granted a port, for as long as the router says', async () => {
    const world = new World()
    world.grants(() => 100)
    expect(await world.map()).toEqual({ external: EXTERNAL, lifetime: 7_200_000 })
    expect(world.router.asked).toHaveLength(1)
    expect(world.router.waiting).toBe(0)
  })

  test('asks again after 0.5, 1, 2 and 3 seconds, and then waits no more', async () => {
    const world = new World()
    const mapping = world.map()
    const end = expect(mapping).rejects.toMatchObject({
      code: 'network.no-mapping',
      message: expect.stringContaining('not answer'),
    })
    const times: number[] = []
    world.router.answer = () => {
      times.push(world.clock.now())
      return []
    }
    world.clock.advance(60_000)
    await end
    expect(times).toEqual([500, 1500, 3500])
    expect(new Set(world.router.asked).size).toBe(1)
    expect(world.clock.next).toBeUndefined()
    expect(world.router.waiting).toBe(0)
  })

  test.each([
    ['another nonce', 24],
    ['another transport', 36],
    ['another inner port', 40],
    ['another opcode', 1],
  ])('takes no answer with %s', async (_name, at) => {
    const world = new World()
    world.grants(
      () => 1,
      (answer) => [copy(answer, at, at === 1 ? 0x82 : 0xee), Buffer.from('rubbish'), answer],
    )
    expect(await world.map()).toMatchObject({ external: EXTERNAL })
    world.grants(
      () => 1,
      (answer) => [copy(answer, at, at === 1 ? 0x82 : 0xee)],
    )
    const silent = expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
    await settle()
    world.clock.advance(10_000)
    await silent
  })

  test('shows the same nonce each time, and each mapping its own', async () => {
    const world = new World()
    world.grants(() => 1)
    for (const wish of [WISH, WISH, { ...WISH, transport: 'tcp' as const }]) await world.map(wish)
    const nonces = world.router.asked.map((packet) => packet.slice(48, 72))
    expect(nonces[0]).toBe(nonces[1])
    expect(nonces[0]).not.toBe(nonces[2])
  })

  test('gives a mapping back with the same nonce, no lifetime and no wish (RFC 6887 section 15.1)', async () => {
    const world = new World()
    world.grants(() => 1)
    await world.map()
    await world.pcp.unmap(WISH, world.giveUp.signal)
    const [asked = '', given = ''] = world.router.asked
    const expected = Buffer.from(asked, 'hex')
    expected.writeUInt32BE(0, 4)
    expected.writeUInt16BE(0, 42)
    expect(given).toBe(expected.toString('hex'))
  })

  test.each([
    ['a whole error', pcpError(2), 'allow'],
    ['an error without the rest', pcpError(8).subarray(0, 24), 'room'],
    ['NAT-PMP’s answer to another version', Buffer.from('0080000100000001', 'hex'), 'version'],
    ['another NAT between', pcpError(12), 'another NAT'],
  ])('is told why a router refuses: %s', async (_name, answer, reason) => {
    const world = new World()
    world.router.answer = (asked) => {
      const whole = Buffer.from(answer)
      if (whole.length > 24) asked.copy(whole, 24, 24, 42)
      return [whole]
    }
    await expect(world.map()).rejects.toMatchObject({
      code: 'network.no-mapping',
      message: expect.stringContaining(reason),
    })
    expect(world.router.asked).toHaveLength(1)
  })

  test.each([
    ['no port', 42, Buffer.alloc(2)],
    ['no lifetime', 4, Buffer.alloc(4)],
    ['an address of the other family', 44, Buffer.from('20010db8000000000000000000000001', 'hex')],
  ])('takes nothing for granted that has %s', async (_name, at, bytes) => {
    const world = new World()
    world.grants(
      () => 1,
      (answer) => [Buffer.concat([answer.subarray(0, at), bytes, answer.subarray(at + bytes.length)])],
    )
    await expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
  })

  test('opens the firewall of an IPv6 router', async () => {
    const world = new World()
    world.router.answer = (asked) => {
      const internalPort = asked.readUInt16BE(40)
      const external = { address: GATEWAY_6.own, port: internalPort }
      return [pcpAnswer({ nonce: asked.subarray(24, 36), internalPort, external, lifetime: 60, epoch: 1 })]
    }
    const granted = await world.map({ ...WISH, gateway: GATEWAY_6 })
    expect(granted).toEqual({ external: { address: '2001:db8::11', port: 47_800 }, lifetime: 60_000 })
    expect(world.router.asked[0]?.slice(16, 48)).toBe('20010db8000000000000000000000011')
  })

  test('tells when the router has begun anew, as its answers betray', async () => {
    const world = new World()
    let resets = 0
    const stop = world.pcp.onReset(() => void resets++)
    let started = -1000
    world.grants(() => Math.floor(world.clock.now() / 1000) - started)
    await world.map()
    world.clock.advance(3_600_000)
    await world.map()
    expect(resets).toBe(0)
    started = 3590
    await world.map()
    expect(resets).toBe(1)
    stop()
    started = 3600
    await world.map()
    expect(resets).toBe(1)
  })

  test('remembers the epochs of eight routers', async () => {
    const world = new World()
    let resets = 0
    world.pcp.onReset(() => void resets++)
    const at = (router: number) => world.map({ ...WISH, gateway: { ...WISH.gateway, address: `192.168.${router}.1` } })
    world.grants(() => 5000)
    for (let router = 0; router < 9; router++) await at(router)
    world.grants(() => 1)
    await at(0)
    expect(resets).toBe(0)
    await at(8)
    expect(resets).toBe(1)
  })

  test('forged epochs and errors change nothing', async () => {
    const world = new World()
    let resets = 0
    world.pcp.onReset(() => void resets++)
    world.grants(
      () => 5000,
      (answer) => [pcpAnnouncement(1), copy(copy(answer, 11, 0), 24, 0xee), answer],
    )
    await world.map()
    await world.map()
    expect(resets).toBe(0)
  })

  test('gives up when told to, and where nothing can be sent', async () => {
    const world = new World()
    const failing = expect(world.map()).rejects.toMatchObject({ message: expect.stringContaining('ENETUNREACH') })
    world.router.fail('ENETUNREACH')
    await failing
    const given = expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
    world.giveUp.abort()
    await given
    await expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
    expect(world.router.waiting).toBe(0)
    expect(world.clock.next).toBeUndefined()
  })
})

/** An error (RFC 6887 section 7.4) whose mapping is to be filled in from what was asked. */
function pcpError(result: number): Buffer {
  const packet = pcpAnswer({
    nonce: Buffer.alloc(12),
    internalPort: WISH.internalPort,
    external: { address: '0.0.0.0', port: 0 },
    lifetime: 30,
    epoch: 9,
    result,
  })
  expect(decodePcp(packet).result).toBe(result)
  return packet
}
