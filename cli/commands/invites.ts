import { writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { PartylineError } from '../../daemon/errors.ts'
import { fileError } from '../../daemon/file-error.ts'
import type { Client } from '../../ipc/index.ts'
import type { Params, Result } from '../../ipc/methods.ts'
import { arg, type Command, type Context, type Given, text } from '../command.ts'
import { duration, printable, shortId, table } from '../format.ts'

const SECOND = 1000
const UNITS: Readonly<Record<string, number>> = { s: SECOND, m: 60 * SECOND, h: 3600 * SECOND, d: 86_400 * SECOND }
const INVITATION_JSON = '{id,state,created,expires,uses,joined:[id],for,petname}'
/** Longest ticket that is read from standard input, in characters. */
const MAX_INPUT = 16_384
/** Pixels of a module of the QR code in a PNG file. */
const PNG_SCALE = 8

type Created = Result<'invites.create'>
type Joined = Extract<Result<'invites.join'>, { state: 'joined' }>

export const inviteCommands: readonly Command[] = [
  {
    name: 'invite',
    arguments: '',
    about: 'Makes a ticket: whoever joins with it is trusted, and trusts this host.',
    options: [
      { flags: '--uses <n>', about: 'how many hosts may join with it', default: '1' },
      { flags: '--for <time>', about: 'how long it is good: 10m, 24h, 7d (24h unless told, 10m with --offline)' },
      { flags: '--peer <id>', about: 'the only host that may use it, by its peer id' },
      { flags: '--petname <name>', about: 'what the one who joins is to be called here' },
      { flags: '--qr', about: 'show the QR code although this is no terminal' },
      { flags: '--png <file>', about: 'write the QR code to a PNG file' },
      { flags: '--svg <file>', about: 'write the QR code to an SVG file' },
      { flags: '--offline', about: 'an offer by hand, which needs no server: its answer is pasted back' },
    ],
    example: 'partyline invite --for 7d',
    json: '{id,ticket,expires,uses,outside,ways}; with --offline then {state,peer,name,petname}',
    async run(context, given) {
      const wish = wishOf(given)
      await using client = await context.connect({ control: true })
      const created = await client.call('invites.create', wish)
      context.emit(created)
      await showTicket(context, given, created.ticket, () => showInvitation(context, created, wish.offline === true))
      if (wish.offline) await untilAnswered(context, client, created.id)
    },
  },
  {
    name: 'invite list',
    arguments: '',
    about: 'Shows the invitations given out, and who has used them.',
    example: 'partyline invite list',
    json: `[${INVITATION_JSON}]`,
    async run(context) {
      await using client = await context.connect({ control: true })
      const invitations = await client.call('invites.list', {})
      context.emit(invitations)
      if (invitations.length === 0) return context.say('None was given out. `partyline invite` makes one.')
      const colours = { open: 'green', used: 'dim', expired: 'dim', revoked: 'red' } as const
      const rows = invitations.map(({ id, state, expires, uses, joined, petname, for: receiver }) => [
        id,
        context.paint(colours[state], state),
        `${joined.length} of ${uses} used`,
        state === 'open' ? `${duration(Math.max(0, expires * SECOND - Date.now()))} left` : '',
        [receiver && `for ${shortId(receiver)}`, petname && `as ${printable(petname)}`].filter(Boolean).join(' '),
        joined.map(shortId).join(' '),
      ])
      context.say(table(rows).trimEnd())
    },
  },
  {
    name: 'invite revoke',
    arguments: '<id>',
    about: 'Takes an invitation back; who has joined by it stays trusted.',
    example: 'partyline invite revoke mfzwizlnn5xgk',
    json: INVITATION_JSON,
    async run(context, given) {
      await using client = await context.connect({ control: true })
      const invitation = await client.call('invites.revoke', { id: arg(given, 0) })
      context.emit(invitation)
      context.say(`the invitation ${invitation.id} is good for nothing any more`)
    },
  },
  {
    name: 'join',
    arguments: '<ticket...>',
    about: 'Joins the host that gave out a ticket; `-` reads it from standard input.',
    options: [{ flags: '--petname <name>', about: 'what the host is to be called here' }],
    example: 'partyline join partyline:aeaacuzq2f5o6yx3kq7c',
    json: '{state:"joined",peer,name,petname}; of an offer by hand {state:"answer",peer,name,petname,answer,expires} before it',
    async run(context, given) {
      const ticket = given.args.join('') === '-' ? await readAll(context) : given.args.join('')
      const petname = text(given, 'petname')
      await using client = await context.connect({ control: true })
      // Closed, the daemon stops looking.
      context.signal.addEventListener('abort', () => void client.close())
      const joined = await client.call('invites.join', { ticket, ...(petname !== undefined && { petname }) })
      context.emit(joined)
      if (joined.state === 'joined') return showJoined(context, joined)
      const { answer, peer, name } = joined
      await showTicket(context, given, answer, () => {
        context.say(`Take this answer back to ${printable(name) || shortId(peer)}:\n\n${answer}\n`)
        context.say(context.paint('dim', 'Once it has been pasted there, this goes on by itself. Leave it open.'))
      })
      const met = await client.call('invites.wait', { peer })
      context.emit(met)
      showJoined(context, met)
    },
  },
]

function wishOf(given: Given): Params<'invites.create'> {
  const uses = Number(text(given, 'uses') ?? 1)
  if (!Number.isInteger(uses) || uses < 1 || uses > 64)
    throw new PartylineError('usage.invalid-argument', '--uses takes a number from 1 to 64')
  const time = text(given, 'for')
  const receiver = text(given, 'peer')
  const petname = text(given, 'petname')
  return {
    uses,
    ...(time !== undefined && { lifetime: milliseconds(time) }),
    ...(receiver !== undefined && { for: receiver }),
    ...(petname !== undefined && { petname }),
    ...(given.options.offline === true && { offline: true }),
  }
}

/** `10m`, `24h`, `7d`. Throws `usage.invalid-argument`. */
function milliseconds(time: string): number {
  const [, number, unit = ''] = /^(\d{1,6})([smhd])$/.exec(time) ?? []
  const found = Number(number) * (UNITS[unit] ?? Number.NaN)
  if (found >= SECOND && found <= 366 * 86_400 * SECOND) return found
  throw new PartylineError('usage.invalid-argument', `"${time}" is no time; write 10m, 24h or 7d, a year at most`)
}

function showInvitation(context: Context, { ticket, expires, uses, outside }: Created, isOffer: boolean): void {
  const { say, paint } = context
  const hosts = uses === 1 ? 'one host' : `${uses} hosts`
  say(
    `For ${hosts}, until ${new Date(expires * SECOND).toLocaleString()}. Whoever has it may join: show it to nobody else.\n`,
  )
  say(`${ticket}\n`)
  say(`There: ${paint('bold', `partyline join ${isOffer ? 'TICKET' : ticket.slice(0, 20)}${isOffer ? '' : '…'}`)}`)
  if (!outside)
    say(
      paint(
        'yellow',
        'Nothing in it works from the internet: it is good on this network only. An account (`partyline account add`), a hub on the internet or `--offline` would change that.',
      ),
    )
}

/** The text, and the QR code where it is wanted. */
async function showTicket(context: Context, given: Given, ticket: string, show: () => void): Promise<void> {
  show()
  const [png, svg] = [text(given, 'png'), text(given, 'svg')]
  const isShown = !context.json && (given.options.qr === true || context.stdout.isTTY)
  if (!isShown && png === undefined && svg === undefined) return
  const { default: qrcode } = await import('qrcode')
  // Capitals take eleven bits for two characters.
  const code = ticket.toUpperCase()
  const options = { errorCorrectionLevel: 'L' } as const
  if (isShown) context.say(`\n${await qrcode.toString(code, { ...options, type: 'terminal', small: true })}`)
  if (png !== undefined) await write(png, await qrcode.toBuffer(code, { ...options, type: 'png', scale: PNG_SCALE }))
  if (svg !== undefined) await write(svg, await qrcode.toString(code, { ...options, type: 'svg' }))
}

/** A ticket is a key: nobody else is to read it. */
async function write(file: string, data: string | Buffer): Promise<void> {
  try {
    await writeFile(file, data, { mode: 0o600 })
  } catch (error) {
    throw fileError(file, error)
  }
}

function showJoined({ say, paint }: Context, { peer, name, petname }: Joined): void {
  const called = printable(petname || name) || shortId(peer)
  say(paint('green', `${called} and this host trust each other now`))
  say(paint('dim', `\`partyline chat ${called.includes(' ') ? shortId(peer) : called}\` says hello.`))
}

/** Waits for the answer to be pasted here, or to be taken by another command; one that does not do is asked for again. */
async function untilAnswered(context: Context, client: Client, id: string): Promise<void> {
  const { say, stdin, signal, json, stdout } = context
  const events = await client.events(['invites'])
  if (!json) stdout.write('\nPaste the answer here, and press Enter:\n')
  // A line that a terminal itself puts together ends after 1024 characters on macOS.
  const terminal = stdin.isTTY === true && stdout.isTTY === true
  const lines = createInterface({
    input: stdin,
    crlfDelay: Number.POSITIVE_INFINITY,
    ...(terminal && { output: stdout, terminal }),
  })
  const leave = (): void => {
    lines.close()
    void events.return?.()
  }
  signal.addEventListener('abort', leave)
  lines.on('SIGINT', leave)
  const paste = { isUnderWay: false }
  const elsewhere = (async (): Promise<Joined | undefined> => {
    for await (const { name, params } of events)
      if (name === 'invites.joined' && params.id === id && !paste.isUnderWay)
        return { state: 'joined', peer: params.peer, name: params.name, petname: '' }
    return undefined
  })()
  try {
    // Where there is no keyboard the answer can only be taken by another command.
    const joined = (await Promise.race([pasted(context, client, lines, paste), elsewhere])) ?? (await elsewhere)
    if (!joined) throw new PartylineError('local.closed', 'the offer was left without an answer')
    context.emit(joined)
    say('')
    showJoined(context, joined)
  } finally {
    lines.close()
    stdin.destroy()
    await events.return?.()
  }
}

/** The answer may come broken into lines: what is no whole ticket yet is put together with what follows. */
async function pasted(
  { stderr, json }: Context,
  client: Client,
  lines: AsyncIterable<string>,
  paste: { isUnderWay: boolean },
): Promise<Joined | undefined> {
  let answer = ''
  for await (const line of lines) {
    if (line.trim() === '') {
      answer = ''
      continue
    }
    answer = (line.includes(':') ? line : answer + line).slice(0, MAX_INPUT)
    paste.isUnderWay = true
    try {
      return await client.call('invites.answer', { ticket: answer.trim() })
    } catch (error) {
      paste.isUnderWay = false
      if (!(error instanceof PartylineError) || !['usage.bad-ticket', 'usage.invalid-argument'].includes(error.code))
        throw error
      if (!json) stderr.write(`partyline: ${error.message}; paste it again, or its other lines\n`)
    }
  }
  return undefined
}

async function readAll({ stdin }: Context): Promise<string> {
  let input = ''
  for await (const chunk of stdin) {
    input += String(chunk)
    if (input.length > MAX_INPUT) break
  }
  return input.trim()
}
