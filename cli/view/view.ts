import { EXIT, PartylineError } from '../../daemon/errors.ts'
import type { RunningDaemon } from '../../daemon/main.ts'
import type { Client } from '../../ipc/index.ts'
import type { Context } from '../command.ts'
import { printable } from '../format.ts'
import { inboxFor } from '../inbox.ts'
import { startGuest } from './guest.ts'
import { Party } from './party.ts'
import type { LogLine } from './party-state.ts'

/** The live view; without a terminal, a line for everything that happens. Runs a daemon unless one runs already. */
export async function runView(context: Context): Promise<number> {
  await using stack = new AsyncDisposableStack()
  const warnings: string[] = []
  let warn = (text: string): void => void warnings.push(text)
  const daemon = await daemonUnlessRunning(context, (text) => warn(text))
  if (daemon) stack.defer(() => daemon.stop())
  const client = stack.use(await connectAsMay(context, daemon === undefined))
  const party = new Party({ client, startGuest })
  stack.defer(() => party.stop())
  await party.start()
  warn = (text) => party.tell('bad', text)
  for (const text of warnings) warn(text)
  party.tell('good', daemon ? 'this host is ready' : 'attached to the daemon that is running')
  const ended = new Promise<void>((resolve) => {
    context.signal.addEventListener('abort', () => resolve())
    void daemon?.stopped.then(resolve)
  })
  if (context.stdout.isTTY && context.stdin.isTTY) {
    party.receiveInto(await inboxFor(client, context))
    await showScreen(party, ended)
  } else await printLines(context, party, ended)
  return EXIT.done
}

/** As the owner, or on a machine's daemon that is somebody else's as an app: what is for the owner is then refused when it is asked for. */
async function connectAsMay(context: Context, reconnect: boolean): Promise<Client> {
  try {
    return await context.connect({ control: true, reconnect })
  } catch (error) {
    if (!(error instanceof PartylineError) || error.code !== 'local.permission') throw error
    return context.connect({ reconnect })
  }
}

async function daemonUnlessRunning(context: Context, warn: (text: string) => void): Promise<RunningDaemon | undefined> {
  try {
    const client = await context.connect()
    await client.close()
    return undefined
  } catch (error) {
    if (!(error instanceof PartylineError) || error.code !== 'local.no-daemon') throw error
  }
  const { startDaemon } = await import('../../daemon/main.ts')
  return startDaemon({
    home: context.home,
    env: context.env,
    log: ({ level, part, message }) => {
      if (level === 'warn' || level === 'error') warn(`${part}: ${message}`)
    },
  })
}

async function showScreen(party: Party, ended: Promise<void>): Promise<void> {
  const [{ render }, { createElement }, { LiveScreen }] = await Promise.all([
    import('ink'),
    import('react'),
    import('./live-screen.ts'),
  ])
  const app = render(createElement(LiveScreen, { party }), { exitOnCtrlC: false, alternateScreen: true })
  void ended.then(() => app.unmount())
  await app.waitUntilExit()
}

async function printLines(context: Context, party: Party, ended: Promise<void>): Promise<void> {
  const { id, name, port } = party.state()
  context.say(`${printable(name)} ${id} on port ${port}`)
  let printed = 0
  const print = (): void => {
    for (const line of party.state().log.filter(({ number }) => number > printed)) printLine(context, line)
    printed = party.state().log.at(-1)?.number ?? printed
  }
  print()
  party.subscribe(print)
  // Nothing else keeps the process alive where the daemon is another's.
  const alive = setInterval(() => {}, 2 ** 30)
  await ended
  clearInterval(alive)
}

function printLine(context: Context, { at, kind, text }: LogLine): void {
  context.emit({ at, kind, text })
  context.say(`${new Date(at).toISOString()} ${text}`)
}
