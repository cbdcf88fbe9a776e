import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const LAB = new URL('./lab', import.meta.url).pathname
const CLI = new URL('../../cli/main.ts', import.meta.url).pathname

/** A sentence that says what the lab lacks on this machine, or undefined when it can run. */
export function labMissing(programs: readonly string[] = []): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const missing = ['ip', 'nft', 'python3', 'unshare', ...programs].filter((program) => !isInstalled(program))
  if (missing.length > 0) return `${missing.join(', ')} not installed`
  try {
    const probe = `labprobe-${process.pid}`
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'ignore' })
    execFileSync('ip', ['netns', 'del', probe], { stdio: 'ignore' })
  } catch {
    return 'this machine does not permit network namespaces'
  }
  return undefined
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], {
      stdio: 'ignore',
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    })
    return true
  } catch {
    return false
  }
}

export interface LabOptions {
  /** Hosts of a `lan`. */
  readonly n?: number
  readonly ip?: '4' | '6' | '46'
  /** The switch drops multicast. */
  readonly nomcast?: boolean
  /** Link-local addresses only, as on a LAN without DHCP. */
  readonly zeroconf?: boolean
  /** Slow links: `h2:delay=40,loss=5`. */
  readonly wire?: readonly string[]
}

/** What a command gave back. */
interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Labs of this process that are up, so that none is left behind however it ends. */
const standing = new Set<Lab>()
process.once('exit', () => {
  for (const lab of standing) lab.downNow()
})

/** A small network of its own. */
export class Lab implements AsyncDisposable {
  readonly #env: NodeJS.ProcessEnv
  readonly #children = new Set<ChildProcess>()
  readonly folder = mkdtempSync(join(tmpdir(), 'lab-'))

  private constructor() {
    this.#env = { ...process.env, LAB: `t${randomBytes(4).toString('hex')}`, LAB_HOME: join(this.folder, 'net') }
  }

  static async up(
    topology: 'lan' | 'lan-multi' | 'isolated',
    { n, ip, nomcast, zeroconf, wire = [] }: LabOptions = {},
  ): Promise<Lab> {
    const lab = new Lab()
    standing.add(lab)
    const options = [
      ...(n === undefined ? [] : ['-n', String(n)]),
      ...(ip === undefined ? [] : ['--ip', ip]),
      ...(nomcast ? ['--nomcast'] : []),
      ...(zeroconf ? ['--zeroconf'] : []),
      ...wire.flatMap((link) => ['--wire', link]),
    ]
    await lab.#run(['up', topology, ...options])
    return lab
  }

  /** Starts a program on a host; killing the child kills the program itself. */
  spawn(host: string, command: readonly string[]): ChildProcess {
    const child = spawn(LAB, ['exec', host, ...command], { env: this.#env, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
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

  /** Starts a service of `svc/` and returns when it is ready. */
  async svc(host: string, name: string): Promise<void> {
    await this.#run(['svc', host, name])
  }

  /** Loads packet filter rules on a node; a switch has tables of family `bridge`. */
  async nft(node: string, rules: string): Promise<void> {
    const { code, stderr } = await this.exec(node, ['nft', '-f', '-'], { input: rules.replaceAll('}', '}\n') })
    if (code !== 0) throw new Error(`nft on ${node}: ${stderr}`)
  }

  async down(): Promise<void> {
    if (!standing.delete(this)) return
    await Promise.all(
      [...this.#children].map(async (child) => {
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      }),
    )
    await this.#run(['down'])
    rmSync(this.folder, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.down()
  }

  /** The same at once, for a process that is about to end. */
  downNow(): void {
    execFileSync(LAB, ['down'], { env: this.#env, stdio: 'ignore' })
  }

  async #run(args: readonly string[]): Promise<void> {
    const { code, stdout, stderr } = await finish(spawn(LAB, args, { env: this.#env }))
    if (code !== 0) throw new Error(`lab ${args.join(' ')}: ${stdout}${stderr}`)
  }
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
  child.stdin?.end(input)
  const patience = setTimeout(() => child.kill('SIGKILL'), timeout)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(patience)
  return { code, ...output }
}

/** A daemon that runs on a lab host. */
export interface LabDaemon {
  readonly id: string
  readonly port: number
  readonly home: string
  /** What it logged so far, for failures. */
  log(): string
  /** SIGTERM, and its end. */
  stop(): Promise<void>
  /** SIGKILL, and its end. */
  kill(): Promise<void>
}

let homes = 0

/** Starts `partyline daemon` on a host and waits until it accepts commands. */
export async function startDaemon(
  lab: Lab,
  host: string,
  options: { args?: readonly string[]; home?: string } = {},
): Promise<LabDaemon> {
  const home = options.home ?? join(lab.folder, `${host}-${homes++}`)
  const child = lab.cli(host, ['daemon', '--home', home, ...(options.args ?? [])])
  let log = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-100_000)
  })
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
  if (!child.stdout) throw new Error('the daemon has no output')
  for await (const line of createInterface(child.stdout)) {
    const ready = /^partyline ready id=(\w+) port=(\d+) /.exec(line)
    if (ready)
      return {
        id: ready[1] ?? '',
        port: Number(ready[2]),
        home,
        log: () => log,
        stop: () => end('SIGTERM'),
        kill: () => end('SIGKILL'),
      }
  }
  throw new Error(`the daemon on ${host} ended before it was ready: ${log}`)
}
