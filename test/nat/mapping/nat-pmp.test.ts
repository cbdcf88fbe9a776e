import { describe, expect, test } from 'vitest'
import { NatPmp } from '../../../daemon/nat/mapping/nat-pmp.ts'
import { VirtualClock } from '../../virtual-clock.ts'
import { natPmpAddress, natPmpMapping } from './packets.ts'
import { GATEWAY_6, ScriptedRouter, settle, WISH } from './scripted-router.ts'

const ADDRESS = '11.99.0.1'

class World {
  readonly clock = new VirtualClock()
  readonly router = new ScriptedRouter()
  readonly natPmp = new NatPmp({ clock: this.clock, open: this.router.open })
  readonly giveUp = new AbortController()
  epoch = 100
  granted = { externalPort: 50_000, lifetime: 3600 }

  constructor() {
    this.router.answer = (asked) => [asked.length === 2 ? natPmpAddress(ADDRESS, this.epoch) : this.mapping(asked)]
  }

  mapping(asked: Buffer): Buffer {
    const transport = asked[1] === 1 ? 'udp' : 'tcp'
    return natPmpMapping({ transport, internalPort: asked.readUInt16BE(4), ...this.granted, epoch: this.epoch })
  }

  map(wish = WISH) {
    return this.natPmp.map(wish, this.giveUp.signal)
  }
}

describe('NAT-PMP', () => {
  test('asks for the address and for a port, and takes the one that it is given', async () => {
    const world = new World()
    const external = { address: ADDRESS, port: 50_000 }
    expect(await world.map()).toEqual({ external, lifetime: 3_600_000 })
    expect(world.router.asked).toEqual(['0000', '00010000bab8bab800001c20'])
    expect(await world.map({ ...WISH, transport: 'tcp' })).toEqual({ external, lifetime: 3_600_000 })
    expect(world.router.waiting).toBe(0)
  })

  test('gives back by inner port, no outer port and no lifetime (RFC 6886 section 3.4)', async () => {
    const world = new World()
    await world.natPmp.unmap(WISH, world.giveUp.signal)
    expect(world.router.asked).toEqual(['00010000bab8000000000000'])
  })

  test('doubles its pauses from 250 ms (section 3.1), and waits no more after four', async () => {
    const world = new World()
    world.router.answer = () => []
    const silent = expect(world.map()).rejects.toMatchObject({ message: expect.stringContaining('not answer') })
    const times: number[] = []
    world.router.answer = () => {
      times.push(world.clock.now())
      return []
    }
    world.clock.advance(60_000)
    await silent
    expect(times).toEqual([250, 750, 1750])
    expect(world.clock.next).toBeUndefined()
  })

  test('takes no answer to something else', async () => {
    const world = new World()
    world.router.answer = (asked) => {
      if (asked.length === 2) return [Buffer.from('0081000000000001', 'hex'), natPmpAddress(ADDRESS, 100)]
      const whole = world.mapping(asked)
      const other = Buffer.from(whole)
      other.writeUInt16BE(1, 8)
      return [natPmpAddress('1.2.3.4', 1), other, whole]
    }
    expect(await world.map()).toMatchObject({ external: { address: ADDRESS, port: 50_000 } })
  })

  test.each([
    [2, 'allow'],
    [3, 'line is down'],
    [4, 'room'],
    [77, 'result 77'],
  ])('is told why a router refuses: %i', async (result, reason) => {
    const world = new World()
    world.router.answer = () => [natPmpAddress('0.0.0.0', 100, result)]
    await expect(world.map()).rejects.toMatchObject({
      code: 'network.no-mapping',
      message: expect.stringContaining(reason),
    })
  })

  test('takes no port 0 and no lifetime 0 for granted', async () => {
    const world = new World()
    world.granted = { externalPort: 0, lifetime: 3600 }
    await expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
    world.granted = { externalPort: 50_000, lifetime: 0 }
    await expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
  })

  test('knows no IPv6, and asks nothing', async () => {
    const world = new World()
    await expect(world.map({ ...WISH, gateway: GATEWAY_6 })).rejects.toMatchObject({ code: 'network.no-mapping' })
    expect(world.router.asked).toEqual([])
  })

  test('tells when the router has begun anew', async () => {
    const world = new World()
    let resets = 0
    const stop = world.natPmp.onReset(() => void resets++)
    await world.map()
    world.clock.advance(60_000)
    world.epoch = 160
    await world.map()
    expect(resets).toBe(0)
    world.epoch = 5
    await world.map()
    expect(resets).toBe(1)
    stop()
    world.epoch = 1
    await world.map()
    expect(resets).toBe(1)
  })

  test('gives up when told to', async () => {
    const world = new World()
    world.router.answer = () => []
    const given = expect(world.map()).rejects.toMatchObject({ code: 'network.no-mapping' })
    await settle()
    world.giveUp.abort()
    await given
    expect(world.router.waiting).toBe(0)
    expect(world.clock.next).toBeUndefined()
  })
})
