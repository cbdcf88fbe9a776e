import { PartylineError, toPartylineError } from '../../daemon/errors.ts'
import type { RunningDaemon } from '../../daemon/main.ts'
import { Supervisor } from '../../daemon/service/supervisor.ts'
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
  about:
    'Runs the daemon in the foreground; logs to stderr; outside a terminal, SIGHUP makes it read its settings again.',
  options: [
    { flags: '--port <n>', about: 'insist on this TCP and UDP port' },
    { flags: '--name <name>', about: 'the name others read, for this run' },
    { flags: '--interface <name...>', about: 'only these interfaces take part, for this run' },
    { flags: '--system', about: "run as this machine's service: system folders, and an app socket for the group" },
  ],
  example: 'partyline daemon --name den-pc',
  json: '',
  async run(context: Context, given) {
    const port = parsePort(text(given, 'port'))
    ensureRoomyHeap(process)
    const supervisor = new Supervisor(process, (line) => context.stderr.write(line))
    const interfaces = given.options.interface
    const { startDaemon } = await import('../../daemon/main.ts')
    const daemon = await startDaemon({
      home: context.home,
      port,
      name: text(given, 'name'),
      interfaces: Array.isArray(interfaces) ? interfaces : undefined,
      env: context.env,
      system: given.options.system === true,
      inherited: supervisor.sockets,
      log: supervisor.log,
    })
    const goodbye = daemon.stopping.then(() => supervisor.stopping())
    context.stdout.write(`partyline ready id=${daemon.id} port=${daemon.port} socket=${daemon.socket}\n`)
    context.signal.addEventListener('abort', () => void daemon.stop())
    // Whoever closes a terminal ends what runs in it; elsewhere the signal is how a service is told to read its settings again.
    if (!context.stdin.isTTY && !context.stderr.isTTY) reloadOnHangup(daemon, supervisor)
    // Timers of the daemon do not keep a process alive; this does, until it is told to stop.
    const alive = setInterval(() => {}, 2 ** 30)
    await supervisor.ready(statusOf(daemon))
    await daemon.stopped
    await goodbye
    clearInterval(alive)
  },
}

function statusOf({ port, id }: RunningDaemon): string {
  return `accepts apps; port ${port}, id ${id.slice(0, 8)}`
}

function reloadOnHangup(daemon: RunningDaemon, supervisor: Supervisor): void {
  // Those that listen so far would end the process.
  process.removeAllListeners('SIGHUP')
  process.on('SIGHUP', () => {
    void supervisor.reload(() => {
      try {
        const { needRestart } = daemon.reload()
        return needRestart.length === 0
          ? statusOf(daemon)
          : `to be taken up at the next start: ${needRestart.join(', ')}`
      } catch (error) {
        const { message } = toPartylineError(error)
        supervisor.warn('settings not read again', { reason: message })
        return message
      }
    })
  })
}
