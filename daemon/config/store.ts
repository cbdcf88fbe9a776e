import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import Conf from 'conf'
import { PartylineError } from '../errors.ts'
import { SETTINGS, type Setting, type SettingKey, type SettingValues } from './settings.ts'
import { checkSetting, isSettingKey, nearestKey, settingRange } from './validation.ts'

type Value = string | number | boolean | readonly string[]

/** A setting as people read it. */
interface SettingRow {
  readonly key: string
  readonly value: string | number | boolean | string[]
  readonly isDefault: boolean
  readonly type: string
  readonly unit: string
  readonly range: string
  readonly about: string
}

/** The settings file: values by key, written atomically, mode 0600. */
export class SettingsStore {
  readonly #conf: Conf<Record<string, Value>>

  private constructor(conf: Conf<Record<string, Value>>) {
    this.#conf = conf
  }

  /** Reads the file, which need not exist. Throws `local.settings-damaged`, naming file and key, and leaves the file as it is. */
  static open(file: string): SettingsStore {
    checkFile(file)
    const conf = new Conf<Record<string, Value>>({
      cwd: dirname(file),
      configName: basename(file, '.json'),
      fileExtension: 'json',
      projectName: 'partyline',
      // Keys have dots in them; they are names, not paths.
      accessPropertiesByDotNotation: false,
      clearInvalidConfig: false,
      configFileMode: 0o600,
    })
    return new SettingsStore(conf)
  }

  get<K extends SettingKey>(key: K): SettingValues[K] {
    return (this.#conf.get(key) ?? SETTINGS[key].default) as SettingValues[K]
  }

  /** Checks and writes a value. Throws `usage.unknown-setting` or `usage.invalid-setting`. */
  set(key: string, value: unknown): void {
    this.#conf.set(known(key), checkSetting(known(key), value))
  }

  /** Puts a setting back to its default. */
  reset(key: string): void {
    this.#conf.delete(known(key))
  }

  /** Calls `listener` after a change of any setting; returns the way to stop that. */
  onChange(listener: () => void): () => void {
    return this.#conf.onDidAnyChange(listener)
  }

  list(): SettingRow[] {
    return Object.entries(SETTINGS as Record<string, Setting>).map(([key, setting]) => {
      const value = this.get(key as SettingKey)
      return {
        key,
        value: typeof value === 'object' ? [...value] : value,
        isDefault: !this.#conf.has(key),
        type: setting.type,
        unit: setting.unit ?? '',
        range: settingRange(setting),
        about: setting.about,
      }
    })
  }
}

/** True when a running daemon takes the setting up only at its next start. */
export function needsRestart(key: string): boolean {
  return (SETTINGS as Record<string, Setting>)[key]?.restart === true
}

function known(key: string): SettingKey {
  if (isSettingKey(key)) return key
  throw new PartylineError('usage.unknown-setting', `there is no setting "${key}"${nearestKey(key)}`)
}

/** Refuses a file that does not hold what we would have written, before anything could write over it. */
function checkFile(file: string): void {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw new PartylineError('local.permission', `${file}: ${(error as Error).message}`, { cause: error })
  }
  const damaged = (what: string): PartylineError =>
    new PartylineError('local.settings-damaged', `${file}: ${what}; the file was left as it is`)
  let values: unknown
  try {
    values = JSON.parse(text)
  } catch (error) {
    throw damaged(`not JSON: ${(error as Error).message}`)
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) throw damaged('not a JSON object')
  for (const [key, value] of Object.entries(values)) {
    if (!isSettingKey(key)) throw damaged(`unknown setting "${key}"${nearestKey(key)}`)
    try {
      checkSetting(key, value)
    } catch (error) {
      throw damaged(`setting "${key}": ${(error as Error).message}`)
    }
  }
}
