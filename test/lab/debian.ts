import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { type Lab, labMissing } from './lab.ts'

const BOOT = new URL('./boot', import.meta.url).pathname
const CHECKOUT = new URL('../..', import.meta.url).pathname.replace(/\/$/, '')
/** Making a Debian downloads it. */
const MAKING = 600_000
const BOOTING = 60_000
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`

/** A sentence that says what booting a Debian lacks on this machine, or undefined. */
export function debianMissing(): string | undefined {
  return labMissing(['debootstrap', 'systemd-nspawn', 'nsenter', 'flock', 'apt-get'])
}

/** The root folder of a Debian with these packages; made once for a machine, and never changed by what boots it. */
export async function debianRoot(packages: readonly string[] = []): Promise<string> {
  const key = createHash('sha256')
    .update(['bookworm', ...packages].join())
    .digest('hex')
    .slice(0, 12)
  const root = join(tmpdir(), `partyline-debian-${key}`)
  const { code, stdout, stderr } = await run(['make', root, ...packages], {}, MAKING)
  if (code !== 0) throw new Error(`a Debian could not be made: ${stdout}${stderr}`)
  return root
}

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A lab host that runs a whole Debian, with this checkout at `/opt/partyline` and its Node at `/opt/node`. */
export class Debian implements AsyncDisposable {
  readonly host: string
  readonly #env: NodeJS.ProcessEnv
  readonly #options: readonly string[]

  private constructor(host: string, env: NodeJS.ProcessEnv, options: readonly string[]) {
    this.host = host
    this.#env = env
    this.#options = options
  }

  /** Boots it, and returns when systemd has started everything. `options` are systemd-nspawn's. */
  static async boot(lab: Lab, host: string, root: string, options: readonly string[] = []): Promise<Debian> {
    const env = { LAB: basename(lab.folder), LAB_HOME: dirname(lab.folder) }
    const binds = [`--bind-ro=${CHECKOUT}:/opt/partyline`, `--bind-ro=${process.execPath}:/opt/node`]
    const debian = new Debian(host, env, [root, ...binds, ...options])
    await debian.#start()
    return debian
  }

  /** Runs a program in it as root, to its end. */
  exec(command: readonly string[], timeout = 60_000): Promise<Ended> {
    return run(['exec', this.host, ...command], this.#env, timeout)
  }

  /** Runs shell commands in it as root; rejects with what they printed when the last one fails. */
  async sh(script: string, timeout = 60_000): Promise<string> {
    const { code, stdout, stderr } = await this.exec(['sh', '-c', script], timeout)
    if (code !== 0) throw new Error(`${this.host}: ${script}: exit code ${code}\n${stdout}${stderr}`)
    return stdout.trimEnd()
  }

  /** Shuts it down and boots it again; what was changed in it is kept. */
  async reboot(): Promise<void> {
    await run(['stop', this.host], this.#env, BOOTING)
    await this.#start()
  }

  async #start(): Promise<void> {
    const { code, stdout, stderr } = await run(['start', this.host, ...this.#options], this.#env, BOOTING)
    if (code !== 0) throw new Error(`${this.host} does not boot: ${stdout}${stderr}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(['stop', this.host], this.#env, BOOTING)
  }
}

function run(args: readonly string[], env: NodeJS.ProcessEnv, timeout: number): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env, PATH }, timeout, maxBuffer: 64 * 1024 * 1024 }
    execFile(BOOT, args, options, (error, stdout, stderr) =>
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr }),
    )
  })
}
