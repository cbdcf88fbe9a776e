import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { FindingCode } from '../../daemon/doctor/finding-codes.ts'
import type { DoctorCheck } from '../../ipc/methods.ts'
import { Lab, type LabDaemon, labMissing, startDaemon } from '../lab/lab.ts'

const missing = labMissing(['turnserver', 'prosody', 'openssl', 'ss', 'miniupnpd'])

/** How long something that is provoked may take to be found. */
const PATIENCE = 20_000

/** What `partyline doctor` finds: the check by its code, of those that are neither `ok` nor `skip`. */
async function diagnose(daemon: LabDaemon, peer?: string): Promise<Map<string, DoctorCheck>> {
  const { stdout, stderr } = await daemon.cli(['doctor', ...(peer === undefined ? [] : [peer]), '--json'])
  if (stdout === '') throw new Error(`doctor: ${stderr}`)
  const { checks } = JSON.parse(stdout) as { checks: DoctorCheck[] }
  return new Map(checks.filter(({ fix }) => fix !== '').map((check) => [check.code, check]))
}

/** Asks until all of these are found, or it is over; what was found at last. */
async function diagnoseUntil(daemon: LabDaemon, ...codes: readonly FindingCode[]): Promise<Map<string, DoctorCheck>> {
  const end = Date.now() + PATIENCE
  for (;;) {
    const found = await diagnose(daemon)
    if (codes.every((code) => found.has(code)) || Date.now() > end) {
      expect([...found.keys()]).toEqual(expect.arrayContaining([...codes]))
      return found
    }
  }
}

async function untilSeen(daemon: LabDaemon, others: number): Promise<void> {
  const end = Date.now() + PATIENCE
  while (Date.now() < end) {
    const { stdout } = await daemon.cli(['status', '--json'])
    if ((JSON.parse(stdout) as { peers: { seen: number } }).peers.seen >= others) return
  }
  throw new Error('nobody is seen')
}

async function run(lab: Lab, host: string, command: string): Promise<void> {
  const { code, stderr } = await lab.exec(host, ['/bin/sh', '-ec', command])
  if (code !== 0) throw new Error(`${command}: ${stderr}`)
}

/** Runs Python on a host until it says that it is ready. */
async function python(lab: Lab, host: string, program: string): Promise<void> {
  const child = lab.spawn(host, ['/usr/bin/python3', '-c', `${program}\nprint("ready", flush=True)\nsignal.pause()`])
  await new Promise<void>((resolve, reject) => {
    let errors = ''
    child.stderr?.on('data', (text) => {
      errors += text
    })
    child.stdout?.once('data', () => resolve())
    child.once('exit', () => reject(new Error(errors)))
  })
}

/** Holds ports as programs do that do not think of others. */
const HOLD_PORTS = `
import signal, socket
held = []
for kind, port in ((socket.SOCK_DGRAM, 5353), (socket.SOCK_STREAM, 47800), (socket.SOCK_DGRAM, 3478)):
    one = socket.socket(socket.AF_INET6, kind)
    one.bind(("::", port))
    if kind == socket.SOCK_STREAM: one.listen()
    held.append(one)`

/** A VPN, as OpenVPN does it: a tunnel, and two routes that are narrower than the default route. */
const OPEN_VPN = `
import fcntl, os, signal, struct, subprocess
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", b"tun0", 0x1001))
for line in ("addr add 10.8.0.2/24 dev tun0", "link set tun0 up", "route add 0.0.0.0/1 dev tun0", "route add 128.0.0.0/1 dev tun0"):
    subprocess.run(["ip", *line.split()], check=True)`

/** Has programs that are started from now on believe in another time. */
function shiftClock(lab: Lab, by: number): void {
  const file = join(lab.folder, `clock${by}.mjs`)
  writeFileSync(file, `const { now } = Date\nDate.now = () => now() + ${by}\n`)
  lab.setEnvironment('NODE_OPTIONS', `--import=${file}`)
}

/** The home of a daemon that has these accounts from before. */
function homeWithAccounts(lab: Lab, name: string, accounts: readonly Record<string, string>[]): string {
  const home = join(lab.folder, name)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const defaults = { server: '', ca: '' }
  const text = JSON.stringify({ version: 1, accounts: accounts.map((one) => ({ ...defaults, ...one })) })
  writeFileSync(join(home, 'accounts.json'), text, { mode: 0o600 })
  return home
}

const DROP_ALL = `table inet guard { chain inward { type filter hook input priority 0; policy drop;
  iifname "lo" accept; ct state established,related accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; } }`

describe.skipIf(missing).concurrent(`what the doctor finds${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('nothing on a healthy LAN without internet; then a packet filter, and what opens it', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [a, b] = await Promise.all([startDaemon(lab, 'h1'), startDaemon(lab, 'h2')])
    await Promise.all([untilSeen(a, 1), untilSeen(b, 1)])
    expect([...(await diagnose(a)).values()]).toEqual([])
    expect([...(await diagnose(a, b.id)).values()]).toEqual([])

    await lab.nft('h2', DROP_ALL)
    const [filtered, apart] = await Promise.all([diagnose(b), diagnose(a, b.id)])
    expect(apart.get('peer.seen-unreachable')?.detail).toMatch(/192\.168\.50\.2:47800 \(no answer\)/)
    // Beacons may have come out of its filter before.
    expect(apart.has('peer.silent') || apart.has('peer.firewalled')).toBe(true)
    const commands = [...(filtered.get('firewall.drops')?.fix ?? '').matchAll(/`sudo ([^`]*)`/g)]
    expect(commands.length).toBe(2)
    for (const [, command = ''] of commands) await run(lab, 'h2', command)
    await b.cli(['relay', 'start'])
    const opened = await diagnoseUntil(b, 'relay.private-only')
    expect(opened.has('firewall.drops')).toBe(false)
    expect((await diagnose(a, b.id)).has('peer.seen-unreachable')).toBe(false)
  })

  test('ports that others hold, a relay that cannot run, and a host alone', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    await python(lab, 'h1', HOLD_PORTS)
    const daemon = await startDaemon(lab, 'h1', { settings: { 'relay.enabled': true } })
    const found = await diagnoseUntil(daemon, 'port.taken', 'port.mdns-taken', 'relay.not-running', 'lan.nobody')
    expect(found.get('port.taken')?.detail).toMatch(/held by python3 \(process \d+\)/)
    expect(found.get('port.mdns-taken')?.detail).toMatch(/held by python3 \(process \d+\)/)
    expect(found.has('discovery.failed')).toBe(true)
  })

  test('no network, half a network, and what the owner decided', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    await Promise.all([lab.link('h1', 'down'), run(lab, 'h2', 'ip -6 addr add 2a00:1::2/64 dev eth0 nodad')])
    const settings = {
      'policy.metered': ['eth0'],
      'policy.on-metered': 'messages',
      'network.interfaces': ['eth0', 'wlan7'],
    }
    const [a, b] = await Promise.all([startDaemon(lab, 'h1'), startDaemon(lab, 'h2', { settings })])
    await b.cli(['hub', 'join', '192.168.50.99'])
    await diagnoseUntil(a, 'network.no-interface')
    await diagnoseUntil(b, 'ipv6.no-route', 'policy.metered', 'network.interface-absent', 'hub.not-joined')
  })

  test('addresses that hosts gave themselves, a copied identity, and a clock that was never set', async () => {
    await using lab = await Lab.up('lan', { n: 2, zeroconf: true })
    const a = await startDaemon(lab, 'h1')
    const home = join(lab.folder, 'copy')
    mkdirSync(home, { mode: 0o700 })
    copyFileSync(join(a.home, 'identity.key'), join(home, 'identity.key'))
    shiftClock(lab, -Date.now())
    const b = await startDaemon(lab, 'h2', { home })
    await Promise.all([
      diagnoseUntil(a, 'network.self-made-address', 'identity.twin'),
      diagnoseUntil(b, 'network.self-made-address', 'identity.twin', 'clock.unset'),
    ])
  })

  test('a VPN that takes the internet, and a way out that is not used', async () => {
    await using lab = await Lab.up('two-homes')
    await python(lab, 'a1', OPEN_VPN)
    const settings = { 'network.exclude': ['eth1'] }
    const [a, b] = await Promise.all([startDaemon(lab, 'a1'), startDaemon(lab, 'b1', { settings })])
    const [vpn] = await Promise.all([diagnoseUntil(a, 'vpn.default-route'), diagnoseUntil(b, 'network.way-out-unused')])
    expect(vpn.get('vpn.default-route')?.detail).toMatch(/VPN tun0 .* past eth0 and eth1/)
  })

  test('servers that are dead, or do not take the password; and a router that forwards nothing', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'sym' })
    await lab.svc('srv', 'coturn', 'lt')
    const good = { 'nat.stun': ['10.99.0.10'], 'nat.turn': ['turn:alice:wonder@10.99.0.10'] }
    const bad = {
      'nat.stun': ['10.99.0.10', '10.99.0.20', 'stun.invalid'],
      'nat.turn': ['turn:alice:wrong@10.99.0.10', 'turn:alice:wonder@10.99.0.20'],
    }
    const dead = { 'nat.stun': ['10.99.0.20'], 'nat.turn': ['turn:alice:wonder@10.99.0.20?transport=tcp'] }
    const [a, b, c] = await Promise.all([
      startDaemon(lab, 'a1', { settings: good }),
      startDaemon(lab, 'b1', { settings: bad }),
      startDaemon(lab, 'b2', { settings: dead }),
    ])
    const [symmetric, some] = await Promise.all([
      diagnoseUntil(a, 'nat.symmetric', 'mapping.failed'),
      diagnoseUntil(b, 'turn.wrong-password', 'turn.unreachable', 'stun.silent', 'nat.server-unknown'),
      diagnoseUntil(c, 'nat.no-server', 'turn.unreachable', 'stun.silent'),
    ])
    for (const code of ['turn.unreachable', 'stun.silent', 'nat.no-server']) expect(symmetric.has(code)).toBe(false)
    expect(some.get('turn.unreachable')?.detail).toMatch(/10\.99\.0\.20/)
    expect(some.get('turn.wrong-password')?.detail).not.toMatch(/10\.99\.0\.20|wrong@/)
    expect(some.has('nat.no-server')).toBe(false)
  })

  test('accounts that do not work, and a clock that is wrong', async () => {
    await using lab = await Lab.up('nat-pair')
    await lab.svc('srv', 'prosody')
    const ca = readFileSync(join(lab.folder, 'srv/prosody/cert.pem'), 'utf8')
    const server = 'lab.test:5222'
    const bob = { jid: 'bob@lab.test', password: 'bob', server, ca }
    const broken = [
      { jid: 'alice@lab.test', password: 'wrong', server, ca },
      { jid: 'bob@lab.test', password: 'bob', server },
      { jid: 'carol@other.test', password: 'carol', server: 'other.test:5222' },
    ]
    const a = await startDaemon(lab, 'a1', { home: homeWithAccounts(lab, 'broken', broken) })
    shiftClock(lab, 3 * 86_400_000)
    const b = await startDaemon(lab, 'b1', { home: homeWithAccounts(lab, 'ahead', [bob]) })
    const [accounts, clock] = await Promise.all([
      diagnoseUntil(a, 'account.wrong-password', 'account.bad-certificate', 'account.unreachable'),
      diagnoseUntil(b, 'clock.wrong'),
    ])
    expect(accounts.get('account.wrong-password')?.detail).toMatch(/alice@lab\.test/)
    expect(accounts.get('account.bad-certificate')?.detail).toMatch(/bob@lab\.test/)
    expect(accounts.get('account.unreachable')?.detail).toMatch(/carol@other\.test/)
    expect(clock.get('clock.wrong')?.detail).toMatch(/[23] days ahead|71 h ahead|72 h ahead/)
    expect(clock.has('account.wrong-password')).toBe(false)
  })

  test('a peer that may not come in, one that is blocked, and one that left', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const settings = { 'policy.lan': 'ask' }
    const [a, b] = await Promise.all([startDaemon(lab, 'h1', { settings }), startDaemon(lab, 'h2')])
    await Promise.all([untilSeen(a, 1), untilSeen(b, 1)])
    const asking = b.cli(['connect', a.id])
    await diagnoseUntil(a, 'policy.request-waiting')
    expect([...(await diagnose(a, b.id)).keys()]).toEqual(['peer.not-admitted'])

    await Promise.all([a.cli(['block', b.id]), asking])
    const [blocker, blocked] = await Promise.all([diagnose(a, b.id), diagnose(b, a.id)])
    expect([...blocker.keys()]).toEqual(['peer.blocked'])
    expect([...blocked.keys()]).toEqual(['peer.address-silent', 'peer.seen-unreachable', 'peer.turned-down'])

    await a.stop()
    const gone = await diagnose(b, a.id)
    expect(gone.has('peer.away') || gone.has('peer.not-listening')).toBe(true)
  })

  test('a friend far away, to whom no path leads any more', async () => {
    await using lab = await Lab.up('nat-pair')
    await Promise.all([lab.svc('srv', 'coturn', 'lt'), lab.svc('srv', 'prosody')])
    const ca = readFileSync(join(lab.folder, 'srv/prosody/cert.pem'), 'utf8')
    const settings = { 'nat.stun': ['10.99.0.10'], 'accounts.use-servers': false }
    const [a, b] = await Promise.all(
      (['alice', 'bob'] as const).map((user, i) => {
        const account = { jid: `${user}@lab.test`, password: user, server: 'lab.test:5222', ca }
        return startDaemon(lab, i === 0 ? 'a1' : 'b1', { home: homeWithAccounts(lab, user, [account]), settings })
      }),
    )
    if (!a || !b) throw new Error('no daemon')
    const { stdout } = await a.cli(['invite', '--json'])
    const { ticket } = JSON.parse(stdout) as { ticket: string }
    await b.cli(['join', ticket])
    expect([...(await diagnose(a, b.id)).keys()]).toEqual([])

    await Promise.all([lab.nat('ra', 'sym'), lab.nat('rb', 'sym')])
    const end = Date.now() + PATIENCE
    let found = await diagnose(a, b.id)
    while (!found.has('peer.no-path') && Date.now() < end) found = await diagnose(a, b.id)
    expect(found.get('peer.no-path')?.id).toBe('conclusion')
    expect(found.has('peer.link-lost')).toBe(true)
    expect(found.has('nat.no-server')).toBe(false)
    expect(found.has('peer.no-path')).toBe(true)
  })

  test('two NATs, one behind the other', async () => {
    await using lab = await Lab.up('upnp')
    // Outside of what the router says of itself there is one more address, as another NAT would give.
    await run(lab, 'ra', 'ip addr add 11.99.0.77/24 dev wan')
    await lab.nft(
      'ra',
      'table ip outer { chain post { type nat hook postrouting priority srcnat - 5; oifname "wan" snat to 11.99.0.77; } }',
    )
    await lab.svc('srv', 'coturn', 'lt')
    const daemon = await startDaemon(lab, 'a1', { settings: { 'nat.stun': ['11.99.0.10'] } })
    const found = await diagnoseUntil(daemon, 'nat.double')
    expect(found.get('nat.double')?.detail).toMatch(/router says 11\.99\.0\.1:\d+, and .* seen as 11\.99\.0\.77/)
  })
})
