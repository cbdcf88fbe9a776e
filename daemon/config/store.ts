import { basename, dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import Conf from 'conf'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import { parseJsonText } from './json-text.ts'
import { SETTINGS, type Setting, type SettingKey, type SettingValues } from './settings.ts'
import { checkSetting, isSettingKey, nearestKey, parseSetting, settingRange } from './validation.ts'

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

/** The settings file: values by key, written atomically, mode 0600. A file that cannot be read is left as it is. */
export class SettingsStore {
  #conf: Conf<Record<string, Value>>
  readonly #listeners = new Set<() => void>()

  private constructor(conf: Conf<Record<string, Value>>) {
    this.#conf = conf
    this.#tellOfChanges()
  }

  /** Reads the file, which need not exist. Throws `local.settings-damaged`, naming file and key, or `local.permission`. */
  static open(file: string): SettingsStore {
    return new SettingsStore(read(file))
  }

  /**
   * Takes up what somebody wrote into the file, and gives the keys whose values are others now. Throws as `open` does, and what was
   * known before goes on counting.
   */
  reload(): readonly SettingKey[] {
    const before = new Map(this.list().map(({ key, value }) => [key, value]))
    this.#conf = read(this.#conf.path)
    this.#tellOfChanges()
    const changed = this.list().filter(({ key, value }) => !isDeepStrictEqual(value, before.get(key)))
    if (changed.length > 0) for (const listener of this.#listeners) listener()
    return changed.map(({ key }) => key as SettingKey)
  }

  get<K extends SettingKey>(key: K): SettingValues[K] {
    const value = attempt(this.#conf.path, () => this.#conf.get(key))
    return (value ?? SETTINGS[key].default) as SettingValues[K]
  }

  /**
   * Checks and writes a value: one of the setting's type, or the text a person typed for it.
   * Throws `usage.unknown-setting`, `usage.invalid-setting` or, when the file was damaged meanwhile, `local.settings-damaged`.
   */
  set(key: string, value: unknown): void {
    const setting = known(key)
    const checked = typeof value === 'string' ? parseSetting(setting, value) : checkSetting(setting, value)
    attempt(this.#conf.path, () => this.#conf.set(setting, checked))
  }

  /** Puts a setting back to its default. Throws as `set` does. */
  reset(key: string): void {
    const setting = known(key)
    attempt(this.#conf.path, () => this.#conf.delete(setting))
  }

  /** Calls `listener` after a change of any setting; returns the way to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tellOfChanges(): void {
    this.#conf.onDidAnyChange(() => {
      for (const listener of this.#listeners) listener()
    })
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

function read(file: string): Conf<Record<string, Value>> {
  return attempt(
    file,
    () =>
      new Conf<Record<string, Value>>({
        cwd: dirname(file),
        configName: basename(file),
        fileExtension: '',
        // Every read goes through this check: at start, and before every write, which begins with what the file holds.
        deserialize: (text) => checkText(file, text),
        // Keys have dots in them; they are names, not paths.
        accessPropertiesByDotNotation: false,
        clearInvalidConfig: false,
        configFileMode: 0o600,
        cache: true,
      }),
  )
}

/** True when a running daemon takes the setting up only at its next start. */
export function needsRestart(key: string): boolean {
  return (SETTINGS as Record<string, Setting>)[key]?.restart === true
}

function known(key: string): SettingKey {
  if (isSettingKey(key)) return key
  throw new PartylineError('usage.unknown-setting', `there is no setting "${key}"${nearestKey(key)}`)
}

/** What a settings file holds. Throws `local.settings-damaged` where it is not what `SettingsStore` would have written. */
function checkText(file: string, text: string): Record<string, Value> {
  const damaged = (what: string): PartylineError =>
    new PartylineError('local.settings-damaged', `${file}: ${what}; the file was left as it is`)
  let values: unknown
  try {
    values = parseJsonText(text)
  } catch (error) {
    throw damaged(`not JSON, ${(error as Error).message}`)
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) throw damaged('not a JSON object')
  for (const [key, value] of Object.entries(values)) {
    if (!isSettingKey(key)) throw damaged(`unknown setting "${key}"${nearestKey(key)}`)
    try {
      checkSetting(key, value)
    } catch (error) {
      throw damaged((error as Error).message)
    }
  }
  return values as Record<string, Value>
}

/** Runs what reads or writes the file; the system's refusals become errors of ours. */
function attempt<T>(file: string, task: () => T): T {
  try {
    return task()
  } catch (error) {
    if (error instanceof PartylineError) throw error
    throw fileError(file, error)
  }
}
