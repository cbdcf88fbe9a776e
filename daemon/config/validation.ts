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

/**
 * A value that fits the setting, from JSON or from the text a person typed (`47801`, `true`, `eth0,wlan0`).
 * Throws `usage.invalid-setting`.
 */
export function checkSetting<K extends SettingKey>(key: K, value: unknown): SettingValues[K] {
  const setting: Setting = SETTINGS[key]
  const fitting = fit(setting, value)
  if (fitting === undefined)
    throw new PartylineError(
      'usage.invalid-setting',
      `${key} takes ${nouns[setting.type]} (${settingRange(setting)}), not ${JSON.stringify(value)}`,
    )
  return fitting as SettingValues[K]
}

const nouns = {
  string: 'a text',
  integer: 'a whole number',
  boolean: 'a truth value',
  choice: 'a choice',
  list: 'a list',
}

function fit(setting: Setting, value: unknown): string | number | boolean | string[] | undefined {
  switch (setting.type) {
    case 'integer': {
      const number = typeof value === 'string' && /^-?\d{1,12}$/.test(value) ? Number(value) : value
      return Number.isInteger(number) && Number(number) >= setting.min && Number(number) <= setting.max
        ? Number(number)
        : undefined
    }
    case 'boolean':
      if (value === 'true' || value === true) return true
      return value === 'false' || value === false ? false : undefined
    case 'choice':
      return typeof value === 'string' && setting.choices.includes(value) ? value : undefined
    case 'string':
      return typeof value === 'string' && value.length <= setting.maxLength ? value : undefined
    case 'list': {
      const items: unknown = typeof value === 'string' ? splitList(value) : value
      if (!Array.isArray(items) || items.length > setting.maxItems) return undefined
      return items.every((item) => typeof item === 'string' && item !== '' && item.length <= setting.maxLength)
        ? items
        : undefined
    }
  }
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

/** Levenshtein's distance, row by row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1)))
    row = next
  }
  return row[b.length] ?? 0
}
