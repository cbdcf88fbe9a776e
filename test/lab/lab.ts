import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const LAB = new URL('./lab', import.meta.url).pathname
/** Where Debian keeps the programs of the lab, for shells whose path lacks it. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`
const CLI = new URL('../../cli/main.ts', import.meta.url).pathname

/**
 * A sentence that says what the lab lacks on this machine, or undefined when it can run. `python3:NAME` is a module of Debian's
 * Python, others are programs.
 */
export function labMissing(programs: readonly string[] = []): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const missing = ['ip', 'nft', '/usr/bin/python3', 'unshare', ...programs].filter((program) => !isInstalled(program))
  if (missing.length > 0) return `${missing.join(', ')} not installed`
  try {
    const probe = ['-c', 'ip netns add "$0" && ip netns del "$0"', `labprobe-${process.pid}`]
    execFileSync('sh', probe, { stdio: 'ignore', env: { PATH } })
  } catch {
    return 'this machine does not permit network namespaces'
  }
  return undefined
}

function isInstalled(program: string): boolean {
  const [, module] = program.split('python3:')
  try {
    if (module) execFileSync('/usr/bin/python3', ['-c', `import ${module}`], { stdio: 'ignore' })
    else execFileSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore', env: { PATH } })
    return true
  } catch {
    return false
  }
}

/** See README.md. */
type Topology = 'lan' | 'lan-multi' | 'isolated' | 'lossy' | 'nat-pair' | 'two-homes' | 'upnp' | 'cgnat'

export interface LabOptions {
  /** Hosts of a `lan`, 3 unless told. */
  readonly n?: number
  readonly ip?: '4' | '6' | '46'
  /** The switch drops multicast. */
  readonly nomcast?: boolean
  /** Link-local addresses only, as on a LAN without DHCP. */
  readonly zeroconf?: boolean
  /** Slow links: `h2:delay=40,loss=5`. */
  readonly wire?: readonly string[]
  /** Kinds of NAT of home a, home b and the carrier: `eim`, `sym`, … */
  readonly a?: string
  readonly b?: string
  /** A third home, on `nat-pair` and `two-homes`. */
  readonly c?: string
  readonly cgn?: string
  /** Both homes use the same private addresses. */
  readonly samePrefix?: boolean
}

/** What a command gave back. */
interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A brace that closes a table or a chain, where nft insists on a new line; not one of a set within a rule. */
const END_OF_BLOCK = /\}(?=\s*(\}|table\b|chain\b|set\b|map\b|$))/g

/** A small network of its own. */
export class Lab implements AsyncDisposable {
  readonly #env: NodeJS.ProcessEnv
  readonly #children = new Set<ChildProcess>()
  /** Holds the lab for as long as this process lives, and takes it down however that one ends. */
  readonly #holder: ChildProcess
  #gone: Promise<void> | undefined
  /** For files of a test; goes with the lab. */
  readonly folder: string

  private constructor(env: NodeJS.ProcessEnv, folder: string, holder: ChildProcess) {
    this.#env = env
    this.folder = folder
    this.#holder = holder
  }

  static async up(topology: Topology, options: LabOptions = {}): Promise<Lab> {
    const name = `t${randomBytes(4).toString('hex')}`
    const home = join(tmpdir(), 'netlab')
    const env = { ...process.env, PATH, LAB: name, LAB_HOME: home }
    // In a group of its own, so that Ctrl-C in a terminal does not end it along with the tests.
    const holder = spawn(LAB, ['hold', topology, ...argumentsOf(options)], { env, detached: true })
    let output = ''
    for (const stream of [holder.stdout, holder.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    await Promise.race([once(holder.stdout, 'data'), once(holder, 'close')])
    if (!output.includes(' up in ')) throw new Error(`lab up ${topology}: ${output}`)
    for (const handle of [holder, holder.stdin, holder.stdout, holder.stderr]) unreferenced(handle)
    return new Lab(env, join(home, name), holder)
  }

  /** Starts a program on a host; killing the child kills the program itself. */
  spawn(host: string, command: readonly string[]): ChildProcess {
    const child = spawn(LAB, ['exec', host, ...command], { env: this.#env, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** Gives programs that are started from now on a variable of the environment. */
  setEnvironment(name: string, value: string): void {
    this.#env[name] = value
  }

  /** Runs a program on a host to its end. */
  exec(host: string, command: readonly string[], options: { input?: string; timeout?: number } = {}): Promise<Ended> {
    return finish(this.spawn(host, command), options)
  }

  /** The `partyline` command on a host. */
  cli(host: string, args: readonly string[]): ChildProcess {
    return this.spawn(host, [process.execPath, CLI, ...args])
  }

  /** Pulls a host's network cable, or plugs it in. */
  async link(host: string, state: 'up' | 'down', device = 'eth0'): Promise<void> {
    await this.#run(['link', host, state, device])
  }

  /** Changes a slow link: delay and jitter in ms, loss and dup in percent, rate in kbit/s. */
  async wire(host: string, change: Readonly<Record<string, number>>): Promise<void> {
    await this.#run(['wire', host, ...Object.entries(change).map(([key, value]) => `${key}=${value}`)])
  }

  /** Plugs a host's cable into the switch of another home, where it has other addresses and another router. */
  async move(host: string, home: string, device = 'eth0'): Promise<void> {
    await this.#run(['move', host, home, device])
  }

  /** Makes a router one of another kind, which keeps a hole open for so many seconds; what it knew is forgotten. */
  async nat(router: string, kind: string, seconds = 120): Promise<void> {
    await this.#run(['nat', router, kind, String(seconds)])
  }

  /** Makes a router forget all its mappings and holes, or those towards some addresses. */
  async forget(router: string, addresses: readonly string[] = []): Promise<void> {
    await this.#run(['forget', router, ...addresses])
  }

  /** Makes a router drop all that goes to some addresses and comes from there, through open holes too. */
  async block(router: string, addresses: readonly string[]): Promise<void> {
    await this.#run(['block', router, ...addresses])
  }

  /** Lets through again what `block` stopped: all of it, or what concerns some addresses. */
  async unblock(router: string, addresses: readonly string[] = []): Promise<void> {
    await this.#run(['unblock', router, ...addresses])
  }

  /** Starts a service of `svc/` and returns when it is ready. */
  async svc(host: string, name: string, ...args: readonly string[]): Promise<void> {
    await this.#run(['svc', host, name, ...args])
  }

  /** Loads packet filter rules on a node; a switch has tables of family `bridge`. */
  async nft(node: string, rules: string): Promise<void> {
    const { code, stderr } = await this.exec(node, ['nft', '-f', '-'], { input: rules.replaceAll(END_OF_BLOCK, '}\n') })
    if (code !== 0) throw new Error(`nft on ${node}: ${stderr}`)
  }

  /** Ends what runs in the lab and removes it. Safe to call twice. */
  down(): Promise<void> {
    this.#gone ??= this.#end()
    return this.#gone
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.down()
  }

  async #end(): Promise<void> {
    await Promise.all([...this.#children].map((child) => ended(child, 'SIGKILL')))
    this.#holder.ref()
    this.#holder.stdin?.end()
    await ended(this.#holder)
    if (this.#holder.exitCode !== 0) await this.#run(['down'])
  }

  async #run(args: readonly string[]): Promise<void> {
    const { code, stdout, stderr } = await finish(spawn(LAB, args, { env: this.#env }))
    if (code !== 0) throw new Error(`lab ${args.join(' ')}: ${stdout}${stderr}`)
  }
}

function argumentsOf({ n, wire = [], nomcast, zeroconf, samePrefix, ...named }: LabOptions): readonly string[] {
  return [
    ...(n === undefined ? [] : ['-n', String(n)]),
    ...(nomcast ? ['--nomcast'] : []),
    ...(zeroconf ? ['--zeroconf'] : []),
    ...(samePrefix ? ['--same-prefix'] : []),
    ...wire.flatMap((link) => ['--wire', link]),
    ...Object.entries(named).flatMap(([name, value]) => [`--${name}`, value]),
  ]
}

/** Lets this process end although the child, or a pipe to it, is there. */
function unreferenced(handle: object): void {
  if ('unref' in handle && typeof handle.unref === 'function') handle.unref()
}

/** Sends a signal, if there is one, and resolves when the child has ended. */
async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  if (signal) child.kill(signal)
  await gone
}

async function finish(
  child: ChildProcess,
  { input, timeout = 30_000 }: { input?: string; timeout?: number } = {},
): Promise<Ended> {
  const output = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
  })
  // A program may end without reading what it is given.
  child.stdin?.on('error', () => {}).end(input)
  const patience = setTimeout(() => child.kill('SIGKILL'), timeout)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(patience)
  return { code, ...output }
}

/** A daemon that runs on a lab host. */
export interface LabDaemon {
  readonly id: string
  readonly port: number
  /** Path of the socket for apps. */
  readonly socket: string
  readonly home: string
  /** The daemon's own process. */
  readonly child: ChildProcess
  /** What it logged so far, for failures. */
  log(): string
  /** Runs a `partyline` command of this daemon's home to its end. */
  cli(args: readonly string[], options?: { input?: string; timeout?: number }): Promise<Ended>
  /** SIGTERM, and its end. */
  stop(): Promise<void>
  /** SIGKILL, and its end. */
  kill(): Promise<void>
}

let homes = 0

export interface DaemonOptions {
  readonly args?: readonly string[]
  readonly home?: string
  /** What is run instead of this checkout. */
  readonly program?: readonly string[]
  /** What the file of settings says when it starts. */
  readonly settings?: Readonly<Record<string, string | number | boolean | readonly string[]>>
}

/** Starts `partyline daemon` on a host and waits until it accepts commands. */
export async function startDaemon(lab: Lab, host: string, options: DaemonOptions = {}): Promise<LabDaemon> {
  const home = options.home ?? join(lab.folder, `${host}-${homes++}`)
  if (options.settings) {
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, 'config.json'), JSON.stringify(options.settings), { mode: 0o600 })
  }
  const program = options.program ?? [process.execPath, CLI]
  const run = (args: readonly string[]) => lab.spawn(host, [...program, ...args, '--home', home])
  const child = run(['daemon', ...(options.args ?? [])])
  const { stdout, stderr } = child
  if (!stdout || !stderr) throw new Error('the daemon has no output')
  let log = ''
  stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-100_000)
  })
  const closed = once(child, 'close')
  for await (const line of createInterface(stdout)) {
    const [, id, port, socket] = /^partyline ready id=(\w+) port=(\d+) socket=(.+)$/.exec(line) ?? []
    if (!id || !socket) continue
    stdout.resume()
    return {
      id,
      port: Number(port),
      socket,
      home,
      child,
      log: () => log,
      cli: (args, how) => finish(run(args), how),
      stop: () => ended(child, 'SIGTERM'),
      kill: () => ended(child, 'SIGKILL'),
    }
  }
  await closed
  throw new Error(`the daemon on ${host} ended before it was ready: ${log}`)
}
