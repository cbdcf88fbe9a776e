import { EXIT, PartylineError } from '../../daemon/errors.ts'
import { connect } from '../../ipc/client.ts'
import type { Command, CommandGroup, Context, Given } from '../command.ts'
import { text } from '../command.ts'
import { duration, printable, size, table } from '../format.ts'
import { type ServiceHealth, serviceHealth, servicePlaces } from '../service/health.ts'
import { type Machine, thisMachine } from '../service/machine.ts'
import { runningProgram, type Scope, type ServiceManager, serviceManager } from '../service/manager.ts'

const SCOPES = [
  { flags: '--user', about: 'the service of this user, which runs while the user is logged in' },
  { flags: '--system', about: "the machine's service, for all users in the group partyline" },
]
const LINES = { standard: 50, most: 10_000 }

interface Service {
  readonly machine: Machine
  readonly scope: Scope
  readonly manager: ServiceManager
}

export const serviceGroup: CommandGroup = {
  name: 'service',
  about: 'Runs the daemon as a service of this user or of the machine.',
  example: 'partyline service install --user',
}

/** The commands; `machineOf` is what they work on. */
export function createServiceCommands(machineOf: (context: Context) => Machine): readonly Command[] {
  /** The service that is meant: the one named; else root means the machine's, and others theirs, or the machine's if only that is installed. */
  const chosen = async (context: Context, given: Given): Promise<Service> => {
    if (context.home !== undefined)
      throw new PartylineError('usage.invalid-argument', 'a service has folders of its own: --home is not for it')
    const machine = machineOf(context)
    const { user, system } = given.options
    if (user && system) throw new PartylineError('usage.invalid-argument', 'give --user or --system, not both')
    const service = (scope: Scope): Service => ({ machine, scope, manager: serviceManager(machine, scope) })
    if (system || (!user && machine.uid === 0)) return service('system')
    const own = service('user')
    if (user || (await isInstalled(own.manager))) return own
    const shared = service('system')
    return (await isInstalled(shared.manager)) ? shared : own
  }

  return [
    {
      name: 'service install',
      arguments: '',
      about: 'Installs this program as a service, starts it now and from then on by itself.',
      options: SCOPES,
      example: 'partyline service install --user',
      json: '{manager,scope}',
      async run(context, given) {
        // What is installed elsewhere does not matter here.
        const isSystem = given.options.system || (!given.options.user && machineOf(context).uid === 0)
        const options = { ...given.options, [isSystem ? 'system' : 'user']: true }
        const { manager, scope } = await chosen(context, { ...given, options })
        await manager.install(runningProgram(process))
        context.emit({ manager: manager.name, scope })
        context.say(`installed and started by ${manager.name}; see \`partyline service status\``)
        if (manager.name === 'systemd')
          context.say(
            scope === 'system'
              ? 'Let users in: `usermod --append --groups partyline USER`; it counts from their next log-in.'
              : 'It ends when you log out; `loginctl enable-linger` keeps it.',
          )
      },
    },
    {
      name: 'service uninstall',
      arguments: '',
      about: 'Stops the service and removes it; settings, identity and chats stay.',
      options: SCOPES,
      example: 'partyline service uninstall --user',
      json: '{manager,scope}',
      async run(context, given) {
        const service = await chosen(context, given)
        const { manager, scope } = service
        await sayGoodbye(service)
        await manager.uninstall()
        context.emit({ manager: manager.name, scope })
        context.say('uninstalled; settings, identity and what was received stay where they are')
      },
    },
    {
      name: 'service status',
      arguments: '',
      about:
        'Shows whether the service runs, since when, as whom, its sockets and its last errors; exit code 0 when it runs.',
      options: SCOPES,
      example: 'partyline service status --json',
      json: '{manager,scope,installed,running,state,since,pid,user,restarts,status,sockets:[{name,path,accepts}],daemon,errors:[{at,level,message}]}',
      async run(context, given) {
        const { machine, scope, manager } = await chosen(context, given)
        const health = await serviceHealth({ machine, scope, manager, connect })
        context.emit(health)
        showHealth(context, health)
        if (health.running) return EXIT.done
        return health.installed ? EXIT.noDaemon : EXIT.notFound
      },
    },
    {
      name: 'service start',
      arguments: '',
      about: 'Starts the installed service, and waits until it is ready.',
      options: SCOPES,
      example: 'partyline service start',
      json: '',
      async run(context, given) {
        await (await chosen(context, given)).manager.start()
        context.say('started')
      },
    },
    {
      name: 'service stop',
      arguments: '',
      about: 'Stops the service until it is started again, or the machine is.',
      options: SCOPES,
      example: 'partyline service stop',
      json: '',
      async run(context, given) {
        const service = await chosen(context, given)
        await sayGoodbye(service)
        await service.manager.stop()
        context.say('stopped')
      },
    },
    {
      name: 'service logs',
      arguments: '',
      about: 'Shows the log of the service.',
      options: [
        ...SCOPES,
        { flags: '-n, --lines <n>', about: 'how many lines', default: String(LINES.standard) },
        { flags: '-f, --follow', about: 'and what is added from now on' },
      ],
      example: 'partyline service logs --follow',
      json: '{at,level,message} for each line; not with --follow',
      async run(context, given) {
        const lines = Number(text(given, 'lines') ?? LINES.standard)
        if (!Number.isInteger(lines) || lines < 1 || lines > LINES.most)
          throw new PartylineError('usage.invalid-argument', `--lines takes a number from 1 to ${LINES.most}`)
        const follow = given.options.follow === true
        if (follow && context.json)
          throw new PartylineError('usage.invalid-argument', '--follow does not go with --json')
        const { machine, manager } = await chosen(context, given)
        if (context.json) for (const line of await manager.lines(lines, 'debug')) context.emit(line)
        else {
          const [program, ...args] = manager.logCommand(lines, follow)
          await machine.show(program, args, context.signal)
        }
      },
    },
  ]
}

export const serviceCommands = createServiceCommands((context) => thisMachine(context.env))

/** Lets the daemon take its leave where its manager does not. */
async function sayGoodbye({ machine, scope, manager }: Service): Promise<void> {
  if (!manager.stopsAbruptly) return
  try {
    await using client = await connect({ app: 'partyline-cli', socket: servicePlaces(machine, scope).controlSocket })
    await client.call('daemon.stop', {})
  } catch {
    // It does not run, or is not ours: its manager ends it, or says why not.
  }
}

async function isInstalled(manager: ServiceManager): Promise<boolean> {
  try {
    return (await manager.state()).installed
  } catch {
    // There may be no service manager for this user, and one for the machine all the same.
    return false
  }
}

function showHealth({ say, paint }: Context, health: ServiceHealth): void {
  const { manager, scope, installed, running, state, since, pid, user, restarts, status, sockets, daemon, errors } =
    health
  if (!installed)
    return say(`not installed as a service of ${scope === 'user' ? 'this user' : 'the machine'} (${manager})`)
  const ago = since === null ? '' : ` since ${since} (${duration(Date.now() - Date.parse(since))})`
  say(`${paint(running ? 'green' : 'red', running ? 'running' : 'not running')}: ${state}${ago}`)
  const again = restarts === null ? '' : `, started again ${restarts} ${restarts === 1 ? 'time' : 'times'}`
  say(`${scope} service of ${manager}, as ${user}${pid === null ? '' : `, process ${pid}`}${again}`)
  if (status !== '') say(printable(status))
  if (daemon)
    say(`version ${daemon.version}, ${daemon.peers} peers, ${daemon.apps} apps, ${size(daemon.memory)} of memory`)
  else if (running && sockets.some(({ accepts }) => accepts === true)) say(paint('red', 'the daemon does not answer'))
  say(`\n${paint('bold', 'Sockets')}`)
  const words = (accepts: boolean | null): string =>
    accepts === null ? 'not for you' : accepts ? 'accepts' : 'does not accept'
  say(table(sockets.map(({ name, path, accepts }) => [`  ${name}`, path, words(accepts)])).trimEnd())
  if (errors.length === 0) return
  say(`\n${paint('bold', 'Last warnings and errors')}`)
  for (const { at, level, message } of errors) say(`  ${at} ${level} ${printable(message)}`)
}
