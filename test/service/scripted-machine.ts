import { readFile } from 'node:fs/promises'
import type { Ended, Machine } from '../../cli/service/machine.ts'

const PACKAGING = new URL('../../packaging/', import.meta.url)

/** A machine whose programs answer what a test says, and whose files are in memory. */
export class ScriptedMachine implements Machine {
  readonly platform: NodeJS.Platform
  readonly uid: number
  readonly userName = 'anna'
  readonly userHome: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Every program that was run, with its arguments. */
  readonly ran: string[] = []
  readonly files = new Map<string, string>()
  readonly accepting = new Set<string>()
  /** What programs answer, by how their line begins; the first that fits. */
  answers: readonly (readonly [string, Partial<Ended>])[] = []

  constructor({ platform = 'linux', uid = 0, env = {} }: Partial<Pick<Machine, 'platform' | 'uid' | 'env'>> = {}) {
    this.platform = platform
    this.uid = uid
    this.env = env
    this.userHome = platform === 'darwin' ? '/Users/anna' : platform === 'win32' ? 'C:\\Users\\anna' : '/home/anna'
    if (platform === 'linux') this.files.set('/run/systemd/system', '')
  }

  run = async (program: string, args: readonly string[]): Promise<Ended> => {
    const line = [program, ...args].join(' ')
    this.ran.push(line)
    const [, answer] = this.answers.find(([begin]) => line.startsWith(begin)) ?? []
    return { code: 0, stdout: '', stderr: '', ...answer }
  }

  show = async (program: string, args: readonly string[]): Promise<void> => {
    this.ran.push([program, ...args].join(' '))
  }

  exists = (path: string): boolean => this.files.has(path)

  template = (path: string): Promise<string> => readFile(new URL(path, PACKAGING), 'utf8')

  write = async (path: string, text: string | Buffer): Promise<void> => {
    this.files.set(path, typeof text === 'string' ? text : text.toString('utf16le'))
  }

  remove = async (path: string): Promise<void> => {
    this.files.delete(path)
  }

  removeEmpty = async (folder: string): Promise<void> => void this.ran.push(`rmdir ${folder}`)

  accepts = async (path: string): Promise<boolean> => this.accepting.has(path)
}
