/**
 * `try-install.ts FOLDER`: checks a package that was installed into FOLDER from a packed tarball: the command starts a daemon there,
 * answers, stops, and the SDK and the hub load. Exits non-zero with the reason otherwise.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [folder = '.'] = process.argv.slice(2)
const program = join(folder, 'node_modules/partyline/dist/cli/main.js')
const home = mkdtempSync(join(tmpdir(), 'partyline-try-'))
const command = (...args: string[]): string =>
  execFileSync(process.execPath, [program, ...args, '--home', home], { cwd: folder, encoding: 'utf8' })

const daemon = spawn(process.execPath, [program, 'daemon', '--home', home], { stdio: ['ignore', 'pipe', 'inherit'] })
const [ready] = await once(createInterface(daemon.stdout), 'line')
if (!String(ready).startsWith('partyline ready id=')) throw new Error(`the daemon said: ${ready}`)

const status = JSON.parse(command('status', '--json')) as { id: string }
if (!String(ready).includes(status.id)) throw new Error('status tells of another host')
const sdk = "import('partyline').then(async (p) => { const c = await p.connect({ home: process.argv[1], app: 'try' });"
const answer = `${sdk} console.log((await c.call('identity.get', {})).id); await c.close() })`
const id = execFileSync(process.execPath, ['--input-type=module', '-e', answer, home], {
  cwd: folder,
  encoding: 'utf8',
})
if (id.trim() !== status.id) throw new Error('the SDK reached another host')

// What the hub is built on comes inside the package: npm could not install it for anybody.
const module = pathToFileURL(join(folder, 'node_modules/partyline/dist/daemon/hub/xmpp-server.js')).href
if (existsSync(join(folder, 'node_modules/node-xmpp-server'))) throw new Error('node-xmpp-server was installed')
const hub = "import(process.argv[1]).then((m) => { new m.XmppServer({ domain: 'hub.local', newId: () => '' }) })"
execFileSync(process.execPath, ['--input-type=module', '-e', hub, module], { cwd: folder })

const stopped = once(daemon, 'exit')
daemon.kill('SIGTERM')
const [code] = await stopped
if (code !== 0) throw new Error(`the daemon ended with ${code}`)
console.log('the packed tarball installs, starts, answers and stops')
