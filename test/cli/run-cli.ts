import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The program itself. */
export const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface RunOptions {
  readonly input?: string | Buffer
  readonly env?: Record<string, string>
}

/** The command as a process of its own. */
export function startCli(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const { PARTYLINE_HOME: _, NO_COLOR: __, FORCE_COLOR: ___, ...inherited } = process.env
  return spawn(process.execPath, [MAIN, ...args], { env: { ...inherited, ...env } })
}

/** Runs the command to its end. */
export async function runCli(args: readonly string[], { input = '', env = {} }: RunOptions = {}): Promise<Ended> {
  const child = startCli(args, env)
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  const [code] = await once(child, 'close')
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }
}
