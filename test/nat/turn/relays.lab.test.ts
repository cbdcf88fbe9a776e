import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { LocalCandidate } from '../../../daemon/nat/candidate.ts'
import type { TransportAddress } from '../../../daemon/nat/transport-address.ts'
import type { Relays } from '../../../daemon/nat/turn/relays.ts'
import { Lab, type LabOptions, labMissing } from '../../lab/lab.ts'
import type { Command, WorkerOptions } from './worker.ts'

const missing = labMissing(['turnserver', 'openssl', 'ss'])
const WORKER = new URL('./worker.ts', import.meta.url).pathname
const SERVER = '10.99.0.10'
const UDP = `turn:alice:wonder@${SERVER}`
const TCP = `${UDP}?transport=tcp`
const TLS = 'turns:alice:wonder@turn.lab.test:443'
const ALL = ['turn:alice:wonder@turn.lab.test', 'turn:alice:wonder@turn.lab.test?transport=tcp', TLS]
const PUB = '10.99.0.20'

interface Told {
  readonly event: string
  readonly candidates?: readonly LocalCandidate[]
  readonly text?: string
  readonly size?: number
  readonly from?: TransportAddress
  readonly servers?: ReturnType<Relays['state']>
  readonly took?: number
  readonly permitted?: boolean
}

/** The relays of one host of the lab. */
class RelayHost {
  readonly #child: ReturnType<Lab['spawn']>
  readonly #told: Told[] = []
  readonly #waiting = new Set<() => void>()
  #log = ''

  constructor(lab: Lab, host: string, options: WorkerOptions) {
    this.#child = lab.spawn(host, [process.execPath, WORKER, JSON.stringify({ address: SERVER, ...options })])
    const { stdout, stderr } = this.#child
    if (!stdout || !stderr) throw new Error('the worker has no output')
    createInterface(stdout).on('line', (line) => {
      this.#told.push(JSON.parse(line))
      for (const wake of this.#waiting) wake()
    })
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text
    })
  }

  /** One that has a relay. */
  static async open(lab: Lab, host: string, servers: readonly string[], more: Partial<WorkerOptions> = {}) {
    const relays = new RelayHost(lab, host, { servers, ca: `${lab.folder}/srv/coturn/cert.pem`, ...more })
    relays.do({ do: 'want' })
    return { relays, candidates: await relays.opened() }
  }

  do(command: Command): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  /** The first event that fits, of those that come and those that came and nobody took. */
  async until(what: string, fits: (told: Told) => boolean): Promise<Told> {
    const until = Date.now() + 20_000
    for (;;) {
      const at = this.#told.findIndex(fits)
      const [found] = at < 0 ? [] : this.#told.splice(at, 1)
      if (found) return found
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      const timer = setTimeout(resolve, until - Date.now())
      await promise
      clearTimeout(timer)
      this.#waiting.delete(resolve)
      if (Date.now() >= until) throw new Error(`never: ${what}\n${JSON.stringify(this.#told)}\n${this.#log}`)
    }
  }

  async opened(): Promise<readonly LocalCandidate[]> {
    const { candidates = [] } = await this.until('has a relay', (told) => (told.candidates?.length ?? 0) > 0)
    return candidates
  }

  async state() {
    this.do({ do: 'state' })
    return (await this.until('tells its state', ({ event }) => event === 'state')).servers ?? []
  }

  /** The reason why the first server rests, once it does. */
  async failed(): Promise<string> {
    for (;;) {
      const [server] = await this.state()
      if (server?.state === 'resting') return server.reason ?? ''
    }
  }

  async hears(text: string): Promise<Told> {
    return this.until(`hears ${text}`, (told) => told.event === 'data' && told.text === text)
  }

  /** Gives its relays back; how long that took. */
  async close(): Promise<number> {
    this.do({ do: 'close' })
    return (await this.until('is closed', ({ event }) => event === 'closed')).took ?? 0
  }

  async kill(): Promise<void> {
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

async function labWith(options: LabOptions, ...coturn: readonly string[]): Promise<Lab> {
  const lab = await Lab.up('nat-pair', options)
  await lab.svc('srv', 'coturn', 'lt', '443', ...coturn)
  return lab
}

async function log(lab: Lab, host = 'srv'): Promise<string> {
  return (await lab.exec(host, ['sh', '-c', 'cat "$LAB_DIR/coturn/log"'])).stdout
}

/** Counts what comes to the server, by kind. */
async function countAtServer(lab: Lab): Promise<() => Promise<Record<string, { packets: number; bytes: number }>>> {
  await lab.nft(
    'srv',
    `table inet count {
      counter send { }
      counter channel { }
      counter request { }
      chain input {
        type filter hook input priority 0; policy accept;
        udp dport 3478 @th,64,16 0x0016 counter name send
        udp dport 3478 @th,64,4 0x4 counter name channel
        udp dport 3478 @th,64,8 0x00 @th,64,16 != 0x0016 counter name request
      }
    }`,
  )
  return async () => {
    const { stdout } = await lab.exec('srv', ['nft', '-j', 'list', 'counters', 'table', 'inet', 'count'])
    const { nftables } = JSON.parse(stdout) as {
      nftables: { counter?: { name: string; packets: number; bytes: number } }[]
    }
    return Object.fromEntries(nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter]] : [])))
  }
}

function only<T>(values: readonly T[]): T {
  const [value] = values
  if (value === undefined) throw new Error('there is none')
  return value
}

/** Has two hosts talk through their relays until both have channels. */
async function connect(a: RelayHost, b: RelayHost, at: LocalCandidate, bt: LocalCandidate) {
  const toB = { address: bt.address, port: bt.port, relay: at.relay }
  const toA = { address: at.address, port: at.port, relay: bt.relay }
  a.do({ do: 'permit', relay: at.relay ?? '', address: bt.address })
  b.do({ do: 'permit', relay: bt.relay ?? '', address: at.address })
  await a.until('is permitted', ({ permitted }) => permitted === true)
  await b.until('is permitted', ({ permitted }) => permitted === true)
  for (let n = 0; n < 3; n++) {
    a.do({ do: 'send', to: toB, text: `to b ${n}` })
    await b.hears(`to b ${n}`)
    b.do({ do: 'send', to: toA, text: `to a ${n}` })
    await a.hears(`to a ${n}`)
  }
  return { toA, toB }
}

describe.skipIf(missing)(`relays of coturn${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('over UDP: packets of a channel have 4 bytes more than without, and no Send indications are left', async () => {
    await using lab = await labWith({ a: 'sym', b: 'sym' })
    const [a, b] = await Promise.all([RelayHost.open(lab, 'a1', [UDP]), RelayHost.open(lab, 'b1', [UDP])])
    const { toB } = await connect(a.relays, b.relays, only(a.candidates), only(b.candidates))
    const count = await countAtServer(lab)
    const text = 'x'.repeat(1001)
    a.relays.do({ do: 'send', to: toB, text, times: 50 })
    for (let n = 0; n < 50; n++) await b.relays.until('hears it', ({ size }) => size === 1001)
    const { send, channel } = await count()
    expect(send?.packets).toBe(0)
    // IPv4 and UDP headers, and those 4.
    expect(channel).toMatchObject({ packets: 50, bytes: 50 * (20 + 8 + 4 + 1001) })
    expect(await a.relays.close()).toBeLessThan(500)
    expect(await b.relays.close()).toBeLessThan(500)
    expect((await log(lab)).match(/refreshed, realm=<lab.test>, username=<alice>, lifetime=0/g)).toHaveLength(2)
  }, 60_000)

  test.each([
    ['a home without UDP', 'udpblock', 'turn:turn.lab.test?transport=tcp'],
    ['a home with nothing but the web', 'web', 'turns:turn.lab.test:443'],
  ])(
    'from %s by what is left, to another over UDP',
    async (_, a, expected) => {
      await using lab = await labWith({ a })
      const [from, to] = await Promise.all([RelayHost.open(lab, 'a1', ALL), RelayHost.open(lab, 'b1', ALL)])
      const used = (await from.relays.state()).filter(({ state }) => state === 'open')
      expect(used.map(({ server }) => server)).toEqual([expected])
      expect((await to.relays.state()).map(({ state }) => state)).toEqual(['open', 'idle', 'idle'])
      const { toB, toA } = await connect(from.relays, to.relays, only(from.candidates), only(to.candidates))
      // Of a size that is padded on the stream.
      from.relays.do({ do: 'send', to: toB, text: 'y'.repeat(1003), times: 20 })
      to.relays.do({ do: 'send', to: toA, text: 'z'.repeat(1001), times: 20 })
      for (let n = 0; n < 20; n++) {
        await to.relays.until('hears it', ({ size }) => size === 1003)
        await from.relays.until('hears it', ({ size }) => size === 1001)
      }
      await from.relays.close()
      expect(await log(lab)).toMatch(/refreshed, realm=<lab.test>, username=<alice>, lifetime=0/)
    },
    60_000,
  )

  test('trusts no certificate that is not for the server, and says so', async () => {
    await using lab = await labWith({})
    const refusing = async (uri: string, ca?: string) => {
      const host = new RelayHost(lab, 'a1', { servers: [uri], ...(ca && { ca }) })
      host.do({ do: 'want' })
      return host.failed()
    }
    const ca = `${lab.folder}/srv/coturn/cert.pem`
    expect(await refusing(TLS)).toMatch(/certificate is not trusted/)
    await lab.exec('a1', ['sh', '-c', `echo ${SERVER} other.lab.test >>/etc/hosts`])
    expect(await refusing('turns:alice:wonder@other.lab.test:443', ca)).toMatch(/not for other.lab.test/)
    expect(await refusing(`turns:alice:wonder@${SERVER}:9`, ca)).toMatch(/nothing listens/)
  }, 60_000)

  test('outlives nonces that last two seconds', async () => {
    await using lab = await labWith({}, 'stale-nonce=2')
    const [a, b] = await Promise.all([RelayHost.open(lab, 'a1', [UDP]), RelayHost.open(lab, 'b1', [UDP])])
    const { toB } = await connect(a.relays, b.relays, only(a.candidates), only(b.candidates))
    const stale = async () => (await log(lab)).match(/error 438/g)?.length ?? 0
    for (let n = 0; n < 4; n++) {
      await new Promise((resolve) => setTimeout(resolve, 2500))
      a.relays.do({ do: 'permit', relay: only(a.candidates).relay ?? '', address: `10.99.0.${30 + n}` })
      a.relays.do({ do: 'send', to: toB, text: `after ${n}` })
      await b.relays.hears(`after ${n}`)
    }
    expect(await stale()).toBeGreaterThanOrEqual(2)
    expect((await a.relays.state())[0]).toMatchObject({ state: 'open', relay: { id: 'relay-1' } })
  }, 60_000)

  test.each([['user-quota=1'], ['total-quota=1']])(
    'says that no more relays are allowed (%s)',
    async (quota) => {
      await using lab = await labWith({}, quota)
      const first = await RelayHost.open(lab, 'a1', [UDP])
      const second = new RelayHost(lab, 'b1', { servers: [UDP] })
      second.do({ do: 'want' })
      expect(await second.failed()).toMatch(/as many relays on the server as are allowed \(486/)
      await first.relays.close()
    },
    60_000,
  )

  test('says that the password is wrong', async () => {
    await using lab = await labWith({})
    const host = new RelayHost(lab, 'a1', { servers: [`turn:alice:wrong@${SERVER}`] })
    host.do({ do: 'want' })
    expect(await host.failed()).toMatch(/does not accept the user name or the password/)
  }, 60_000)

  test('follows the server to another one', async () => {
    await using lab = await labWith({}, `alternate-server=${PUB}:3478`)
    await lab.svc('pub', 'coturn', 'lt')
    const { candidates } = await RelayHost.open(lab, 'a1', [UDP])
    expect(only(candidates).address).toBe(PUB)
  }, 60_000)

  test('has addresses of both families on a network with both', async () => {
    await using lab = await labWith({ ip: '46' })
    const { relays, candidates } = await RelayHost.open(lab, 'a1', [UDP])
    expect(candidates.map(({ address }) => address.includes(':'))).toEqual([true, false])
    const other = await RelayHost.open(lab, 'b1', ['turn:alice:wonder@[fd00:99::10]'])
    expect(other.candidates.map(({ related }) => related?.address.includes(':'))).toEqual([true, true])
    await connect(relays, other.relays, only(candidates), only(other.candidates))
  }, 60_000)

  const MOVE = [
    'ip addr flush dev eth0',
    'ip addr add 192.168.1.77/24 dev eth0',
    'ip route replace default via 192.168.1.1',
  ].join(' && ')

  test('is moved along when the host gets another address', async () => {
    await using lab = await labWith({}, 'mobility')
    const [a, b] = await Promise.all([RelayHost.open(lab, 'a1', [UDP]), RelayHost.open(lab, 'b1', [UDP])])
    const { toA, toB } = await connect(a.relays, b.relays, only(a.candidates), only(b.candidates))
    expect(await lab.exec('a1', ['sh', '-c', MOVE])).toMatchObject({ code: 0 })
    a.relays.do({ do: 'changed' })
    // Datagrams in the meantime get lost, as the server expects us elsewhere.
    const heard = b.relays.hears('moved').then(() => true)
    for (let isThere = false; !isThere; ) {
      a.relays.do({ do: 'send', to: toB, text: 'moved' })
      isThere = await Promise.race([heard, new Promise<false>((resolve) => setTimeout(resolve, 50, false))])
    }
    b.relays.do({ do: 'send', to: toA, text: 'and back' })
    await a.relays.hears('and back')
    expect((await a.relays.state())[0]).toMatchObject({ state: 'open', relay: { id: 'relay-1', mobile: true } })
  }, 60_000)

  test('has another relay at once when the host gets another address and the server does not know mobility', async () => {
    await using lab = await labWith({})
    const { relays } = await RelayHost.open(lab, 'a1', [UDP])
    expect(await lab.exec('a1', ['sh', '-c', MOVE])).toMatchObject({ code: 0 })
    relays.do({ do: 'changed' })
    await relays.until('has none', ({ candidates }) => candidates?.length === 0)
    expect(only(await relays.opened()).relay).toBe('relay-2')
  }, 60_000)

  // Mobility over TCP would keep the relay, but coturn 4.6.1 answers with eight bytes of garbage there.
  test('has a relay again at once over TCP when the host gets another address', async () => {
    await using lab = await labWith({}, 'mobility')
    const { relays } = await RelayHost.open(lab, 'a1', [TCP])
    expect(await lab.exec('a1', ['sh', '-c', MOVE])).toMatchObject({ code: 0 })
    relays.do({ do: 'changed' })
    await relays.until('has none', ({ candidates }) => candidates?.length === 0)
    await relays.opened()
    expect((await relays.state())[0]).toMatchObject({ state: 'open', relay: { mobile: true } })
  }, 60_000)

  test('takes back what a daemon that was killed has left', async () => {
    await using lab = await labWith({}, 'user-quota=1')
    const port = 47_800
    const killed = await RelayHost.open(lab, 'a1', [UDP], { port })
    await killed.relays.kill()
    const { candidates } = await RelayHost.open(lab, 'a1', [UDP], { port })
    expect(candidates).toHaveLength(1)
    expect(await log(lab)).toMatch(/error 437/)
  }, 60_000)
})
