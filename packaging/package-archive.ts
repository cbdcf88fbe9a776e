/**
 * `npm run package:archive [-- --target linux-x64 --out FOLDER --level 1]`: builds `build/partyline-VERSION-TARGET.tar.gz` (`.zip` for Windows), for
 * all targets unless one is told: a folder that runs where it is unpacked. The same sources make the same bytes.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { commands, groups } from '../cli/commands.ts'
import { completionScript } from '../cli/completion.ts'
import { runtimeVersion, TARGETS, type Target } from './build/runtime.ts'
import { archiveName, manifest, prepare, settle, sourceDate, stageProgram } from './build/stage.ts'
import { manPage } from './man.ts'

const HERE = fileURLToPath(new URL('./', import.meta.url))
const ROOT = join(HERE, '..')
/** What was done with archives that nobody has run where they belong. */
const EMULATED: readonly Target[] = ['linux-arm64']
const UNTRIED: readonly Target[] = ['darwin-x64', 'darwin-arm64', 'win32-x64']

const { values } = parseArgs({
  options: {
    target: { type: 'string', multiple: true, default: [...TARGETS] },
    out: { type: 'string', default: join(ROOT, 'build') },
    level: { type: 'string', default: '9' },
  },
})
const unknown = values.target.find((one) => !(TARGETS as readonly string[]).includes(one))
if (unknown) throw new Error(`--target is one of ${TARGETS.join(', ')}, not ${unknown}`)

const { version } = manifest()
const seconds = sourceDate()
const work = mkdtempSync(join(tmpdir(), 'partyline-archive-'))

/** How an archive was tested, for whoever is about to trust it. */
function tried(target: Target): string {
  if (UNTRIED.includes(target))
    return `This archive has NOT been run on ${target}: it is built with care on another system, and its binaries are checked to be of
the right kind, no more. Tell us how it goes.`
  if (EMULATED.includes(target))
    return `This archive is unpacked and run by the tests of the project in an emulator (QEMU), not yet on ${target} itself.`
  return 'This archive is unpacked and run by the tests of the project.'
}

/** What tells a person how to use it. */
function readme(target: Target): string {
  const isWindows = target === 'win32-x64'
  const values: Readonly<Record<string, string>> = {
    VERSION: version,
    TARGET: target,
    COMMAND: isWindows ? 'partyline' : './partyline',
    NODE: runtimeVersion(target),
    LINK: isWindows
      ? 'To have the command everywhere, add this folder to the Path of your account.'
      : 'To have the command everywhere, link it: ln -s "$PWD/partyline" ~/.local/bin/',
    TRIED: tried(target),
  }
  const text = readFileSync(join(HERE, 'archive/README.txt'), 'utf8').replaceAll(
    /@([A-Z]+)@/g,
    (_, name) => values[name] ?? '',
  )
  return isWindows ? text.replaceAll('\n', '\r\n') : text
}

function lay(folder: string, target: Target): void {
  const put = (path: string, content: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  stageProgram(prepared, folder, target)
  // What `partyline service install` fills in.
  for (const kind of ['systemd', 'launchd', 'windows'])
    cpSync(join(HERE, kind), join(folder, 'packaging', kind), { recursive: true })
  for (const name of ['LICENSE', 'CHANGELOG.md', 'SECURITY.md']) copyFileSync(join(ROOT, name), join(folder, name))
  put('README.txt', readme(target))
  const launcher = target === 'win32-x64' ? 'partyline.cmd' : 'partyline'
  copyFileSync(join(HERE, 'archive', launcher), join(folder, launcher))
  if (target === 'win32-x64') return
  put('share/man/man1/partyline.1', manPage(version, new Date(seconds * 1000).toISOString().slice(0, 10)))
  const names = { bash: 'partyline.bash', zsh: '_partyline', fish: 'partyline.fish' }
  for (const [shell, name] of Object.entries(names))
    put(`share/completions/${name}`, completionScript(shell, commands, groups))
}

/** Packs a folder with names in order, one time, and nobody's ids. */
function pack(name: string, target: Target, file: string): void {
  if (target === 'win32-x64') {
    const paths = execFileSync('find', [name, '-type', 'f'], { cwd: work, encoding: 'utf8' })
      .trim()
      .split('\n')
      .toSorted()
    execFileSync('zip', ['-X', '-q', `-${values.level}`, '-@', file], {
      cwd: work,
      input: paths.join('\n'),
      env: { ...process.env, TZ: 'UTC' },
    })
    return
  }
  const tar = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu', '-cf', `${name}.tar`, name]
  execFileSync('tar', tar, { cwd: work })
  execFileSync('gzip', ['-n', `-${values.level}`, `${name}.tar`], { cwd: work })
  copyFileSync(join(work, `${name}.tar.gz`), file)
  rmSync(join(work, `${name}.tar.gz`))
}

const prepared = prepare()
try {
  mkdirSync(values.out, { recursive: true })
  for (const target of values.target as Target[]) {
    const name = `partyline-${version}-${target}`
    const folder = join(work, name)
    lay(folder, target)
    settle(folder, seconds, (path) => /\/(?:partyline|bin\/node)$/.test(path))
    const file = join(values.out, archiveName(version, target))
    if (existsSync(file)) rmSync(file)
    pack(name, target, file)
    chmodSync(file, 0o644)
    rmSync(folder, { recursive: true })
    console.log(file)
  }
} finally {
  for (const folder of [work, prepared]) rmSync(folder, { recursive: true, force: true })
}
