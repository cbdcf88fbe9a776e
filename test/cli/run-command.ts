import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Command, Context, Given } from '../../cli/command.ts'
import { createPaint } from '../../cli/format.ts'
import { connect } from '../../ipc/index.ts'

interface Started {
  /** Everything printed so far. */
  readonly printed: () => string
  /** Types on the keyboard. */
  readonly type: (text: string) => void
  readonly done: Promise<number | undefined>
}

/** Runs a command in this process as if a person sat at a terminal, in colour if wanted. */
export function startCommand(
  command: Command,
  given: Partial<Given>,
  {
    home,
    colour = false,
    columns = 80,
  }: { readonly home: string; readonly colour?: boolean; readonly columns?: number },
): Started {
  const keyboard = { isTTY: true, setRawMode: () => {}, ref: () => {}, unref: () => {} }
  const stdin = Object.assign(new PassThrough(), keyboard)
  const stdout = Object.assign(new PassThrough(), { isTTY: true, columns, rows: 24 })
  let printed = ''
  stdout.on('data', (chunk) => {
    printed += String(chunk)
  })
  const context = {
    json: false,
    home,
    paint: createPaint(stdout as never, { TERM: 'xterm' }, colour),
    stdin: stdin as never,
    stdout: stdout as never,
    stderr: stdout as never,
    env: {},
    signal: new AbortController().signal,
    connect: (options = {}) => connect({ app: 'test', home, ...options }),
    say: (text) => void stdout.write(`${text}\n`),
    emit: () => {},
  } satisfies Context
  const running = command.run(context, { args: [], options: {}, ...given })
  const done = (async () => {
    const code = await running
    stdout.end()
    if (!stdout.readableEnded) await once(stdout, 'end')
    return code ?? undefined
  })()
  return { printed: () => printed, type: (text) => void stdin.write(text), done }
}
