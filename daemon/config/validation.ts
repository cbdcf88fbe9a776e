import { editDistance } from '../edit-distance.ts'
import { PartylineError } from '../errors.ts'
import { SETTINGS, type Setting, type SettingKey, type SettingValues } from './settings.ts'

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key)
}

/** What a setting may be, for people: `1 to 65535`, `error, warn, info or debug`. */
export function settingRange(setting: Setting): string {
  switch (setting.type) {
    case 'integer':
      return `${setting.min} to ${setting.max}`
    case 'boolean':
      return 'true or false'
    case 'choice':
      return `${setting.choices.slice(0, -1).join(', ')} or ${setting.choices.at(-1)}`
    case 'string':
      return `at most ${setting.maxLength} characters`
    case 'list':
      return `at most ${setting.maxItems} items of at most ${setting.maxLength} characters`
  }
}

/** A value for the setting. Throws `usage.invalid-setting`. */
export function checkSetting<K extends SettingKey>(key: K, value: unknown): SettingValues[K] {
  const setting: Setting = SETTINGS[key]
  if (!fits(setting, value)) throw invalid(key, setting, value)
  return value as SettingValues[K]
}

/** The value that a text means, as a person typed it: `47801`, `true`, `eth0,wlan0`. Throws `usage.invalid-setting`. */
export function parseSetting<K extends SettingKey>(key: K, text: string): SettingValues[K] {
  const setting: Setting = SETTINGS[key]
  const value = readText(setting, text)
  if (!fits(setting, value)) throw invalid(key, setting, text)
  return value as SettingValues[K]
}

function invalid(key: SettingKey, setting: Setting, value: unknown): PartylineError {
  const shown = JSON.stringify(value) ?? String(value)
  const short = shown.length > 100 ? `${shown.slice(0, 100)}…` : shown
  return new PartylineError(
    'usage.invalid-setting',
    `${key} takes ${NOUNS[setting.type]} (${settingRange(setting)}), not ${short}`,
  )
}

const NOUNS = {
  string: 'a text',
  integer: 'a whole number',
  boolean: 'a truth value',
  choice: 'a choice',
  list: 'a list',
}

/** A text as the setting's type; left as it is where it cannot be one, for `fits` to refuse. */
function readText(setting: Setting, text: string): unknown {
  switch (setting.type) {
    case 'integer':
      return /^-?\d{1,12}$/.test(text.trim()) ? Number(text) : text
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'list':
      return splitList(text)
    default:
      return text
  }
}

function fits(setting: Setting, value: unknown): boolean {
  switch (setting.type) {
    case 'integer':
      return typeof value === 'number' && Number.isInteger(value) && value >= setting.min && value <= setting.max
    case 'boolean':
      return typeof value === 'boolean'
    case 'choice':
      return typeof value === 'string' && setting.choices.includes(value)
    case 'string':
      return isPlainText(value, setting.maxLength)
    case 'list':
      return (
        Array.isArray(value) &&
        value.length <= setting.maxItems &&
        value.every((item) => item !== '' && isPlainText(item, setting.maxLength))
      )
  }
}

/** A text on one line, without control characters: it is shown in terminals and logs. */
function isPlainText(value: unknown, maxLength: number): boolean {
  return typeof value === 'string' && value.length <= maxLength && !/\p{Cc}/u.test(value)
}

const splitList = (text: string): string[] => (text.trim() === '' ? [] : text.split(',').map((item) => item.trim()))

/** `; did you mean "port"?` for a typo, empty where nothing is near. */
export function nearestKey(key: string): string {
  const ranked = Object.keys(SETTINGS)
    .map((known) => ({ known, distance: editDistance(key.slice(0, 64), known) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best && best.distance <= 3 ? `; did you mean "${best.known}"?` : ''
}
