import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Debian, debianMissing, debianRoot } from '../lab/debian.ts'
import { Lab, labMissing } from '../lab/lab.ts'

const missing = labMissing(['dpkg-deb', 'lintian', 'xz']) ?? debianMissing()
const ROOT = new URL('../../', import.meta.url).pathname
/** The time that all files carry. */
const EPOCH = '1700000000'
const BUDGET = 60 * 1024 * 1024

/** Builds a package into a folder of its own. */
function build(folder: string, compression: 'xz' | 'none'): string {
  const command = ['packaging/package-deb.ts', '--out', folder, '--compression', compression]
  const [file = ''] = execFileSync(process.execPath, command, {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, SOURCE_DATE_EPOCH: EPOCH },
  })
    .trim()
    .split('\n')
    .slice(-1)
  return file
}

describe.skipIf(missing)(`the Debian package${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let folder: string
  let deb: string
  let root: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'packages-'))
    deb = build(folder, 'xz')
    root = await debianRoot()
  }, 900_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('is within its budget, and nothing is wrong with it', () => {
    expect(statSync(deb).size).toBeLessThan(BUDGET)
    const found = execFileSync('lintian', ['--fail-on', 'error', deb], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(found.split('\n').filter((line) => line.startsWith('E:'))).toEqual([])
  }, 120_000)

  test('built again is the same, byte for byte', () => {
    const again = build(join(folder, 'again'), 'none')
    const sum = (file: string, part: '--fsys-tarfile' | '--ctrl-tarfile') =>
      execFileSync('sh', ['-c', `dpkg-deb ${part} ${file} | sha256sum`], { encoding: 'utf8' })
    for (const part of ['--fsys-tarfile', '--ctrl-tarfile'] as const) expect(sum(again, part)).toBe(sum(deb, part))
  }, 300_000)

  test('installs without a question, finds its peers after boot, serves the group, and leaves nothing when it is purged', async () => {
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
