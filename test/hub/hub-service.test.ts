import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import type { OwnHub } from '../../daemon/hub/hub-discovery.ts'
import type { HubServer } from '../../daemon/hub/hub-server.ts'
import { HubService } from '../../daemon/hub/hub-service.ts'
import { parseHub } from '../../daemon/hub/ticket.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { newHub, newIdentity } from './hub-host.ts'

const TICKET_ADDRESSES = ['192.168.50.1', 'fd00:50::1']

/** The hubs joined, as a list of what they were given by. */
class FakeHubs {
  readonly advertised: (string | undefined)[] = []
  given: string[] = []
  /** Other ways in which a hub is known. */
  readonly aliases = new Map<string, string[]>()

  async advertise(own: OwnHub | undefined): Promise<void> {
    this.advertised.push(own?.name)
  }
  status() {
    return this.given.map((name) => ({
      peer: '',
      name,
      domain: '',
      address: '',
      port: 0,
      state: 'joining' as const,
      detail: '',
      people: [],
    }))
  }
  join(hub: string): void {
    parseHub(hub)
    if (!this.given.includes(hub)) this.given.push(hub)
  }
  visit(hub: string): () => void {
    this.join(hub)
    return () => void this.leave(hub)
  }
  leave(hub: string): readonly string[] {
    const ways = this.aliases.get(hub) ?? this.given.filter((one) => one === hub)
    if (ways.length === 0) throw new PartylineError('local.no-hub')
    this.given = this.given.filter((one) => !ways.includes(one))
    return ways
  }
}

const identity = newIdentity()
let folder: string
let certificateFile: string
let made: HubServer[]
let hubs: FakeHubs
let settings: readonly string[]
let remembered: number
let changes: number
let service: HubService

function hubOf(name: string): HubServer {
  const limits = { clients: 10, perAddress: 10 }
  return newHub({ identity, clock: new VirtualClock(), refusals: new Refusals(), limits, name })
}

function create(overrides: Partial<ConstructorParameters<typeof HubService>[0]> = {}): HubService {
  return new HubService({
    self: identity.peer,
    create: async (name) => {
      const hub = hubOf(name)
      made.push(hub)
      return hub
    },
    hubs,
    port: () => 0,
    name: () => 'anna-laptop',
    addresses: () => TICKET_ADDRESSES,
    certificateFile,
    remembered: () => settings,
    remember: (joined) => {
      settings = joined
      remembered++
    },
    publish: () => changes++,
    ...overrides,
  })
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'partyline-hub-'))
  certificateFile = join(folder, 'hub.pem')
  made = []
  hubs = new FakeHubs()
  settings = []
  remembered = 0
  changes = 0
  service = create()
})

afterEach(async () => {
  await service.close()
  await rm(folder, { recursive: true, force: true })
})

/** Whether somebody listens. */
const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, servername: 'hub.local' })
    socket.once('secureConnect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('close', () => resolve(false)).once('secureConnect', () => socket.destroy())
  })

describe("this host's hub", () => {
  test('is none until it is started', () => {
    expect(service.status()).toEqual({
      running: false,
      name: '',
      domain: '',
      port: 0,
      addresses: [],
      fingerprint: '',
      certificate: '',
      people: [],
      hubs: [],
    })
  })

  test('starts under its name, tells where it is, and is advertised', async () => {
    const status = await service.start('lanparty')
    expect(status).toMatchObject({
      running: true,
      name: 'lanparty',
      domain: 'hub-lanparty.local',
      addresses: TICKET_ADDRESSES,
      certificate: certificateFile,
      fingerprint: made[0]?.fingerprint,
    })
    expect(status.port).toBe(made[0]?.port)
    expect(await answers(status.port)).toBe(true)
    expect(service.status()).toEqual(status)
    expect([hubs.advertised, changes]).toEqual([['lanparty'], 1])
  })

  test('has a name from the settings where it is given none', async () => {
    expect((await service.start()).name).toBe('anna-laptop')
  })

  test('puts its certificate where people find it, and takes it away at the end', async () => {
    await service.start('lanparty')
    expect(await readFile(certificateFile, 'utf8')).toBe(made[0]?.certificatePem)
    expect((await stat(certificateFile)).mode & 0o777).toBe(0o644)
    await service.stop()
    await expect(stat(certificateFile)).rejects.toThrow('ENOENT')
  })

  test('closes its port and is no longer advertised when it stops', async () => {
    const { port } = await service.start('lanparty')
    await service.stop()
    expect(await answers(port)).toBe(false)
    expect(service.status()).toMatchObject({ running: false, name: '', people: [] })
    expect([hubs.advertised, changes]).toEqual([['lanparty', undefined], 2])
  })

  test('that is started twice is one, also under its own name written otherwise', async () => {
    const [first, ...others] = await Promise.all([
      service.start('lan  party'),
      service.start('lan party '),
      service.start(),
    ])
    expect(others).toEqual([first, first])
    expect(made).toHaveLength(1)
    expect(hubs.advertised).toEqual(['lan party'])
  })

  test('takes no other name while it runs', async () => {
    await service.start('lanparty')
    const refused = service.start('other')
    await expect(refused).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await expect(refused).rejects.toThrow('lanparty')
    await service.stop()
    expect((await service.start('other')).name).toBe('other')
  })

  test('starts and stops in the order it was told to', async () => {
    const started = service.start('one')
    const stopped = service.stop()
    const again = service.start('two')
    expect(await started).toMatchObject({ running: true, name: 'one' })
    await stopped
    expect(await again).toMatchObject({ running: true, name: 'two' })
    expect(hubs.advertised).toEqual(['one', undefined, 'two'])
    expect(made.map(({ port }) => port > 0)).toEqual([false, true])
  })

  test('cannot be stopped where there is none, but closed as often as one likes', async () => {
    await expect(service.stop()).rejects.toMatchObject({ code: 'local.no-hub' })
    await service.start('lanparty')
    const twice = await Promise.allSettled([service.stop(), service.stop()])
    expect(twice.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    await Promise.all([service.close(), service.close()])
    expect(changes).toBe(2)
  })

  test('does not run without its certificate, and may be started once there is room for it', async () => {
    service = create({ certificateFile: join(folder, 'nowhere', 'hub.pem') })
    await expect(service.start('lanparty')).rejects.toMatchObject({ code: 'local.file' })
    expect(service.status().running).toBe(false)
    expect([made[0]?.port, hubs.advertised, changes]).toEqual([0, [], 0])
    service = create()
    expect((await service.start('lanparty')).running).toBe(true)
  })

  test('that cannot start does not stand in the way of the next', async () => {
    const failing = { start: () => Promise.reject(new PartylineError('local.port-taken')) } as unknown as HubServer
    const inTurn = [failing, hubOf('b')]
    service = create({ create: async () => inTurn.shift() ?? failing })
    const [first, second] = await Promise.allSettled([service.start('a'), service.start('b')])
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'local.port-taken' } })
    expect(second).toMatchObject({ status: 'fulfilled', value: { name: 'b' } })
  })
})

describe('the door of the hub', () => {
  test('is there with the hub only', () => {
    expect(() => service.door()).toThrow(expect.objectContaining({ code: 'local.no-hub' }))
    expect(() => service.door({ pin: '123456' })).toThrow(expect.objectContaining({ code: 'local.no-hub' }))
  })

  test('shows PIN and ticket, and a PIN that is chosen or drawn anew', async () => {
    const { port } = await service.start('lanparty')
    const { pin, ticket } = service.door()
    expect(pin).toBe(made[0]?.pin)
    expect(service.door()).toEqual({ pin, ticket })
    expect(parseHub(ticket)).toEqual({
      peer: identity.peer,
      name: 'lanparty',
      addresses: TICKET_ADDRESSES.map((address) => ({ address, port })),
    })
    expect(service.door({ pin: '314159' })).toEqual({ pin: '314159', ticket })
    expect(() => service.door({ pin: 'x' })).toThrow(expect.objectContaining({ code: 'usage.invalid-argument' }))
    expect(service.door().pin).toBe('314159')
    const drawn = new Set(Array.from({ length: 5 }, () => service.door({ pin: undefined }).pin))
    expect(drawn.size).toBeGreaterThan(1)
    expect(drawn).toContain(made[0]?.pin)
  })
})

describe('hubs that are joined', () => {
  test('are remembered once each, in order', () => {
    service.join('192.168.50.1')
    service.join('[fd00::1]:5300')
    expect(service.join('192.168.50.1').hubs.map(({ name }) => name)).toEqual(['192.168.50.1', '[fd00::1]:5300'])
    expect(settings).toEqual(['192.168.50.1', '[fd00::1]:5300'])
    expect(remembered).toBe(2)
  })

  test('are not remembered where they are none', () => {
    expect(() => service.join('no address!')).toThrow(expect.objectContaining({ code: 'usage.invalid-argument' }))
    expect(settings).toEqual([])
  })

  test('are forgotten when they are left, by whatever they had been given', () => {
    for (const hub of ['192.168.50.1', '192.168.50.2', '192.168.50.3']) service.join(hub)
    hubs.aliases.set('lanparty', ['192.168.50.1', '192.168.50.3'])
    expect(service.leave('lanparty').hubs.map(({ name }) => name)).toEqual(['192.168.50.2'])
    expect(settings).toEqual(['192.168.50.2'])
    service.leave('192.168.50.2')
    expect(settings).toEqual([])
  })

  test('that mDNS found are left without a change of the settings', () => {
    hubs.aliases.set('lanparty', ['found by mDNS'])
    service.leave('lanparty')
    expect(remembered).toBe(0)
  })

  test('of which none goes by that name cannot be left', () => {
    service.join('192.168.50.1')
    expect(() => service.leave('lanparty')).toThrow(expect.objectContaining({ code: 'local.no-hub' }))
    expect(settings).toEqual(['192.168.50.1'])
  })

  test('that the settings hold and nobody can join are forgotten all the same', () => {
    settings = ['no address!', '192.168.50.1']
    service.leave('no address!')
    expect(settings).toEqual(['192.168.50.1'])
  })
})
