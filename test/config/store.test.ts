import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SETTINGS, type Setting, type SettingKey } from '../../daemon/config/settings.ts'
import { needsRestart, SettingsStore } from '../../daemon/config/store.ts'
import { PartylineError } from '../../daemon/errors.ts'

let folder: string
let file: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settings-'))
  file = join(folder, 'config.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

const thrownBy = (task: () => unknown): PartylineError => {
  try {
    task()
  } catch (error) {
    if (error instanceof PartylineError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('SettingsStore', () => {
  test('gives the defaults and writes no file when there is none', () => {
    const store = SettingsStore.open(file)
    expect(store.get('port')).toBe(47800)
    expect(store.get('network.interfaces')).toEqual([])
    expect(readdirSync(folder)).toEqual([])
  })

  test('keeps values across a restart, under flat keys, mode 0600', () => {
    const store = SettingsStore.open(file)
    store.set('network.interfaces', ['eth0', 'wlan0'])
    store.set('port', 4000)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ 'network.interfaces': ['eth0', 'wlan0'], port: 4000 })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const again = SettingsStore.open(file)
    expect(again.get('network.interfaces')).toEqual(['eth0', 'wlan0'])
    expect(again.get('port')).toBe(4000)
  })

  test('narrows the mode of a file that others could read when it is written', () => {
    writeFileSync(file, '{}')
    chmodSync(file, 0o644)
    SettingsStore.open(file).set('port', 4000)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test.each([
    ['port', '4000', 4000],
    ['discovery.mdns', 'false', false],
    ['log.level', 'debug', 'debug'],
    ['name', 'Annas Rechner', 'Annas Rechner'],
    ['network.exclude', 'tun0, docker0', ['tun0', 'docker0']],
    ['network.exclude', '', []],
  ] as const)('reads what a person types for %s: "%s"', (key, text, value) => {
    const store = SettingsStore.open(file)
    store.set(key, text)
    expect(store.get(key)).toEqual(value)
    expect(JSON.parse(readFileSync(file, 'utf8'))[key]).toEqual(value)
  })

  test.each([
    ['port', '0', '1 to 65535'],
    ['port', 65_536, '1 to 65535'],
    ['port', '80.5', 'whole number'],
    ['port', Number.NaN, 'whole number'],
    ['port', '', 'whole number'],
    ['port', null, 'whole number'],
    ['discovery.mdns', 'yes', 'true or false'],
    ['log.level', 'loud', 'error, warn, info or debug'],
    ['name', 'x'.repeat(64), 'at most 63'],
    ['name', 'two\nlines', 'text'],
    ['network.exclude', 'a,,b', 'list'],
    ['network.exclude', [1], 'list'],
    ['network.exclude', Array.from({ length: 65 }, (_, i) => `if${i}`), 'at most 64 items'],
  ])('refuses %s = %j and keeps the old value', (key, value, hint) => {
    const store = SettingsStore.open(file)
    const error = thrownBy(() => store.set(key, value))
    expect(error.code).toBe('usage.invalid-setting')
    expect(error.message).toContain(hint)
    expect(store.get(key as SettingKey)).toEqual(SETTINGS[key as SettingKey].default)
    expect(readdirSync(folder)).toEqual([])
  })

  test('names the nearest setting for a typo, and none for something else', () => {
    const store = SettingsStore.open(file)
    const typo = thrownBy(() => store.set('network.interface', 'eth0'))
    expect(typo.code).toBe('usage.unknown-setting')
    expect(typo.message).toContain('did you mean "network.interfaces"?')
    expect(thrownBy(() => store.reset('colour-of-the-bike-shed')).message).not.toContain('did you mean')
    expect(thrownBy(() => store.set('__proto__', 'x')).code).toBe('usage.unknown-setting')
    expect(thrownBy(() => store.set('constructor', 'x')).code).toBe('usage.unknown-setting')
  })

  test('resets a setting to its default', () => {
    const store = SettingsStore.open(file)
    store.set('port', 4000)
    store.reset('port')
    expect(store.get('port')).toBe(47800)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({})
  })

  test('lists every setting with value, default, range and meaning', () => {
    const store = SettingsStore.open(file)
    store.set('port', 4000)
    const rows = store.list()
    expect(rows.map((row) => row.key)).toEqual(Object.keys(SETTINGS))
    expect(rows.find((row) => row.key === 'port')).toEqual({
      key: 'port',
      value: 4000,
      isDefault: false,
      type: 'integer',
      unit: '',
      range: '1 to 65535',
      about: SETTINGS.port.about,
    })
    expect(rows.find((row) => row.key === 'discovery.mdns')).toMatchObject({ isDefault: true, range: 'true or false' })
  })

  test('tells listeners of a change until they stop listening', () => {
    const store = SettingsStore.open(file)
    const heard = vi.fn()
    const stop = store.onChange(heard)
    store.set('port', 4000)
    expect(heard).toHaveBeenCalledTimes(1)
    stop()
    store.set('port', 4001)
    expect(heard).toHaveBeenCalledTimes(1)
  })

  test('takes up what somebody wrote into the file, and tells which settings are others now', () => {
    const store = SettingsStore.open(file)
    store.set('name', 'den')
    const heard = vi.fn()
    store.onChange(heard)
    expect(store.reload()).toEqual([])
    expect(heard).not.toHaveBeenCalled()
    writeFileSync(file, '{"name":"attic","network.exclude":["tun0"]}')
    expect(store.reload()).toEqual(['name', 'network.exclude'])
    expect(store.get('name')).toBe('attic')
    expect(heard).toHaveBeenCalledTimes(1)
    // Changes are told of as before.
    store.set('port', 4000)
    expect(heard).toHaveBeenCalledTimes(2)
    rmSync(file)
    expect(store.reload()).toEqual(['name', 'port', 'network.exclude'])
    expect(store.get('name')).toBe('')
  })

  test('goes on with what it knew when the file is damaged', () => {
    const store = SettingsStore.open(file)
    store.set('name', 'den')
    const heard = vi.fn()
    store.onChange(heard)
    writeFileSync(file, '{"name":')
    expect(thrownBy(() => store.reload()).code).toBe('local.settings-damaged')
    expect(store.get('name')).toBe('den')
    expect(heard).not.toHaveBeenCalled()
  })

  test('accepts every default as a value', () => {
    const store = SettingsStore.open(file)
    for (const [key, setting] of Object.entries<Setting>(SETTINGS)) store.set(key, setting.default)
    expect(
      SettingsStore.open(file)
        .list()
        .every((row) => !row.isDefault),
    ).toBe(true)
  })

  test('says which settings a running daemon takes up only at its next start', () => {
    expect(needsRestart('port')).toBe(true)
    expect(needsRestart('network.interfaces')).toBe(true)
    expect(needsRestart('name')).toBe(false)
  })
})

describe('a damaged settings file', () => {
  test.each([
    ['{"port": 47800,\n  oops\n}', 'line 2, column 3'],
    ['{"port":\n tru}', 'line 2, column 5'],
    ['{"port": 4', 'line 1, column 11'],
    ['', 'line 1, column 1'],
    ['[]', 'not a JSON object'],
    ['{"prot": 4000}', 'unknown setting "prot"; did you mean "port"?'],
    ['{"__proto__": {}}', 'unknown setting "__proto__"'],
    ['{"port": "4000"}', 'port takes a whole number'],
    ['{"port": 0}', '1 to 65535'],
    ['{"network": {"interfaces": []}}', 'unknown setting "network"'],
    ['{"network.interfaces": "eth0"}', 'network.interfaces takes a list'],
    ['{"discovery.mdns": null}', 'discovery.mdns takes a truth value'],
  ])('is refused and left as it is: %j', (text, reason) => {
    writeFileSync(file, text)
    const error = thrownBy(() => SettingsStore.open(file))
    expect(error.code).toBe('local.settings-damaged')
    expect(error.message).toContain(file)
    expect(error.message).toContain(reason)
    expect(readFileSync(file, 'utf8')).toBe(text)
    expect(readdirSync(folder)).toEqual(['config.json'])
  })

  test('is not written over when the damage came while the daemon ran', () => {
    const store = SettingsStore.open(file)
    store.set('port', 4000)
    writeFileSync(file, '{"port": 40')
    expect(thrownBy(() => store.set('name', 'anna')).code).toBe('local.settings-damaged')
    expect(thrownBy(() => store.reset('port')).code).toBe('local.settings-damaged')
    expect(readFileSync(file, 'utf8')).toBe('{"port": 40')
  })

  test('keeps what somebody else wrote into the file meanwhile', () => {
    const store = SettingsStore.open(file)
    store.set('port', 4000)
    writeFileSync(file, '{"port": 4000, "name": "from an editor"}')
    store.set('log.level', 'debug')
    expect(store.get('name')).toBe('from an editor')
  })

  test('is told apart from a path that cannot be read', () => {
    mkdirSync(file)
    expect(thrownBy(() => SettingsStore.open(file)).code).toBe('local.file')
  })

  test('never throws anything else, whatever the bytes, and never changes them', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.json().map(Buffer.from)), (bytes) => {
        writeFileSync(file, bytes)
        try {
          SettingsStore.open(file)
        } catch (error) {
          expect(error).toBeInstanceOf(PartylineError)
          expect((error as PartylineError).code).toBe('local.settings-damaged')
        }
        expect(readFileSync(file)).toEqual(Buffer.from(bytes))
      }),
      { numRuns: 200 },
    )
  })
})
