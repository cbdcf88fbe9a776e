import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Debian, debianMissing, debianRoot } from '../lab/debian.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { eventually } from '../lab/patience.ts'
import { binaries } from './binaries.ts'

const missing = labMissing(['dpkg-deb', 'lintian', 'xz']) ?? debianMissing()
const ROOT = new URL('../../', import.meta.url).pathname
/** The time that all files carry. */
const EPOCH = '1700000000'
const BUDGET = 60 * 1024 * 1024

const run = promisify(execFile)

/** Builds a package into a folder of its own. */
async function build(folder: string, compression: 'xz' | 'none', arch = 'amd64'): Promise<string> {
  const command = ['packaging/package-deb.ts', '--out', folder, '--compression', compression, '--arch', arch]
  const env = { ...process.env, SOURCE_DATE_EPOCH: EPOCH }
  const { stdout } = await run(process.execPath, command, { cwd: ROOT, env })
  return stdout.trim().split('\n').at(-1) ?? ''
}

describe.skipIf(missing)(`the Debian package${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let folder: string
  let deb: string
  let root: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'packages-'))
    deb = await build(folder, 'xz')
    root = await debianRoot()
  }, 900_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.concurrent('is within its budget, and nothing is wrong with it', async () => {
    expect(statSync(deb).size).toBeLessThan(BUDGET)
    const { stdout } = await run('lintian', ['--fail-on', 'error', deb])
    expect(stdout.split('\n').filter((line) => line.startsWith('E:'))).toEqual([])
  }, 120_000)

  test.concurrent('built again is the same, byte for byte', async () => {
    const again = await build(join(folder, 'again'), 'none')
    const sum = async (file: string, part: '--fsys-tarfile' | '--ctrl-tarfile') =>
      (await run('sh', ['-c', `dpkg-deb ${part} ${file} | sha256sum`])).stdout
    for (const part of ['--fsys-tarfile', '--ctrl-tarfile'] as const)
      expect(await sum(again, part)).toBe(await sum(deb, part))
  }, 300_000)

  test.concurrent('for arm64 is what it says', async () => {
    const arm = await build(join(folder, 'arm64'), 'none', 'arm64')
    expect((await run('dpkg-deb', ['--field', arm, 'Architecture'])).stdout.trim()).toBe('arm64')
    const content = join(folder, 'arm64/content')
    await run('dpkg-deb', ['--extract', arm, content])
    expect(binaries(content)).toEqual([
      'node linux-arm64',
      'sodium-native.node linux-arm64',
      'udx-native.node linux-arm64',
    ])
  }, 300_000)

  test.concurrent('installs without a question, finds its peers after boot, serves the group, and leaves nothing when it is purged', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const bind = [`--bind-ro=${folder}:/packages`]
    await using one = await Debian.boot(lab, 'h1', root, bind)
    await using other = await Debian.boot(lab, 'h2', root, bind)
    const file = `/packages/${readdirSync(folder).find((name) => name.endsWith('.deb'))}`
    const before = await one.sh(
      'find /etc /usr /var/lib -xdev -newermt 2000-01-01 ! -path "/var/lib/dpkg/*" ! -path "*/partyline*" | sort | md5sum',
    )
    for (const machine of [one, other]) {
      await machine.sh(`DEBIAN_FRONTEND=noninteractive dpkg -i ${file} </dev/null`, 120_000)
      expect(await machine.sh('systemctl is-active partyline.service partyline.socket')).toBe('active\nactive')
      expect(await machine.sh('systemctl is-enabled partyline.service')).toBe('enabled')
    }
    const id = JSON.parse(await one.sh('runuser -u partyline -- partyline whoami --json')).id as string
    await other.sh(
      `for n in $(seq 100); do runuser -u partyline -- partyline peers --json | grep -q ${id} && exit 0; sleep 0.1; done; exit 1`,
    )
    // The man page and the completions are there.
    await one.sh(
      'zcat /usr/share/man/man1/partyline.1.gz | grep -q "partyline invite" && bash -n /usr/share/bash-completion/completions/partyline',
    )
    // Users of the group are served, each by a socket that the kernel opens to them alone; others are not, and nobody but the owner controls it.
    for (const user of ['anna', 'ben', 'carl']) await one.sh(`useradd -M ${user}`)
    for (const user of ['anna', 'ben']) await one.sh(`usermod -aG partyline ${user}`)
    const as = (user: string, command: string) => one.exec(['runuser', '-u', user, '--', ...command.split(' ')])
    await one.sh('nohup runuser -u anna -- partyline messages chess >/root/anna.log 2>&1 </dev/null &')
    const taken = await eventually('anna has the channel', async () => {
      const { stdout, code } = await as('ben', 'partyline rpc messages.listen {"channel":"chess"} --json')
      return code === 5 && stdout
    })
    expect(taken).toContain('policy.other-user')
    expect(await as('anna', 'partyline rpc messages.listen {"channel":"chess"}')).toMatchObject({ code: 0 })
    await other.sh(`partyline message ${id} chess "knight to f3"`)
    await eventually('anna has the message', async () => (await one.sh('cat /root/anna.log')).includes('knight to f3'))
    const users = await one.sh('stat -c "%U %a %n" /run/partyline/users/*; id -u anna')
    const [annas] = users.split('\n').slice(-1)
    expect(users).toContain(`partyline 660 /run/partyline/users/${annas}.sock`)
    expect(await as('ben', `sh -c "test -w /run/partyline/users/${annas}.sock"`)).not.toMatchObject({ code: 0 })
    for (const refused of [
      await as('carl', 'partyline status --json'),
      await as('anna', 'partyline config set log.level debug --json'),
    ]) {
      expect(refused.code).not.toBe(0)
      expect(refused.stdout).toContain('local.permission')
    }
    // An upgrade while a file arrives: the transfer goes on where it was, and who waits for the socket is served.
    await one.sh(
      'mkdir /root/in; nohup partyline receive --accept all --dir /root/in --once >/root/in.log 2>&1 </dev/null &',
      60_000,
    )
    await other.sh('head -c 150M /dev/urandom >/root/large', 60_000)
    const slow = [
      'tc',
      'qdisc',
      'add',
      'dev',
      'eth0',
      'root',
      'tbf',
      'rate',
      '100mbit',
      'burst',
      '64k',
      'latency',
      '50ms',
    ]
    expect(await lab.exec('h2', slow)).toMatchObject({ code: 0 })
    let isSent = false
    const sending = other.sh(`partyline send ${id} /root/large`, 120_000).finally(() => {
      isSent = true
    })
    await one.sh(
      'for n in $(seq 200); do [ -n "$(find /root/in -type f -size +1M)" ] && exit 0; sleep 0.05; done; exit 1',
    )
    await one.sh(`dpkg -i ${file} </dev/null && partyline whoami`, 120_000)
    expect(isSent).toBe(false)
    await sending
    const sum = async (machine: Debian, path: string) => (await machine.sh(`sha256sum ${path}`, 60_000)).split(' ')[0]
    expect(await sum(one, '/root/in/large')).toBe(await sum(other, '/root/large'))
    // Removed, it keeps what is the user's; purged, nothing.
    await one.sh('dpkg -r partyline', 60_000)
    expect(await one.sh('test -e /var/lib/partyline/identity.key && ! test -e /usr/lib/partyline && echo kept')).toBe(
      'kept',
    )
    await one.sh('dpkg -P partyline', 60_000)
    expect(
      await one.sh(
        'find / -xdev -name "*partyline*" ! -path "/proc/*" ! -path "/packages*" ! -path "/opt/*" ! -path "/var/log/*" ! -path "/var/lib/systemd/*"',
      ),
    ).toBe('')
    expect(await one.sh('getent passwd partyline; getent group partyline; true')).toBe('')
    expect(before).not.toBe('')
  }, 240_000)
})
