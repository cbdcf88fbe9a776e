#!/usr/bin/env node
/** The partyline command. */
import { CommanderError, Command as Parser } from 'commander'
import { EXIT, PartylineError, toPartylineError } from '../daemon/errors.ts'
import { connect } from '../ipc/client.ts'
import type { Command, Context } from './command.ts'
import { commands } from './commands.ts'
import { createPaint } from './format.ts'

const { stdin, stdout, stderr, env, argv } = process
const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    // A second one means it.
    if (interrupt.signal.aborted) process.exit(EXIT.failed)
    interrupt.abort()
  })
// Whoever reads our output may stop reading, as `head` does.
stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed))

interface GlobalOptions {
  readonly home?: string
  readonly json?: boolean
  readonly color?: boolean
}

function createContext({ home, json = false, color = true }: GlobalOptions): Context {
  return {
    json,
    home,
    paint: createPaint(stdout, env, color && !json),
    stdin,
    stdout,
    stderr,
    env,
    signal: interrupt.signal,
    connect: (options = {}) => connect({ app: 'partyline-cli', home, ...options }),
    say: (text) => {
      if (!json) stdout.write(`${text}\n`)
    },
    emit: (value) => {
      if (json) stdout.write(`${JSON.stringify(value)}\n`)
    },
  }
}

/** One line: what failed, why, what to do; as an object with --json. */
function report(thrown: unknown, json: boolean): number {
  const error = toPartylineError(thrown)
  const { code, message, hint } = error
  if (json) stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`)
  else stderr.write(`partyline: ${message.replaceAll('\n', ' ')}. ${hint} (${code})\n`.replace('.. ', '. '))
  return error.exit
}

function define(parent: Parser, command: Command): void {
  const name = command.name.split(' ').at(-1) ?? ''
  const parser = parent.command(`${name} ${command.arguments}`.trim()).description(command.about)
  for (const option of command.options ?? []) parser.option(option.flags, option.about, option.default)
  addGlobals(parser).addHelpText('after', `\nExample:\n  ${command.example}`)
  parser.action(async () => {
    const options = parser.optsWithGlobals<GlobalOptions & Record<string, string | boolean>>()
    try {
      process.exitCode = (await command.run(createContext(options), { args: parser.args, options })) ?? EXIT.done
    } catch (error) {
      process.exitCode =
        interrupt.signal.aborted && !(error instanceof PartylineError)
          ? EXIT.failed
          : report(error, options.json === true)
    }
  })
}

/** Options that every command takes, before or behind its name. */
function addGlobals(parser: Parser): Parser {
  return parser
    .option('--home <folder>', 'the folder that holds everything of the daemon')
    .option('--json', 'print JSON for machines')
    .option('--no-color', 'no colours')
}

function buildParser(): Parser {
  const program = addGlobals(new Parser('partyline'))
    .description('Finds the hosts on your network and connects your programs to theirs. No internet, no account.')
    .showHelpAfterError('Run `partyline --help`, or a command with --help.')
    .exitOverride()
  const config = program.command('config').description('Shows and changes settings.').exitOverride()
  for (const command of commands) define(command.name.startsWith('config ') ? config : program, command)
  for (const parser of [...program.commands, ...config.commands]) parser.exitOverride()
  return program
}

try {
  await buildParser().parseAsync(argv)
} catch (error) {
  // Commander has already said what is wrong, or shown the help that was asked for.
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
  if (argv.includes('--json') && error.exitCode !== 0)
    report(new PartylineError('usage.invalid-argument', error.message), true)
}
