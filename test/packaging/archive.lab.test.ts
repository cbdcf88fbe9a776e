import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TARGETS, type Target } from '../../packaging/build/runtime.ts'
import { archiveName, manifest } from '../../packaging/build/stage.ts'
import { Lab, labMissing, startDaemon } from '../lab/lab.ts'
import { eventually } from '../lab/patience.ts'
import { binaries } from './binaries.ts'

const CROSS_LIBRARIES = '/usr/aarch64-linux-gnu'
const missing = labMissing([
  'zip',
  'unzip',
  'zsh',
  'fish',
  'ruby',
  'groff',
  'qemu-aarch64-static',
  `${CROSS_LIBRARIES}/lib/libstdc++.so.6`,
])
const ROOT = new URL('../../', import.meta.url).pathname
const BUDGET = 60 * 1024 * 1024
const BUILDING = 600_000

const run = promisify(execFile)

/** Builds archives; packed in a hurry, which makes them larger. */
async function build(out: string, targets: readonly Target[]): Promise<void> {
  const chosen = targets.flatMap((target) => ['--target', target])
  const env = { ...process.env, SOURCE_DATE_EPOCH: '1700000000' }
  await run(process.execPath, ['packaging/package-archive.ts', '--out', out, '--level', '1', ...chosen], {
    cwd: ROOT,
    env,
  })
}

const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')

describe.skipIf(missing)(`portable archives${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const { version } = manifest()
  let folder: string
  const archive = (target: Target): string => join(folder, archiveName(version, target))
  const unpacked = (target: Target): string => join(folder, `partyline-${version}-${target}`)
  /** A command line that finds nothing on the machine but what every system has. */
  const bare = (...program: readonly string[]): string[] => [
    'env',
    '-i',
    `PATH=${join(folder, 'tools')}`,
    `HOME=${join(folder, 'user')}`,
    ...program,
  ]

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'archives-'))
    await build(folder, TARGETS)
    for (const target of TARGETS)
      await (target === 'win32-x64'
        ? run('unzip', ['-q', archive(target), '-d', folder])
        : run('tar', ['-xzf', archive(target), '-C', folder]))
    mkdirSync(join(folder, 'user'))
    mkdirSync(join(folder, 'tools'))
    for (const tool of ['sh', 'readlink', 'dirname']) symlinkSync(`/usr/bin/${tool}`, join(folder, 'tools', tool))
    // As the README of the archive says.
    symlinkSync(join(unpacked('linux-x64'), 'partyline'), join(folder, 'tools/partyline'))
  }, BUILDING)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(TARGETS)('for %s are within the budget, and hold binaries for it and no other', (target) => {
    expect(statSync(archive(target)).size).toBeLessThan(BUDGET)
    const runtime = target === 'win32-x64' ? 'node.exe' : 'node'
    expect(binaries(unpacked(target))).toEqual([
      `${runtime} ${target}`,
      `sodium-native.node ${target}`,
      `udx-native.node ${target}`,
    ])
    expect(readdirSync(unpacked(target))).toContain(target === 'win32-x64' ? 'partyline.cmd' : 'partyline')
    expect(readFileSync(join(unpacked(target), 'bin/LICENSE.node'), 'utf8')).toContain('Node.js')
  })

  test('tell whether they were run', () => {
    const says = (target: Target) => readFileSync(join(unpacked(target), 'README.txt'), 'utf8')
    for (const target of TARGETS) expect(says(target)).toContain(`Partyline ${version} for ${target}`)
    expect(TARGETS.filter((target) => says(target).includes('NOT been run'))).toEqual([
      'darwin-x64',
      'darwin-arm64',
      'win32-x64',
    ])
    expect(says('linux-arm64')).toContain('in an emulator')
  })

  test(
    'built again are the same, byte for byte',
    async () => {
      const again = join(folder, 'again')
      await build(again, ['linux-x64', 'win32-x64'])
      for (const target of ['linux-x64', 'win32-x64'] as const)
        expect(sha256(join(again, archiveName(version, target)))).toBe(sha256(archive(target)))
    },
    BUILDING,
  )

  test('run where they are unpacked, without a Node on the machine, on both processors, and talk to each other', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const one = await startDaemon(lab, 'h1', { program: bare('partyline') })
    const emulator = ['/usr/bin/qemu-aarch64-static', '-L', CROSS_LIBRARIES, join(unpacked('linux-arm64'), 'bin/node')]
    // The emulator cannot start itself again, as the launcher would have it.
    const heap = ['--external-memory-accounted-in-global-limit', '--initial-heap-size=64', '--max-semi-space-size=4']
    const other = await startDaemon(lab, 'h2', {
      program: bare(...emulator, ...heap, join(unpacked('linux-arm64'), 'dist/cli/main.js')),
    })
    await eventually('they see each other', async () => {
      const { stdout } = await one.cli(['peers', '--json'])
      return stdout.includes(other.id)
    })
    const ping = await one.cli(['ping', other.id, '--count', '3', '--json'], { timeout: 60_000 })
    expect(ping, `${ping.stdout}${ping.stderr}${other.log()}`).toMatchObject({ code: 0 })
    expect(ping.stdout).toContain('"received":3')
  }, 120_000)

  test('fill in a Homebrew formula', async () => {
    const command = ['packaging/package-homebrew.ts', '--url', 'https://releases.example.org/v1/', '--from', folder]
    await run(process.execPath, command, { cwd: ROOT })
    const formula = join(folder, 'partyline.rb')
    expect((await run('ruby', ['-c', formula])).stdout.trim()).toBe('Syntax OK')
    const text = readFileSync(formula, 'utf8')
    expect(text).not.toMatch(/@[\w-]+@/)
    for (const target of TARGETS.filter((one) => one !== 'win32-x64')) {
      expect(text).toContain(`url "https://releases.example.org/v1/${archiveName(version, target)}"`)
      expect(text).toContain(`sha256 "${sha256(archive(target))}"`)
    }
  })

  test('hold completions that the shells take', async () => {
    const completions = join(unpacked('linux-x64'), 'share/completions')
    await run('bash', ['-n', join(completions, 'partyline.bash')])
    await run('zsh', ['-n', join(completions, '_partyline')])
    await run('fish', ['--no-execute', join(completions, 'partyline.fish')])
    const complete = async (...words: string[]): Promise<string[]> => {
      const script = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _partyline; printf '%s\\n' "\${COMPREPLY[@]}"`
      const { stdout } = await run('bash', ['-c', script, join(completions, 'partyline.bash'), 'partyline', ...words])
      return stdout.trim().split('\n')
    }
    expect(await complete('serv')).toEqual(['service'])
    expect(await complete('service', 'un')).toEqual(['uninstall'])
    expect(await complete('service', 'install', '--sy')).toEqual(['--system'])
    const fish = `source ${join(completions, 'partyline.fish')}; complete --do-complete "partyline service unin"`
    expect((await run('fish', ['--no-config', '-c', fish])).stdout.split('\t')[0]?.trim()).toBe('uninstall')
  })

  test('hold a man page that is set without a warning', async () => {
    const page = join(unpacked('linux-x64'), 'share/man/man1/partyline.1')
    const { stdout, stderr } = await run('groff', ['-man', '-ww', '-Tutf8', '-P-c', page])
    expect(stderr).toBe('')
    expect(stdout).toContain('partyline service install')
  })
})
