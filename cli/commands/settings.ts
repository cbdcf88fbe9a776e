import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { PartylineError } from '../../daemon/errors.ts'
import { preparePlaces, resolvePlaces } from '../../daemon/places.ts'
import type { SettingView } from '../../ipc/methods.ts'
import { arg, type Command, type Context } from '../command.ts'

/** Settings through the daemon where one runs, so that it takes them up; in the file otherwise. */
interface Settings {
  list(): Promise<SettingView[]>
  set(key: string, value: string): Promise<{ setting: SettingView; restart: boolean }>
  reset(key: string): Promise<{ setting: SettingView; restart: boolean }>
}

async function withSettings<T>(context: Context, use: (settings: Settings) => Promise<T>): Promise<T> {
  let client: Awaited<ReturnType<Context['connect']>>
  try {
    client = await context.connect({ control: true })
  } catch (error) {
    if (error instanceof PartylineError && error.code === 'local.no-daemon') return use(await fileSettings(context))
    throw error
  }
  await using connection = client
  return await use({
    list: () => connection.call('settings.list', {}),
    set: (key, value) => connection.call('settings.set', { key, value }),
    reset: (key) => connection.call('settings.reset', { key }),
  })
}

async function fileSettings({ home, env }: Context): Promise<Settings> {
  const query = { home, env, platform: process.platform, userHome: homedir() }
  const places = resolvePlaces(query)
  const shared = resolvePlaces({ ...query, system: true })
  // Its app socket is there also while it is stopped: what is written to this user's own file then would count for nothing.
  if (shared.config !== places.config && existsSync(shared.appSocket) && !existsSync(places.config))
    throw new PartylineError('local.no-daemon', 'the service of this machine is installed and does not run', {
      hint: 'Start it: `partyline service start`.',
    })
  await preparePlaces(places)
  const { SettingsStore } = await import('../../daemon/config/store.ts')
  const store = SettingsStore.open(places.config)
  return {
    list: async () => store.list(),
    set: async (key, value) => {
      store.set(key, value)
      return { setting: rowOf(store.list(), key), restart: false }
    },
    reset: async (key) => {
      store.reset(key)
      return { setting: rowOf(store.list(), key), restart: false }
    },
  }
}

function rowOf(rows: readonly SettingView[], key: string): SettingView {
  const row = rows.find((setting) => setting.key === key)
  if (!row) throw new PartylineError('usage.unknown-setting', `there is no setting "${key}"`)
  return row
}

const shown = ({ value }: SettingView): string => (Array.isArray(value) ? value.join(',') : String(value))

function told(context: Context, { setting, restart }: { setting: SettingView; restart: boolean }): void {
  context.emit({ ...setting, restart })
  context.say(
    `${setting.key} is ${JSON.stringify(setting.value)}${restart ? '; it counts from the next start of the daemon on' : ''}`,
  )
}

export const configCommands: readonly Command[] = [
  {
    name: 'config list',
    arguments: '',
    about: 'Shows every setting, its value, range and meaning.',
    example: 'partyline config list',
    json: '[{key,value,isDefault,type,unit,range,about}]',
    async run(context) {
      const rows = await withSettings(context, (settings) => settings.list())
      context.emit(rows)
      const { paint } = context
      for (const row of rows) {
        const value = shown(row) === '' ? '""' : shown(row)
        context.say(
          `${paint('bold', row.key)} = ${row.isDefault ? value : paint('green', value)}${row.unit ? ` ${row.unit}` : ''}`,
        )
        context.say(paint('dim', `    ${row.about} (${row.range})`))
      }
    },
  },
  {
    name: 'config get',
    arguments: '<key>',
    about: 'Shows one setting.',
    example: 'partyline config get port',
    json: '{key,value,…}',
    async run(context, given) {
      const row = rowOf(await withSettings(context, (settings) => settings.list()), arg(given, 0))
      context.emit(row)
      context.say(shown(row))
    },
  },
  {
    name: 'config set',
    arguments: '<key> <value>',
    about: 'Changes a setting; lists are separated by commas.',
    example: 'partyline config set network.interfaces eth0,wlan0',
    json: '{key,value,…,restart}',
    async run(context, given) {
      told(context, await withSettings(context, (settings) => settings.set(arg(given, 0), arg(given, 1))))
    },
  },
  {
    name: 'config reset',
    arguments: '<key>',
    about: 'Puts a setting back to its default.',
    example: 'partyline config reset port',
    json: '{key,value,…,restart}',
    async run(context, given) {
      told(context, await withSettings(context, (settings) => settings.reset(arg(given, 0))))
    },
  },
]
