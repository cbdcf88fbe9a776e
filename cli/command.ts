import type { Client } from '../ipc/index.ts'
import type { Paint } from './format.ts'

/** What a command is given to work with. */
export interface Context {
  /** `--json`: for machines. */
  readonly json: boolean
  readonly home: string | undefined
  readonly paint: Paint
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly env: NodeJS.ProcessEnv
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  /** Connects to the daemon; `control` on the owner's socket, `reconnect` to survive its restart. */
  connect(options?: { control?: boolean; reconnect?: boolean }): Promise<Client>
  /** One line for people, with --json nothing. */
  say(text: string): void
  /** One object a line, without --json nothing. */
  emit(value: unknown): void
}

/** An option of a command, as `commander` writes it. */
interface CommandOption {
  readonly flags: string
  readonly about: string
  readonly default?: string
}

/** What a command was given on its line. */
export interface Given {
  /** Arguments in order; a variadic one is the rest. */
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
}

/** Commands of two words with the same first one: `config`, `hub`. */
export interface CommandGroup {
  readonly name: string
  /** One sentence. */
  readonly about: string
  readonly example: string
}

/** A command, declared once: parsing, help, completion and the reference come from here. */
export interface Command {
  /** `peers`, `config set`. */
  readonly name: string
  /** `<peer> [path...]`; empty for none. */
  readonly arguments: string
  /** One sentence. */
  readonly about: string
  readonly options?: readonly CommandOption[]
  readonly example: string
  /** What `--json` prints; empty where it prints nothing. */
  readonly json: string
  /** The exit code; 0 where it gives none. */
  run(context: Context, given: Given): Promise<number | undefined> | Promise<void>
}

/** An argument that commander has made sure is there. */
export function arg(given: Given, index: number): string {
  return given.args[index] ?? ''
}

/** An option's text, undefined where it was not given. */
export function text(given: Given, name: string): string | undefined {
  const value = given.options[name]
  return typeof value === 'string' ? value : undefined
}
