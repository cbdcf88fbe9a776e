import { PartylineError } from '../../daemon/errors.ts'
import { formatLine, formatText } from '../../daemon/log-line.ts'
import { type Command, type Context, text } from '../command.ts'
import { ensureRoomyHeap } from '../roomy-heap.ts'

function parsePort(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const port = Number(value)
  if (Number.isInteger(port) && port >= 1 && port <= 65535) return port
  throw new PartylineError('usage.invalid-argument', `--port takes a number from 1 to 65535, not ${value}`)
}

export const daemonCommand: Command = {
  name: 'daemon',
  arguments: '',
  about: 'Runs the daemon in the foreground; logs to stderr.',
  options: [
    { flags: '--port <n>', about: 'insist on this TCP and UDP port' },
    { flags: '--name <name>', about: 'the name others read, for this run' },
    { flags: '--interface <name...>', about: 'only these interfaces take part, for this run' },
  ],
  example: 'partyline daemon --name den-pc',
  json: '',
  async run(context: Context, given) {
    const port = parsePort(text(given, 'port'))
    ensureRoomyHeap(process)
    const interfaces = given.options.interface
    const { startDaemon } = await import('../../daemon/main.ts')
    const daemon = await startDaemon({
      home: context.home,
      port,
      name: text(given, 'name'),
      interfaces: Array.isArray(interfaces) ? interfaces : undefined,
      env: context.env,
      log: (entry) => context.stderr.write(`${formatLine(new Date(), entry, formatText(entry))}\n`),
    })
    context.stdout.write(`partyline ready id=${daemon.id} port=${daemon.port} socket=${daemon.socket}\n`)
    context.signal.addEventListener('abort', () => void daemon.stop())
    // Timers of the daemon do not keep a process alive; this does, until it is told to stop.
    const alive = setInterval(() => {}, 2 ** 30)
    await daemon.stopped
    clearInterval(alive)
  },
}
