import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { manifest } from '../../packaging/build/stage.ts'
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
const OLDER = '0.0.9'
const { version } = manifest()
const NODE = '/usr/lib/partyline/bin/node --input-type=module -e'
const SDK =
  'import { connect } from "/usr/lib/partyline/dist/ipc/index.js"; const client = await connect({ app: "numbers", reconnect: true });'
/** Prints the numbers that come. */
const LISTENER = `${SDK} for await (const { data } of await client.messages("numbers")) console.log(Buffer.from(data).toString())`
/** Sends numbers without end to a peer, and prints those that were acknowledged; what failed is sent again. */
const SENDER = `${SDK} const wait = () => new Promise((done) => setTimeout(done, 20));
for (let number = 1; ; await wait()) await client.send(process.argv[1], "numbers", String(number)).then(() => console.log(number++), wait)`

/** Builds a package into a folder of its own. */
async function build(folder: string, compression: 'xz' | 'none', arch = 'amd64'): Promise<string> {
  const command = ['packaging/package-deb.ts', '--out', folder, '--compression', compression, '--arch', arch]
  const env = { ...process.env, SOURCE_DATE_EPOCH: EPOCH }
  const { stdout } = await run(process.execPath, command, { cwd: ROOT, env })
  return stdout.trim().split('\n').at(-1) ?? ''
}

/** The same package under another version, as an upgrade begins with. */
async function stamped(deb: string, version: string): Promise<string> {
  const tree = `${deb}.${version}`
  await run('dpkg-deb', ['--raw-extract', deb, tree])
  const change = (path: string, from: RegExp, to: string): void =>
    writeFileSync(join(tree, path), readFileSync(join(tree, path), 'utf8').replace(from, to))
  change('DEBIAN/control', /^Version: .*$/m, `Version: ${version}`)
  change('usr/lib/partyline/package.json', /"version": ".*"/, `"version": "${version}"`)
  const made = join(dirname(deb), `older_${version}.deb`)
  await run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, made])
  rmSync(tree, { recursive: true })
  return made
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

  describe('installed on two machines', () => {
    let lab: Lab
    let one: Debian
    let other: Debian
    let id: string
    let current: string
    let older: string
    const as = (user: string, command: string) => one.exec(['runuser', '-u', user, '--', ...command.split(' ')])
    const sum = async (machine: Debian, path: string) => (await machine.sh(`sha256sum ${path}`, 60_000)).split(' ')[0]
    const numbers = async (machine: Debian, file: string) => (await machine.sh(`cat ${file}`)).split('\n').map(Number)

    beforeAll(async () => {
      ;[current, older] = [deb, await stamped(deb, OLDER)].map((file) => `/packages/${basename(file)}`) as [
        string,
        string,
      ]
      lab = await Lab.up('lan', { n: 2 })
      const bind = [`--bind-ro=${folder}:/packages`]
      ;[one, other] = await Promise.all([Debian.boot(lab, 'h1', root, bind), Debian.boot(lab, 'h2', root, bind)])
    }, 120_000)
    afterAll(async () => {
      await Promise.all([one, other].map((machine) => machine?.[Symbol.asyncDispose]()))
      await lab?.down()
    })

    test('runs without a question, and finds its peers after boot', async () => {
      for (const machine of [one, other]) {
        await machine.sh(`DEBIAN_FRONTEND=noninteractive dpkg -i ${older} </dev/null`, 120_000)
        expect(await machine.sh('systemctl is-active partyline.service partyline.socket')).toBe('active\nactive')
        expect(await machine.sh('systemctl is-enabled partyline.service')).toBe('enabled')
      }
      id = JSON.parse(await one.sh('runuser -u partyline -- partyline whoami --json')).id as string
      await eventually('they see each other', async () =>
        (await other.sh('runuser -u partyline -- partyline peers --json')).includes(id),
      )
      await one.sh(
        'zcat /usr/share/man/man1/partyline.1.gz | grep -q "partyline invite" && bash -n /usr/share/bash-completion/completions/partyline',
      )
    }, 240_000)

    test('serves each user of the group by a socket that the kernel opens to them alone, and others not at all', async () => {
      for (const user of ['anna', 'ben', 'carl']) await one.sh(`useradd -M ${user}`)
      for (const user of ['anna', 'ben']) await one.sh(`usermod -aG partyline ${user}`)
      await one.sh('nohup runuser -u anna -- partyline messages chess >/root/anna.log 2>&1 </dev/null &')
      const taken = await eventually('anna has the channel', async () => {
        const { stdout, code } = await as('ben', 'partyline rpc messages.listen {"channel":"chess"} --json')
        return code === 5 && stdout
      })
      expect(taken).toContain('policy.other-user')
      expect(await as('anna', 'partyline rpc messages.listen {"channel":"chess"}')).toMatchObject({ code: 0 })
      await other.sh(`partyline message ${id} chess "knight to f3"`)
      await eventually('anna has the message', async () =>
        (await one.sh('cat /root/anna.log')).includes('knight to f3'),
      )
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
    }, 120_000)

    test('loses nothing by an upgrade while a file and messages arrive, and apps come back by themselves', async () => {
      await one.sh(
        'mkdir /root/in; nohup partyline receive --accept all --dir /root/in --once >/root/in.log 2>&1 </dev/null &',
        60_000,
      )
      await one.sh(`nohup runuser -u anna -- ${NODE} '${LISTENER}' >/root/numbers.log 2>&1 </dev/null &`)
      await other.sh('head -c 60M /dev/urandom >/root/large', 60_000)
      // So slow that the file is on its way until the line is quick again.
      const slow = 'tc qdisc add dev eth0 root tbf rate 4mbit burst 64k latency 50ms'
      expect(await lab.exec('h2', slow.split(' '))).toMatchObject({ code: 0 })
      await other.sh(`nohup ${NODE} '${SENDER}' ${id} >/root/sent.log 2>&1 </dev/null &`)
      let isSent = false
      const sending = other.sh(`partyline send ${id} /root/large`, 240_000).finally(() => {
        isSent = true
      })
      await one.sh(
        'for n in $(seq 600); do [ -n "$(find /root/in -type f -size +1M)" ] && [ $(wc -l </root/numbers.log) -gt 20 ] && exit 0; sleep 0.05; done; exit 1',
        60_000,
      )
      const socket = await one.sh('stat -c %i /run/partyline/partyline.sock')
      expect(await one.sh('partyline version')).toContain(OLDER)
      await one.sh(`dpkg -i ${current} </dev/null`, 120_000)
      expect(JSON.parse(await one.sh('partyline status --json'))).toMatchObject({ id, version })
      expect(await one.sh('stat -c %i /run/partyline/partyline.sock')).toBe(socket)
      expect(isSent).toBe(false)
      expect(await lab.exec('h2', ['tc', 'qdisc', 'del', 'dev', 'eth0', 'root'])).toMatchObject({ code: 0 })
      await sending
      expect(await sum(one, '/root/in/large')).toBe(await sum(other, '/root/large'))
      const before = (await numbers(one, '/root/numbers.log')).length
      await eventually('messages go on', async () => (await numbers(one, '/root/numbers.log')).length > before + 20)
      // All that were acknowledged have come; one that was on its way may have come twice.
      const sent = await numbers(other, '/root/sent.log')
      const came = new Set(await numbers(one, '/root/numbers.log'))
      expect(sent).toEqual(sent.map((_, index) => index + 1))
      expect(sent.filter((number) => !came.has(number))).toEqual([])
    }, 360_000)

    test('of an older version leaves alone what a later one wrote, says so, and goes on by itself when it is mended', async () => {
      const peers = '/var/lib/partyline/peers.json'
      await one.sh(
        `systemctl stop partyline.socket partyline.service; cp -a ${peers} /root/peers; sed -i 's/"version": 1/"version": 2/' ${peers}`,
      )
      const newer = await sum(one, peers)
      await one.sh(`dpkg -i ${older} </dev/null; systemctl start --no-block partyline.service`, 120_000)
      await eventually('it says why it does not start', async () =>
        (await one.sh('journalctl -u partyline -o cat')).includes('a later Partyline'),
      )
      expect(await sum(one, peers)).toBe(newer)
      await one.sh(`cp -a /root/peers ${peers}`)
      await eventually('it runs again', async () => {
        const { stdout, code } = await one.exec(['partyline', 'status', '--json'])
        return code === 0 && stdout.includes(`"version":"${OLDER}"`) && stdout.includes(id)
      })
    }, 240_000)

    test('keeps what is the user’s when it is removed, and nothing when it is purged', async () => {
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
    }, 120_000)
  })
})
