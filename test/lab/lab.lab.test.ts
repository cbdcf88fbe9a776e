import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from './lab.ts'

const missing = labMissing()
const missingConntrack = labMissing(['conntrack'])
const missingAvahi = labMissing(['avahi-daemon', 'dbus-daemon', 'avahi-publish', 'avahi-browse'])
const skipped = (why: string | undefined): string => (why ? ` (skipped: ${why})` : '')

const reaches = async (lab: Lab, from: string, address: string): Promise<boolean> =>
  (await lab.exec(from, ['ping', '-c1', '-W1', address])).code === 0
/** Resolves when something outside this process has come true; the test's time limit ends the wait. */
const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await condition())) await sleep(20)
}
const namespaces = (): string => readdirSync('/run/netns').join(' ')
/** Whether a process runs; one that nobody has reaped yet does not. */
const runs = (pid: string): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
/** The addresses a host has on a device, without the prefix. */
const addresses = async (lab: Lab, host: string, device = 'eth0'): Promise<readonly string[]> => {
  const { stdout } = await lab.exec(host, ['ip', '-o', 'addr', 'show', 'dev', device])
  return [...stdout.matchAll(/inet6? (\S+)\//g)].map(([, address]) => address ?? '')
}

describe.skipIf(missing).concurrent(`the lab${skipped(missing)}`, () => {
  test('has hosts that reach each other and no way out', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(true)
    expect(await reaches(lab, 'h1', 'fd00:50::2')).toBe(true)
    expect((await lab.exec('h1', ['ip', 'route', 'show', 'default'])).stdout).toBe('')
    expect((await lab.exec('h1', ['ip', '-6', 'route', 'show', 'default'])).stdout).toBe('')
    expect((await lab.exec('h1', ['cat', '/etc/resolv.conf'])).stdout).toBe('')
    expect((await lab.exec('h1', ['hostname'])).stdout.trim()).toBe('h1')
  })

  test('has cables to pull at either end', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    for (const [node, device] of [
      ['h2', 'eth0'],
      ['lan', 'h2'],
    ] as const) {
      await lab.link(node, 'down', device)
      expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(false)
      await lab.link(node, 'up', device)
      await until(() => reaches(lab, 'h1', '192.168.50.2'))
    }
  })

  test('filters what a rule names and nothing else, sets included', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const bridge = (rule: string): string =>
      `table bridge t { chain c { type filter hook forward priority 0; ${rule}; } }`
    await lab.nft('lan', bridge('udp dport { 5353, 47800 } drop'))
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(true)
    await lab.nft('lan', bridge('ip protocol icmp drop'))
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(false)
    expect(await reaches(lab, 'h1', 'fd00:50::2')).toBe(true)
    await lab.nft('h1', 'table inet t { chain c { type filter hook output priority 0; meta l4proto icmpv6 drop; } }')
    expect(await reaches(lab, 'h1', 'fd00:50::2')).toBe(false)
  })

  test('refuses rules that are none', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    await expect(lab.nft('lan', 'nonsense')).rejects.toThrow('nft on lan')
  })

  test('has one address family where one is asked for, and link-local addresses only without DHCP', async () => {
    await using four = await Lab.up('lan', { n: 1, ip: '4' })
    expect(await addresses(four, 'h1')).toEqual(['192.168.50.1'])
    await using six = await Lab.up('lan', { n: 1, ip: '6' })
    expect(await addresses(six, 'h1')).toEqual(['fd00:50::1', expect.stringMatching(/^fe80::/)])
    await using zeroconf = await Lab.up('lan', { n: 1, zeroconf: true })
    expect(await addresses(zeroconf, 'h1')).toEqual(['169.254.50.1', expect.stringMatching(/^fe80::/)])
  })

  test('has hosts with two interfaces', async () => {
    await using lab = await Lab.up('lan-multi')
    expect(await addresses(lab, 'h1', 'eth1')).toContain('192.168.51.1')
    expect(await reaches(lab, 'h1', '192.168.50.3')).toBe(true)
    expect(await reaches(lab, 'h1', '192.168.51.4')).toBe(true)
    expect(await reaches(lab, 'h3', '192.168.51.4')).toBe(false)
  })

  test('has switches that drop multicast, and hosts that are kept apart', async () => {
    await using plain = await Lab.up('lan', { n: 2 })
    await using deaf = await Lab.up('lan', { n: 2, nomcast: true })
    expect(await hearsMulticast(plain)).toBe(true)
    expect(await hearsMulticast(deaf)).toBe(false)
    expect(await reaches(deaf, 'h1', '192.168.50.2')).toBe(true)
    await using isolated = await Lab.up('isolated', { n: 2 })
    expect(await reaches(isolated, 'h1', '192.168.50.254')).toBe(true)
    expect(await reaches(isolated, 'h1', '192.168.50.2')).toBe(false)
  })

  test('has slow links that change while they run', async () => {
    await using lab = await Lab.up('lan', { n: 2, wire: ['h2:delay=100'] })
    const roundTrip = async (): Promise<number> =>
      Number(/time=([\d.]+)/.exec((await lab.exec('h1', ['ping', '-c1', '192.168.50.2'])).stdout)?.[1])
    expect(await roundTrip()).toBeGreaterThan(190)
    await lab.wire('h2', { delay: 0, loss: 100 })
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(false)
  })

  test('has room for many hosts', async () => {
    await using lab = await Lab.up('lan', { n: 24 })
    expect(await reaches(lab, 'h1', '192.168.50.24')).toBe(true)
    expect(await reaches(lab, 'h24', 'fd00:50::1')).toBe(true)
  })

  test('gives a program its input, tells how it ended, and ends it when time is up', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    expect(await lab.exec('h1', ['cat'], { input: 'to be read' })).toMatchObject({ code: 0, stdout: 'to be read' })
    expect(await lab.exec('h1', ['sh', '-c', 'echo no >&2; exit 7'])).toMatchObject({ code: 7, stderr: 'no\n' })
    expect(await lab.exec('h1', ['true'], { input: 'x'.repeat(1_000_000) })).toMatchObject({ code: 0 })
    expect(await lab.exec('h1', ['sleep', '1000'], { timeout: 200 })).toMatchObject({ code: null })
  })

  test('signals go to the program itself', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    const child = lab.spawn('h1', ['sleep', '1000'])
    await until(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'sleep\n')
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([null, 'SIGTERM'])
  })

  test('leaves nothing behind, programs that still run included', async () => {
    const lab = await Lab.up('lan', { n: 2, wire: ['h2:delay=1'] })
    const sleeper = lab.spawn('h1', ['sleep', '1000'])
    const { stdout } = await lab.exec('h2', ['sh', '-c', 'sleep 1000 >/dev/null 2>&1 & echo $!'])
    await lab.down()
    await lab.down()
    expect(sleeper.signalCode).toBe('SIGKILL')
    expect(runs(stdout.trim())).toBe(false)
    expect(namespaces()).not.toContain(basename(lab.folder))
    expect(existsSync(lab.folder)).toBe(false)
  })

  test('goes down when the process that has it is killed', async () => {
    const program = `
      const { Lab } = await import(${JSON.stringify(new URL('./lab.ts', import.meta.url).href)})
      const lab = await Lab.up('lan', { n: 2 })
      lab.spawn('h1', ['sleep', '1000'])
      console.log(lab.folder)
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const folder = line.toString().trim()
    expect(namespaces()).toContain(basename(folder))
    child.kill('SIGKILL')
    await until(() => !namespaces().includes(basename(folder)) && !existsSync(folder))
  })

  test('tells what is wrong with a lab that cannot be built', async () => {
    await expect(Lab.up('lan', { wire: ['h1:delay=nonsense'] })).rejects.toThrow('nonsense')
  })
})

describe.skipIf(missing).concurrent(`the NATs of the lab${skipped(missing)}`, () => {
  test.each([
    ['eim', { mapping: 'EIM', filtering: 'APDF', keeps_port: true }],
    ['arc', { mapping: 'EIM', filtering: 'ADF', keeps_port: true }],
    ['cone', { mapping: 'EIM', filtering: 'EIF', hairpin: true }],
    ['sym', { mapping: 'APDM', filtering: 'APDF', keeps_port: false }],
    ['udpblock', { udp: 'blocked' }],
  ])('%s behaves as its name says', async (kind, expected) => {
    await using lab = await Lab.up('nat-pair', { a: kind })
    expect(await probeNat(lab)).toMatchObject(expected)
  })

  test('a home behind a carrier has two of them', async () => {
    await using lab = await Lab.up('cgnat', { a: 'cone', cgn: 'sym' })
    expect(await probeNat(lab)).toMatchObject({ mapping: 'APDM', filtering: 'APDF' })
  })
})

describe.skipIf(missingConntrack).concurrent(`a lab of homes that changes${skipped(missingConntrack)}`, () => {
  test('its routers become others, and forget', async () => {
    await using lab = await Lab.up('nat-pair')
    await startProbes(lab)
    for (const [kind, expected] of [
      ['sym', { mapping: 'APDM', filtering: 'APDF' }],
      ['adm', { mapping: 'ADM', filtering: 'APDF' }],
      ['sym-cone', { mapping: 'APDM', filtering: 'EIF', hairpin: true }],
      ['eim-rnd', { mapping: 'EIM', filtering: 'APDF', keeps_port: false }],
      ['dmz', { mapping: 'EIM', filtering: 'EIF', hairpin: false }],
      ['none', { mapped: Array(3).fill(expect.stringContaining('192.168.1.11')), filtering: 'EIF' }],
      [
        'web',
        { udp: 'blocked', tcp7000: expect.stringContaining('blocked'), tcp443: expect.stringContaining('10.99.0.1') },
      ],
      ['eim', { mapping: 'EIM', filtering: 'APDF', keeps_port: true }],
    ] as const) {
      await lab.nat('ra', kind)
      expect(await probe(lab, 'a1'), kind).toMatchObject(expected)
    }
    await expect(lab.nat('ra', 'nonsense')).rejects.toThrow('nonsense')
    await expect(lab.nat('a1', 'eim')).rejects.toThrow('no router')
  })

  test('a router lets no host into a home that it has not heard of, however it is called', async () => {
    await using lab = await Lab.up('nat-pair', { b: 'none' })
    expect(await reaches(lab, 'a1', '192.168.2.11')).toBe(true)
    expect(await reaches(lab, 'pub', '192.168.2.12')).toBe(true)
    await lab.nat('rb', 'eim')
    expect(await reaches(lab, 'pub', '192.168.2.12')).toBe(false)
  })

  test('a router forgets a hole: after a time, towards one host, or altogether', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'arc' })
    const hole = await Hole.open(lab)
    await hole.asks('10.99.0.10')
    await hole.asks('10.99.0.20')
    expect(await hole.lets('srv', 'pub')).toEqual(['srv', 'pub'])
    await lab.forget('ra', ['10.99.0.20'])
    expect(await hole.lets('srv', 'pub')).toEqual(['srv'])
    await hole.asks('10.99.0.20')
    expect(await hole.lets('srv', 'pub')).toEqual(['srv', 'pub'])
    await lab.forget('ra')
    expect(await hole.lets('srv', 'pub')).toEqual([])
    await lab.nat('ra', 'arc', 1)
    await hole.asks('10.99.0.10')
    await until(async () => (await hole.lets('srv')).length === 0)
    await hole.asks('10.99.0.10')
    expect(await hole.lets('srv', 'pub')).toEqual(['srv'])
  })

  test('a router closes holes between two hosts, and opens them again', async () => {
    await using lab = await Lab.up('nat-pair', { ip: '46' })
    await lab.block('ra', ['10.99.0.10', 'fd00:99::10'])
    expect(await reaches(lab, 'a1', '10.99.0.10')).toBe(false)
    expect(await reaches(lab, 'a1', 'fd00:99::10')).toBe(false)
    expect(await reaches(lab, 'a1', '10.99.0.20')).toBe(true)
    await lab.unblock('ra', ['fd00:99::10'])
    expect(await reaches(lab, 'a1', 'fd00:99::10')).toBe(true)
    expect(await reaches(lab, 'a1', '10.99.0.10')).toBe(false)
    await lab.unblock('ra')
    expect(await reaches(lab, 'a1', '10.99.0.10')).toBe(true)
  })

  test('what goes to private and strange addresses vanishes in the internet', async () => {
    await using lab = await Lab.up('nat-pair', { ip: '46' })
    for (const host of ['srv', 'a1']) {
      for (const there of ['192.168.2.11', '203.0.113.1', '2001:db8::1']) {
        const { code, stdout, stderr } = await lab.exec(host, ['ping', '-c1', '-W1', there])
        expect(code).toBe(1)
        expect(`${stdout}${stderr}`).not.toMatch(/unreachable/i)
      }
    }
  })

  test('a host moves to another home, and back', async () => {
    await using lab = await Lab.up('nat-pair', { ip: '46' })
    await lab.move('a1', 'lanb')
    expect(await addresses(lab, 'a1')).toEqual(['192.168.2.111', 'fd00:2::111', expect.stringMatching(/^fe80::/)])
    for (const there of ['192.168.2.11', 'fd00:2::11', '10.99.0.10', 'fd00:99::10']) {
      expect(await reaches(lab, 'a1', there), there).toBe(true)
    }
    await lab.move('a1', 'lana')
    expect(await addresses(lab, 'a1')).toEqual(['192.168.1.11', 'fd00:1::11', expect.stringMatching(/^fe80::/)])
    expect(await reaches(lab, 'a1', '10.99.0.10')).toBe(true)
    await expect(lab.move('a1', 'inet')).rejects.toThrow('no home inet')
  })

  test('hosts that share a LAN have a home and an internet of their own beside it', async () => {
    await using lab = await Lab.up('two-homes')
    expect(await addresses(lab, 'a1')).toEqual(['192.168.50.1'])
    expect(await addresses(lab, 'a1', 'eth1')).toEqual(['192.168.1.11'])
    expect(await reaches(lab, 'a1', '192.168.50.2')).toBe(true)
    await lab.link('a1', 'down')
    expect(await reaches(lab, 'a1', '192.168.50.2')).toBe(false)
    expect(await reaches(lab, 'a1', '10.99.0.10')).toBe(true)
  })

  test('the way from a home to the internet may be a slow one', async () => {
    await using lab = await Lab.up('nat-pair', { wire: ['ra:delay=20', 'rb:delay=20'] })
    const roundTrip = async (): Promise<number> =>
      Number(/time=([\d.]+)/.exec((await lab.exec('a1', ['ping', '-c1', '10.99.0.2'])).stdout)?.[1])
    expect(await roundTrip()).toBeGreaterThan(75)
    await lab.wire('ra', { delay: 60 })
    expect(await roundTrip()).toBeGreaterThan(155)
    await expect(lab.wire('a1', { delay: 1 })).rejects.toThrow('no slow link')
  })

  test('an IPv6 home is behind a firewall that lets in answers only', async () => {
    await using lab = await Lab.up('nat-pair', { ip: '46' })
    await startProbes(lab, ['fd00:99::10', 'fd00:99::11'])
    const found = await probe(lab, 'a1', ['fd00:99::10', 'fd00:99::11'])
    expect(found).toMatchObject({ mapping: 'EIM', filtering: 'APDF', keeps_port: true })
  })
})

describe.skipIf(missingAvahi)(`avahi in the lab${skipped(missingAvahi)}`, () => {
  test('each host has one of its own, and they see each other', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    for (const host of ['h1', 'h2']) await lab.svc(host, 'avahi')
    lab.spawn('h1', ['avahi-publish', '-s', 'from the lab', '_partyline._tcp', '4711'])
    await until(async () =>
      (await lab.exec('h2', ['avahi-browse', '-prt', '_partyline._tcp'])).stdout.includes('192.168.50.1;4711'),
    )
  })
})

const GROUP = '239.9.9.9'

/** Whether h2 hears what h1 says to a group. */
async function hearsMulticast(lab: Lab): Promise<boolean> {
  const socket = `const s = require('node:dgram').createSocket('udp4')`
  const ear = lab.spawn('h2', [
    process.execPath,
    '-e',
    `${socket}.on('message', () => process.exit(0)).bind(9999, () => {
       s.addMembership('${GROUP}', '192.168.50.2'); console.log('listening') })`,
  ])
  if (ear.stdout) await once(ear.stdout, 'data')
  const heard = once(ear, 'exit').then(() => true)
  await lab.exec('h1', [
    process.execPath,
    '-e',
    `${socket}.bind(0, () => { s.setMulticastInterface('192.168.50.1'); s.send('x', 9999, '${GROUP}', () => s.close()) })`,
  ])
  return Promise.race([heard, sleep(500, false)])
}

const PROBE = new URL('./natprobe.py', import.meta.url).pathname
const PROBED = ['10.99.0.10', '10.99.0.11']

/** What the host a1 finds out about the NATs in front of it. */
async function probeNat(lab: Lab): Promise<unknown> {
  await startProbes(lab)
  return probe(lab, 'a1')
}

async function startProbes(lab: Lab, ends: readonly string[] = PROBED): Promise<void> {
  lab.spawn('srv', [PROBE, 'server', ...ends])
  await until(async () => (await lab.exec('srv', ['ss', '-Hltn'])).stdout.split(':7001 ').length > ends.length)
}

async function probe(lab: Lab, host: string, ends: readonly string[] = PROBED): Promise<unknown> {
  const { stdout } = await lab.exec(host, [PROBE, 'client', ...ends])
  return JSON.parse(stdout)
}

/** A UDP port of a1, behind a router that keeps ports. */
class Hole {
  static readonly #PORT = 7070
  readonly #lab: Lab
  readonly #inside: ChildProcess
  /** Who was heard, and `sent` for each packet that went out. */
  readonly #told: string[] = []

  private constructor(lab: Lab, inside: ChildProcess) {
    this.#lab = lab
    this.#inside = inside
    if (inside.stdout) createInterface(inside.stdout).on('line', (line) => this.#told.push(line))
  }

  static async open(lab: Lab): Promise<Hole> {
    const script = `
      const s = require('node:dgram').createSocket('udp4')
      const ask = (to) => s.send('asked', 9, to, () => console.log('sent'))
      s.on('message', (from) => console.log(from + '')).bind(${Hole.#PORT}, () => console.log('open'))
      process.stdin.setEncoding('utf8').on('data', (lines) => lines.trim().split('\\n').forEach(ask))`
    const hole = new Hole(lab, lab.spawn('a1', [process.execPath, '-e', script]))
    await until(() => hole.#told.includes('open'))
    return hole
  }

  /** a1 sends something to an address, port 9. */
  async asks(address: string): Promise<void> {
    const sent = () => this.#told.filter((line) => line === 'sent').length
    const before = sent()
    this.#inside.stdin?.write(`${address}\n`)
    await until(() => sent() > before)
  }

  /** Who of these reaches a1 from a port that it has never sent to. a1 does not answer, which would keep the hole open. */
  async lets(...hosts: readonly string[]): Promise<readonly string[]> {
    const knock = (host: string) =>
      `require('node:dgram').createSocket('udp4').send('${host}', ${Hole.#PORT}, '10.99.0.1', () => process.exit(0))`
    this.#told.length = 0
    await Promise.all(hosts.map((host) => this.#lab.exec(host, [process.execPath, '-e', knock(host)])))
    await sleep(200)
    return hosts.filter((host) => this.#told.includes(host))
  }
}
