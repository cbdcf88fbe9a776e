import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeOf, runtimeFor, type Target } from './runtime.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** What packages carry that a running program never reads. */
const LITTER =
  /^(?:\..*|.*\.(?:d\.[cm]?ts|map|bare|md|markdown|flow|ts|mts|cts|c|cc|h|gyp|gypi)|tests?|__tests__|spec|docs?|examples?|CMakeLists\.txt|tsconfig\.json)$/i
const KEPT = /^(?:licen[cs]e|copying|notice)/i

interface Manifest {
  readonly name: string
  readonly version: string
  readonly description: string
}

export const manifest = (): Manifest => JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest

/** Seconds since 1970 that all files of packages carry: `SOURCE_DATE_EPOCH`, or the time of the last change of the sources. */
export function sourceDate(): number {
  const given = Number(process.env.SOURCE_DATE_EPOCH)
  if (Number.isInteger(given) && given > 0) return given
  return Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' }).trim())
}

/** The file name of a portable archive. */
export const archiveName = (version: string, target: Target): string =>
  `partyline-${version}-${target}.${target === 'win32-x64' ? 'zip' : 'tar.gz'}`

/**
 * Compiles the sources and gets the packages they need, for every target. The folder that is returned is the caller's own, to remove, also where
 * two do this at once.
 */
export function prepare(): string {
  const folder = mkdtempSync(join(tmpdir(), 'partyline-program-'))
  const build = 'npm run --silent build && cp -a dist "$0"/'
  execFileSync('flock', [join(ROOT, 'packaging'), 'sh', '-c', build, folder], { cwd: ROOT, stdio: 'inherit' })
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(ROOT, name), join(folder, name))
  cpSync(join(ROOT, 'packaging/reconnect-core'), join(folder, 'packaging/reconnect-core'), { recursive: true })
  execFileSync('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], { cwd: folder })
  for (const name of ['package-lock.json', 'packaging']) rmSync(join(folder, name), { recursive: true, force: true })
  // What is executed, and what npm would want to know of it.
  const { name, version, type } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify({ name, version, type }, undefined, 2)}\n`)
  return folder
}

/**
 * Puts all that runs on a target into `folder`: of what was prepared the compiled program and packages with the native parts of that target only,
 * and a Node runtime. Nothing in it has to be installed or built.
 */
export function stageProgram(prepared: string, folder: string, target: Target): void {
  cpSync(prepared, folder, { recursive: true, verbatimSymlinks: true })
  for (const part of ['dist', 'node_modules']) prune(join(folder, part), target)
  const runtime = runtimeFor(target)
  mkdirSync(join(folder, 'bin'))
  copyFileSync(join(runtime, nodeOf(target)), join(folder, nodeOf(target)))
  // Not every runtime's package has it.
  for (const from of [runtime, runtimeFor('linux-x64')])
    if (existsSync(join(from, 'LICENSE'))) {
      copyFileSync(join(from, 'LICENSE'), join(folder, 'bin', 'LICENSE.node'))
      break
    }
}

/** Gives every file the same time and mode, so that the same sources make the same bytes; `isProgram`: to be executed, by its path. */
export function settle(folder: string, seconds: number, isProgram: (path: string) => boolean): void {
  for (const name of readdirSync(folder).toSorted()) {
    const path = join(folder, name)
    const stats = lstatSync(path)
    if (stats.isDirectory()) settle(path, seconds, isProgram)
    else if (!stats.isSymbolicLink()) chmodSync(path, isProgram(path) ? 0o755 : 0o644)
    lutimesSync(path, seconds, seconds)
  }
  chmodSync(folder, 0o755)
  lutimesSync(folder, seconds, seconds)
}

/** Removes what never runs: other platforms' native parts, types, tests and documents of packages. */
function prune(folder: string, target: Target): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.name === '.bin' || (LITTER.test(entry.name) && !KEPT.test(entry.name) && !isPackage(path)))
      rmSync(path, { recursive: true, force: true })
    else if (entry.name === 'prebuilds') {
      for (const platform of readdirSync(path))
        if (platform === target) prune(join(path, platform), target)
        else rmSync(join(path, platform), { recursive: true })
    } else if (entry.isDirectory()) prune(path, target)
  }
}

/** Some packages are called like what is litter elsewhere. */
const isPackage = (path: string): boolean => existsSync(join(path, 'package.json'))
