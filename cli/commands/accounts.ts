import { readFile } from 'node:fs/promises'
import { text as readStream } from 'node:stream/consumers'
import { PartylineError } from '../../daemon/errors.ts'
import { fileError } from '../../daemon/file-error.ts'
import type { Result } from '../../ipc/methods.ts'
import { arg, type Command, type Context, type Given, text } from '../command.ts'
import { printable, table } from '../format.ts'
import { askSecretly } from '../secret.ts'

const JSON_SHAPE = '[{jid,state,detail,server,rtt,services:[uri]}]'

type Accounts = Result<'accounts.list'>

export const accountCommands: readonly Command[] = [
  {
    name: 'account add',
    arguments: '<jid>',
    about: 'Logs in to an XMPP account, so that friends anywhere find this host; asks for the password.',
    options: [
      {
        flags: '--password-file <file>',
        about: 'read the password from the first line of a file instead; - for stdin',
      },
      { flags: '--server <host>', about: 'HOST or HOST:PORT of the server, in the place of what DNS says' },
      { flags: '--ca <file>', about: "certificate of the authority of a server of one's own (PEM)" },
    ],
    example: 'partyline account add anna@example.org',
    json: JSON_SHAPE,
    async run(context, given) {
      const jid = arg(given, 0)
      const ca = text(given, 'ca')
      const server = text(given, 'server')
      const account = {
        jid,
        ...(server !== undefined && { server }),
        ...(ca !== undefined && { ca: await readText(ca) }),
        password: await passwordFor(context, given, jid),
      }
      await using client = await context.connect({ control: true })
      const accounts = await client.call('accounts.add', account)
      context.emit(accounts)
      context.say(`${printable(jid)} is logged in, and will be at every start`)
      context.say(context.paint('dim', '`partyline invite` makes a ticket that others find this host with.'))
    },
  },
  {
    name: 'account list',
    arguments: '',
    about: 'Shows the XMPP accounts, whether they are online, and the STUN and TURN servers that theirs know of.',
    example: 'partyline account list',
    json: JSON_SHAPE,
    async run(context) {
      await using client = await context.connect({ control: true })
      const accounts = await client.call('accounts.list', {})
      context.emit(accounts)
      if (accounts.length === 0)
        return context.say('There is none. `partyline account add JID` makes this host be found from anywhere.')
      context.say(table(rowsOf(context, accounts)).trimEnd())
    },
  },
  {
    name: 'account remove',
    arguments: '<jid>',
    about: 'Logs out of an XMPP account and forgets it.',
    example: 'partyline account remove anna@example.org',
    json: JSON_SHAPE,
    async run(context, given) {
      await using client = await context.connect({ control: true })
      context.emit(await client.call('accounts.remove', { jid: arg(given, 0) }))
      context.say(`${printable(arg(given, 0))} is forgotten`)
    },
  },
]

function rowsOf({ paint }: Context, accounts: Accounts): string[][] {
  const colours = { online: 'green', connecting: 'yellow', waiting: 'yellow', failed: 'red', off: 'dim' } as const
  return accounts.map(({ jid, state, detail, server, rtt, services }) => [
    printable(jid),
    paint(colours[state], state),
    printable(server),
    rtt === null ? '' : `${Math.round(rtt)} ms`,
    detail === '' ? services.map(printable).join(' ') : printable(detail),
  ])
}

/** From a file, the environment, or whoever sits there; never from the command line, which everybody can read. */
async function passwordFor({ env, stdin, stderr, signal }: Context, given: Given, jid: string): Promise<string> {
  const file = text(given, 'passwordFile')
  if (file !== undefined) return (await (file === '-' ? readStream(stdin) : readText(file))).split(/\r?\n/, 1)[0] ?? ''
  if (env.PARTYLINE_PASSWORD) return env.PARTYLINE_PASSWORD
  if (!stdin.isTTY)
    throw new PartylineError('usage.invalid-argument', 'no password was given', {
      hint: 'Use --password-file FILE or the environment variable PARTYLINE_PASSWORD, or run it in a terminal.',
    })
  return askSecretly(`Password of ${printable(jid)}: `, { stdin, stderr, signal })
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw fileError(file, error)
  }
}
