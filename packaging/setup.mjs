/**
 * Makes a checkout ready, with whatever Node (18 or later) and npm are at hand: installs the packages when they are missing or older than
 * the lock file, and makes sure the project's own Node 24 is there. Quick when nothing is to do; safe when several run at once.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, 'node_modules')
const mark = join(modules, '.partyline-setup')
const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
const windows = process.platform === 'win32'

const read = (path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** The version of the project's own Node, or undefined. */
function nodeVersion() {
  const result = spawnSync(join(modules, '.bin', windows ? 'node.cmd' : 'node'), ['--version'], {
    encoding: 'utf8',
    shell: windows,
  })
  return /^v(2[4-9]|[3-9]\d)\./.test(result.stdout ?? '') ? result.stdout.trim() : undefined
}

function npm(...args) {
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error']
  const result = spawnSync(windows ? 'npm.cmd' : 'npm', [...args, ...quiet], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: windows,
  })
  if (result.status !== 0) {
    console.error(`partyline: npm ${args[0]} failed; is the npm registry reachable?`)
    process.exit(1)
  }
}

/** npm may decline to run the script by which the package "node" fetches its binary: then the binary's own package is taken. */
function fetchNode() {
  const wanted = JSON.parse(lock).packages['node_modules/node'].version
  const name = `node-${windows ? 'win' : process.platform}-${process.arch}`
  npm('install', '--no-save', '--no-package-lock', '--ignore-scripts', `${name}@${wanted}`)
  const binary = join(modules, name, 'bin', windows ? 'node.exe' : 'node')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  const place = join(modules, '.bin', windows ? 'node.exe' : 'node')
  rmSync(place, { force: true })
  symlinkSync(binary, place)
}

/** Only one set-up at a time; the others wait for it, and find nothing to do. */
function locked(task) {
  const guard = join(root, '.setup-lock')
  for (let waited = 0; ; waited++) {
    try {
      mkdirSync(guard)
      break
    } catch {
      // One that a killed set-up left is taken over after ten minutes.
      const age = Date.now() - (statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
      if (age > 600_000) rmSync(guard, { recursive: true, force: true })
      if (waited === 0) console.log('partyline: waiting for another set-up to finish')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
    }
  }
  try {
    task()
  } finally {
    rmSync(guard, { recursive: true, force: true })
  }
}

const isReady = () => read(mark) === lock && nodeVersion() !== undefined

if (!isReady())
  locked(() => {
    if (isReady()) return
    console.log('partyline: installing packages (once; about a minute)')
    npm('ci')
    if (nodeVersion() === undefined) fetchNode()
    const version = nodeVersion()
    if (version === undefined) {
      console.error('partyline: Node 24 could not be set up; install it by hand and run again')
      process.exit(1)
    }
    writeFileSync(mark, lock)
    console.log(`partyline: ready, with Node ${version}`)
  })
