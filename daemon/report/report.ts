import { cpus, homedir, hostname, release, totalmem, userInfo } from 'node:os'
import type { Handlers } from '../../ipc/api.ts'
import type { Result } from '../../ipc/methods.ts'
import type { Accounts } from '../accounts/accounts.ts'
import type { Clock } from '../clock.ts'
import type { SettingsStore } from '../config/store.ts'
import { toPartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import { VERSION } from '../version.ts'
import type { LogRing } from './log-ring.ts'
import { type Known, Mask } from './mask.ts'

/** Whose answers are put into a report: what the daemon knows of itself and the network. Never what people wrote, or files. */
const REPORTED = [
  'daemon.status',
  'doctor.run',
  'peers.list',
  'sessions.list',
  'hub.status',
  'accounts.list',
  'friends.list',
  'relay.status',
  'invites.list',
  'policy.get',
  'requests.list',
  'settings.list',
] as const satisfies readonly (keyof Handlers)[]

interface ReportParts {
  readonly clock: Clock
  readonly identity: Pick<Identity, 'peer'>
  readonly name: () => string
  readonly book: Pick<PeerBook, 'list'>
  readonly accounts: Pick<Accounts, 'jids'>
  readonly settings: Pick<SettingsStore, 'list'>
  readonly log: LogRing
}

/** Asks one of the daemon's own methods that take no parameters. */
export type AskSelf = (method: (typeof REPORTED)[number]) => Promise<unknown>

/**
 * Everything that helps to find out what went wrong on this host, in one object, without what is nobody's business: names, peer ids, addresses,
 * accounts, hosts, tickets, passwords. A part that fails is there with its error.
 */
export async function createReport(parts: ReportParts, ask: AskSelf): Promise<Result<'report.create'>> {
  const mask = new Mask(await known(parts), [homedir()])
  const answers = await Promise.all(
    REPORTED.map(async (method) => {
      try {
        return [method, mask.value(await ask(method))] as const
      } catch (error) {
        const { code, message } = toPartylineError(error)
        return [method, { error: { code, message: mask.text(message) } }] as const
      }
    }),
  )
  return {
    created: new Date(parts.clock.wall()).toISOString(),
    version: VERSION,
    system: await systemOf(),
    answers: Object.fromEntries(answers),
    log: parts.log.lines().map((line) => mask.text(line)),
  }
}

async function systemOf(): Promise<Result<'report.create'>['system']> {
  const { osInfo } = await import('systeminformation')
  const { distro, release: version } = await osInfo().catch(() => ({ distro: '', release: '' }))
  return {
    platform: process.platform,
    arch: process.arch,
    kernel: release(),
    distro: `${distro} ${version}`.trim(),
    node: process.version,
    cpus: cpus().length,
    memory: totalmem(),
    uptime: Math.round(process.uptime()),
  }
}

async function known({ identity, name, book, accounts, settings }: ReportParts): Promise<readonly Known[]> {
  const people = book.list().flatMap(({ id, name: called, petname }): Known[] => [
    { kind: 'peer', text: id },
    { kind: 'name', text: called },
    { kind: 'name', text: petname },
  ])
  const own = [name(), hostname(), userOf(), ...named(settings)].map((text): Known => ({ kind: 'name', text }))
  const jids = accounts.jids().map((text): Known => ({ kind: 'account', text }))
  return [{ kind: 'peer', text: identity.peer }, ...jids, ...own, ...people]
}

/** Names that the user wrote into settings. */
const named = (settings: ReportParts['settings']): string[] =>
  settings
    .list()
    .flatMap(({ key, value }) => ((key === 'name' || key === 'hub.name') && typeof value === 'string' ? [value] : []))

/** Some users have no name at all. */
function userOf(): string {
  try {
    const { username } = userInfo()
    return username === 'root' ? '' : username
  } catch {
    return ''
  }
}
