/**
 * `npm run package:figures`: builds every package, and writes their sizes, the time to start beside an empty Node process in the same run, and what
 * `systemd-analyze security` finds into docs/service.md. Compare the ratios, not the numbers.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fillUnit, serviceCommand } from '../../cli/service/templates.ts'
import { TARGETS, type Target } from '../../packaging/build/runtime.ts'
import { archiveName, manifest } from '../../packaging/build/stage.ts'
import { between } from './documents.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const BUILD = join(ROOT, 'build')
const DOCUMENT = join(ROOT, 'docs/service.md')
const BUDGET_MB = 60
/** Ready within so many times the start of an empty Node process, and so much more. */
const BUDGET = { times: 1.5, more: 150 } as const
const RUNS = 15

const TRIED: Readonly<Record<Target, string>> = {
  'linux-x64': 'unpacked and run, without a Node on the machine',
  'linux-arm64': 'unpacked and run in an emulator (QEMU)',
  'darwin-x64': 'its binaries looked at; **never run**',
  'darwin-arm64': 'its binaries looked at; **never run**',
  'win32-x64': 'its binaries looked at; **never run**',
}

interface Package {
  readonly name: string
  readonly file: string
  readonly tried: string
}

const script = (name: string, ...args: readonly string[]): void => {
  execFileSync(process.execPath, [join(ROOT, 'packaging', name), ...args], { cwd: ROOT, stdio: 'inherit' })
}

function build(): Package[] {
  const { version } = manifest()
  for (const arch of ['amd64', 'arm64']) script('package-deb.ts', '--arch', arch)
  script('package-archive.ts')
  const pack = ['pack', '--silent', '--pack-destination', BUILD]
  const tarball = execFileSync('npm', pack, { cwd: ROOT, encoding: 'utf8' }).trim().split('\n').at(-1) ?? ''
  return [
    {
      name: 'Debian, amd64',
      file: `partyline_${version}_amd64.deb`,
      tried: 'installed, upgraded, downgraded, removed and purged on a booted Debian',
    },
    { name: 'Debian, arm64', file: `partyline_${version}_arm64.deb`, tried: 'its content looked at' },
    ...TARGETS.map((target) => ({
      name: `archive, ${target}`,
      file: archiveName(version, target),
      tried: TRIED[target],
    })),
    { name: 'npm (no Node in it)', file: tarball, tried: 'installed in an empty folder, without a compiler' },
  ]
}

const megabytes = (file: string): number => statSync(join(BUILD, file)).size / 1e6
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Milliseconds until a program has ended; or, of a daemon, until it is ready, and its memory then, in MB. */
async function start(command: readonly string[], env: NodeJS.ProcessEnv): Promise<{ time: number; memory: number }> {
  const [program = '', ...args] = command
  const begun = performance.now()
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = once(child, 'exit')
  for await (const line of createInterface(child.stdout)) {
    if (!line.startsWith('partyline ready')) continue
    const time = performance.now() - begun
    const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
    child.kill('SIGTERM')
    await ended
    return { time, memory: (Number(kilobytes) * 1024) / 1e6 }
  }
  await ended
  return { time: performance.now() - begun, memory: 0 }
}

/** Of the Debian package, unpacked: an empty Node process, a daemon with a new identity, and the same again, in turns. */
async function measureStart(deb: string): Promise<{ empty: number; first: number; again: number; memory: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'installed-'))
  try {
    execFileSync('dpkg-deb', ['--extract', join(BUILD, deb), folder])
    const library = join(folder, 'usr/lib/partyline')
    const node = join(library, 'bin/node')
    const env = { PATH: process.env.PATH, HOME: folder }
    const daemon = (home: string) => [
      ...serviceCommand(node, join(library, 'dist/cli/main.js')),
      'daemon',
      '--home',
      home,
    ]
    const rows: { empty: number; first: number; again: number; memory: number }[] = []
    await start(daemon(join(folder, 'warm')), env)
    for (let run = 0; run < RUNS; run++) {
      const home = join(folder, `home-${run}`)
      const empty = await start([node, '-e', '0'], env)
      const first = await start(daemon(home), env)
      const again = await start(daemon(home), env)
      rows.push({ empty: empty.time, first: first.time, again: again.time, memory: again.memory })
    }
    const of = (key: 'empty' | 'first' | 'again' | 'memory'): number => median(rows.map((row) => row[key]))
    return { empty: of('empty'), first: of('first'), again: of('again'), memory: of('memory') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What `systemd-analyze security` makes of the unit, 0 to 10; lower is better. */
function exposure(): string {
  const folder = mkdtempSync(join(tmpdir(), 'unit-'))
  try {
    const template = readFileSync(join(ROOT, 'packaging/systemd/partyline.service'), 'utf8')
    const unit = join(folder, 'partyline.service')
    writeFileSync(unit, fillUnit(template, ['/usr/bin/true']))
    const args = ['security', '--offline=true', '--no-pager', unit]
    const said = execFileSync('systemd-analyze', args, {
      encoding: 'utf8',
      env: { ...process.env, XDG_RUNTIME_DIR: folder },
    })
    const [, found] = /exposure level for partyline\.service: ([\d.]+)/.exec(said) ?? []
    if (!found) throw new Error('systemd-analyze does not tell an exposure')
    return found
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Size on disk when unpacked, in MB. */
function unpacked(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
    const stats = statSync(join(folder, name))
    return stats.isFile() ? sum + stats.size / 1e6 : sum
  }, 0)
}

function installedSize(deb: string): number {
  const folder = mkdtempSync(join(tmpdir(), 'installed-'))
  try {
    execFileSync('dpkg-deb', ['--extract', join(BUILD, deb), folder])
    return unpacked(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

mkdirSync(BUILD, { recursive: true })
const packages = build()
const [deb] = packages
if (!deb) throw new Error('nothing was built')
const { empty, first, again, memory } = await measureStart(deb.file)
const budget = empty * BUDGET.times + BUDGET.more
const verdict = (isKept: boolean): string => (isKept ? 'kept' : '**missed**')
const largest = Math.max(...packages.map(({ file }) => megabytes(file)))
const content = `Medians of ${RUNS} starts, in turns, on ${availableParallelism()} cores.

| from the start of the process | ms | |
| --- | ---: | --- |
| an empty Node process, to its end | ${empty.toFixed(0)} | |
| the daemon, until both sockets accept and discovery has announced | ${again.toFixed(0)} | budget ${budget.toFixed(0)} (${BUDGET.times} times that and ${BUDGET.more}): ${verdict(again <= budget)} |
| the same with a new identity, the first time | ${first.toFixed(0)} | |

Memory when it is ready: ${memory.toFixed(0)} MB. Exposure by \`systemd-analyze security\`: **${exposure()}** (2.0 at most).

| package | MB | how it was tried |
| --- | ---: | --- |
${packages.map(({ name, file, tried }) => `| ${name} | ${megabytes(file).toFixed(1)} | ${tried} |`).join('\n')}

Budget ${BUDGET_MB} MB: ${verdict(largest <= BUDGET_MB)}. Installed from the Debian package: ${installedSize(deb.file).toFixed(0)} MB, most of it Node.`
const text = readFileSync(DOCUMENT, 'utf8')
writeFileSync(DOCUMENT, between(text, content, 'npm run package:figures'))
console.log(content)
