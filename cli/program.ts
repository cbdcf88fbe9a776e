import { CommanderError, Command as Parser } from 'commander'
import { EXIT, PartylineError, toPartylineError } from '../daemon/errors.ts'
import { VERSION } from '../daemon/version.ts'
import { connect } from '../ipc/client.ts'
import type { Command, Context } from './command.ts'
import { commands, groups } from './commands.ts'
import { createPaint, printable } from './format.ts'

interface GlobalOptions {
  readonly home?: string
  readonly json?: boolean
  readonly color?: boolean
}

/** A package that `conf` brings sends this process every first signal again, at once; so soon (in milliseconds), it is no second one. */
const ECHO = 250

/** Runs the command that `process.argv` names, and sets `process.exitCode`. */
export async function runProgram(process: NodeJS.Process): Promise<void> {
  const interrupt = new AbortController()
  let first = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      first ||= performance.now()
      // A second one means it.
      if (interrupt.signal.aborted && performance.now() - first > ECHO) process.exit(EXIT.failed)
      interrupt.abort()
    })
  // Whoever started this host for a while is gone.
  process.once('disconnect', () => interrupt.abort())
  process.channel?.unref()
  // Whoever reads our output may stop reading, as `head` does.
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) =>
    process.exit(code === 'EPIPE' ? EXIT.done : EXIT.failed),
  )
  process.stderr.on('error', () => {})

  const json = process.argv.includes('--json')
  try {
    await buildParser(process, interrupt.signal).parseAsync(process.argv)
  } catch (error) {
    // Help and version that were asked for.
    if (error instanceof CommanderError && error.exitCode === 0) return
    process.exitCode =
      interrupt.signal.aborted && !(error instanceof PartylineError)
        ? EXIT.failed
        : report(process, error instanceof CommanderError ? usageError(error) : error, json)
  }
}

function buildParser(process: NodeJS.Process, signal: AbortSignal): Parser {
  const program = addGlobals(new Parser('partyline'))
    .description('Finds the hosts on your network and connects your programs to theirs. No internet, no account.')
    .version(VERSION, '--version', 'print the version')
  const parents = new Map(
    groups.map(({ name, about, example }) => [
      name,
      program.command(name).description(about).addHelpText('after', `\nExample:\n  ${example}`),
    ]),
  )
  for (const command of commands) {
    const [first = ''] = command.name.split(' ')
    const parser = define(parents.get(first) ?? program, command)
    // A command of one word may have others below it: `invite`, `invite list`.
    if (first === command.name) parents.set(first, parser)
    parser.action(async () => {
      const options = parser.optsWithGlobals<GlobalOptions & Record<string, string | boolean>>()
      // The default of an outer `--no-color` must not win over an inner one that was given.
      const color = program.opts().color !== false && parser.opts().color !== false
      const context = createContext(process, signal, { ...options, color })
      process.exitCode = (await command.run(context, { args: parser.args, options })) ?? EXIT.done
    })
  }
  // Errors are told in one way, by `report`.
  for (const parser of [program, ...program.commands, ...program.commands.flatMap((group) => group.commands)])
    parser.exitOverride().configureOutput({ outputError: () => {} })
  return program
}

function define(parent: Parser, command: Command): Parser {
  const name = command.name.split(' ').at(-1) ?? ''
  const parser = parent.command(`${name} ${command.arguments}`.trim()).description(command.about)
  for (const option of command.options ?? []) parser.option(option.flags, option.about, option.default)
  return addGlobals(parser).addHelpText('after', `\nExample:\n  ${command.example}`)
}

/** Options that every command takes, before or behind its name. */
function addGlobals(parser: Parser): Parser {
  return parser
    .option('--home <folder>', 'the folder that holds everything of the daemon')
    .option('--json', 'print JSON for machines')
    .option('--no-color', 'no colours')
}

function createContext(
  { stdin, stdout, stderr, env }: NodeJS.Process,
  signal: AbortSignal,
  { home, json = false, color = true }: GlobalOptions,
): Context {
  return {
    json,
    home,
    paint: createPaint(stdout, env, color && !json),
    stdin,
    stdout,
    stderr,
    env,
    signal,
    connect: (options = {}) => connect({ app: 'partyline-cli', home, ...options }),
    say: (text) => {
      if (!json) stdout.write(`${text}\n`)
    },
    emit: (value) => {
      if (json) stdout.write(`${JSON.stringify(value)}\n`)
    },
  }
}

/** What commander has to say, in our words. */
function usageError({ code, message }: CommanderError): PartylineError {
  const shown =
    code === 'commander.help' ? 'no command was given' : message.replace(/^error: /, '').replace(/\s+/g, ' ')
  return new PartylineError('usage.invalid-argument', shown)
}

/** One line: what failed, why, what to do; as an object with --json. */
function report({ stdout, stderr }: NodeJS.Process, thrown: unknown, json: boolean): number {
  const error = toPartylineError(thrown)
  const { code, message, hint } = error
  const sentence = /[.!?]$/.test(message) ? message : `${message}.`
  if (json) stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`)
  else stderr.write(`partyline: ${printable([sentence, hint, `(${code})`].filter((part) => part !== '').join(' '))}\n`)
  return error.exit
}
