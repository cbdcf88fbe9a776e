import { describe, expect, test } from 'vitest'
import type { OpenStream, StreamTarget } from '../../../daemon/nat/turn/stream-connection.ts'
import { RelayWorld } from './relay-world.ts'
import { type SimulatedOptions, SimulatedTurnServer } from './simulated-turn-server.ts'

const PEER = { address: '198.51.100.9', port: 5000 }
const ALL = ['turn:alice:wonder@192.0.2.1', 'turn:alice:wonder@192.0.2.1?transport=tcp', 'turns:alice:wonder@192.0.2.1']

/** A world in which a server is reached over streams too. */
class StreamWorld {
  readonly opened: StreamTarget[] = []
  readonly server: SimulatedTurnServer
  readonly world: RelayWorld
  /** Ends the connection there is, as the server does. */
  hangUp: (reason: string) => void = () => {}
  isOver = false
  refused: (target: StreamTarget) => string | undefined = () => undefined
  #ports = 40_000

  constructor(servers: readonly string[], options: SimulatedOptions = {}) {
    this.server = new SimulatedTurnServer('192.0.2.1', options)
    this.world = new RelayWorld({ servers, openStream: this.#open })
  }

  get states(): readonly string[] {
    return this.world.relays.state().map(({ state }) => state)
  }

  #open: OpenStream = (target, events) => {
    this.opened.push(target)
    const { clock } = this.world
    const from = { address: '203.0.113.7', port: this.#ports++ }
    let isOver = false
    const later = (task: () => void): void => void clock.after(20, () => isOver || task())
    const end = (reason: string): void => {
      if (isOver) return
      isOver = true
      events.closed(reason)
    }
    this.hangUp = end
    later(() => {
      const reason = this.refused(target)
      if (reason) end(reason)
      else events.opened()
    })
    return {
      send: (packet) => {
        later(() => {
          for (const answer of this.server.receive(packet, from, clock.now())) later(() => events.message(answer))
        })
        return true
      },
      close: () => {
        isOver = true
        this.isOver = true
      },
    }
  }
}

describe('a server that is reached in several ways', () => {
  test('is talked to over UDP where that works, and no connection is made', () => {
    const streams = new StreamWorld(ALL)
    streams.world.servers.set('192.0.2.1', streams.server)
    streams.world.open()
    streams.world.clock.advance(10_000)
    expect(streams.states).toEqual(['open', 'idle', 'idle'])
    expect(streams.opened).toEqual([])
  })

  test('is talked to over TCP where UDP is silent, and over TLS where TCP is closed too', () => {
    const tcp = new StreamWorld(ALL)
    tcp.world.relays.want()
    tcp.world.clock.advance(900)
    expect(tcp.states).toEqual(['trying', 'open', 'idle'])
    const tls = new StreamWorld(ALL)
    tls.refused = ({ transport }) => (transport === 'tcp' ? 'nothing listens' : undefined)
    tls.world.relays.want()
    tls.world.clock.advance(1700)
    expect(tls.states).toEqual(['trying', 'resting', 'open'])
    expect(tls.world.relays.candidates()).toHaveLength(1)
  })

  test('is talked to over UDP again once that works, keeping the connection for a minute', () => {
    const streams = new StreamWorld(ALL)
    streams.world.open()
    streams.world.clock.advance(20_000)
    expect(streams.states[1]).toBe('open')
    streams.world.servers.set('192.0.2.1', streams.server)
    streams.world.relays.networkChanged()
    streams.world.clock.advance(2000)
    expect(streams.states).toEqual(['open', 'open', 'idle'])
    expect(streams.world.relays.candidates()).toHaveLength(2)
    streams.world.clock.advance(60_000)
    expect(streams.states).toEqual(['open', 'idle', 'idle'])
    expect(streams.server.allocations).toHaveLength(1)
  })

  test('is asked for another relay when the connection breaks', () => {
    const streams = new StreamWorld(['turn:alice:wonder@192.0.2.1?transport=tcp'])
    streams.world.open()
    streams.hangUp('the server closed the connection')
    streams.world.clock.advance(1000)
    expect(streams.world.relays.candidates()).toMatchObject([{ relay: 'relay-2' }])
  })

  test('keeps the relay through a broken connection where it knows mobility', () => {
    const streams = new StreamWorld(['turn:alice:wonder@192.0.2.1?transport=tcp'], { mobility: true })
    const { world, server } = streams
    world.open()
    const { relay } = world
    const to = { ...PEER, relay }
    for (let n = 0; n < 8; n++) world.relays.send(Buffer.from('check'), to)
    world.clock.advance(500)
    streams.hangUp('the server closed the connection')
    world.clock.advance(500)
    expect(streams.opened).toHaveLength(2)
    expect(world.relay).toBe(relay)
    world.relays.send(Buffer.from('on'), to)
    world.clock.advance(100)
    expect(server.relayedOut.at(-1)?.by).toBe('channel')
    streams.refused = () => 'nothing listens'
    streams.hangUp('the server closed the connection')
    world.clock.advance(600_000)
    expect(streams.opened.length).toBeLessThan(25)
    expect(world.reason).toMatch(/nothing listens/)
  })
  test('is left within seconds when it is taken out of the settings and does not answer any more', () => {
    const streams = new StreamWorld(['turn:alice:wonder@192.0.2.1?transport=tcp'])
    streams.world.open()
    expect(streams.server.allocations).toHaveLength(1)
    streams.server.receive = () => []
    streams.world.relays.setServers([])
    streams.world.clock.advance(6000)
    expect(streams.isOver).toBe(true)
    expect(streams.world.relays.state()).toEqual([])
  })
})
