import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { preparePlaces, resolvePlaces } from '../../daemon/places.ts'

const linux = { platform: 'linux', env: {}, userHome: '/home/anna' } as const
const windows = { platform: 'win32', env: {}, userHome: 'C:\\Users\\anna' } as const

describe('places', () => {
  test.each([
    ['given', { ...linux, home: '/srv/party', env: { PARTYLINE_HOME: '/elsewhere', XDG_CONFIG_HOME: '/x' } }],
    ['in the environment', { ...linux, env: { PARTYLINE_HOME: '/srv/party', XDG_RUNTIME_DIR: '/run/user/1000' } }],
    ['given to a system service', { ...linux, home: '/srv/party', system: true }],
  ])('are all in the home that is %s', (_, query) => {
    expect(resolvePlaces(query)).toEqual({
      home: '/srv/party',
      config: '/srv/party/config.json',
      identity: '/srv/party/identity.key',
      peers: '/srv/party/peers.json',
      accounts: '/srv/party/accounts.json',
      invites: '/srv/party/invites.json',
      relaySecret: '/srv/party/relay-secret.json',
      metricsToken: '/srv/party/metrics.token',
      chat: '/srv/party/chat.jsonl',
      inbox: '/srv/party/inbox',
      certificate: '/srv/party/certificate.pem',
      hubCertificate: '/srv/party/hub.pem',
      lock: '/srv/party/daemon.lock',
      appSocket: '/srv/party/partyline.sock',
      controlSocket: '/srv/party/control.sock',
    })
  })

  test('on Linux follow the XDG folders', () => {
    const env = { XDG_CONFIG_HOME: '/c', XDG_DATA_HOME: '/d', XDG_RUNTIME_DIR: '/run/user/1000' }
    expect(resolvePlaces({ ...linux, env })).toEqual({
      home: '/d/partyline',
      config: '/c/partyline/config.json',
      identity: '/d/partyline/identity.key',
      peers: '/d/partyline/peers.json',
      accounts: '/d/partyline/accounts.json',
      invites: '/d/partyline/invites.json',
      relaySecret: '/d/partyline/relay-secret.json',
      metricsToken: '/d/partyline/metrics.token',
      chat: '/d/partyline/chat.jsonl',
      inbox: '/d/partyline/inbox',
      certificate: '/d/partyline/certificate.pem',
      hubCertificate: '/d/partyline/hub.pem',
      lock: '/d/partyline/daemon.lock',
      appSocket: '/run/user/1000/partyline/partyline.sock',
      controlSocket: '/run/user/1000/partyline/control.sock',
    })
  })

  test.each([
    {},
    { XDG_CONFIG_HOME: '', XDG_DATA_HOME: '', XDG_RUNTIME_DIR: '' },
    { XDG_CONFIG_HOME: 'relative', XDG_DATA_HOME: './data', XDG_RUNTIME_DIR: 'run' },
  ])('on Linux fall back to folders of the user only, never to /tmp: %j', (env) => {
    expect(resolvePlaces({ ...linux, env })).toMatchObject({
      config: '/home/anna/.config/partyline/config.json',
      identity: '/home/anna/.local/share/partyline/identity.key',
      controlSocket: '/home/anna/.local/share/partyline/control.sock',
    })
  })

  test('of a system service are the system folders', () => {
    expect(resolvePlaces({ ...linux, system: true, env: { XDG_DATA_HOME: '/d' } })).toMatchObject({
      home: '/var/lib/partyline',
      config: '/etc/partyline/config.json',
      peers: '/var/lib/partyline/peers.json',
      appSocket: '/run/partyline/partyline.sock',
    })
  })

  test.each([
    ['darwin', {}, '/Library/Application Support/partyline/config.json'],
    ['win32', { ProgramData: 'P:\\Data' }, 'P:\\Data\\partyline\\config.json'],
    ['win32', {}, 'C:\\ProgramData\\partyline\\config.json'],
  ] as const)('of a system service on %s are nobody’s', (platform, env, config) => {
    expect(resolvePlaces({ platform, env, userHome: '/Users/anna', system: true }).config).toBe(config)
  })

  test('on macOS are in the Library', () => {
    expect(resolvePlaces({ ...linux, platform: 'darwin', userHome: '/Users/anna' })).toMatchObject({
      config: '/Users/anna/Library/Preferences/partyline/config.json',
      identity: '/Users/anna/Library/Application Support/partyline/identity.key',
    })
  })

  test('on Windows are in AppData, with named pipes', () => {
    const env = { APPDATA: 'R:\\Roaming', LOCALAPPDATA: 'L:\\Local' }
    expect(resolvePlaces({ ...windows, env })).toMatchObject({
      config: 'R:\\Roaming\\partyline\\config.json',
      identity: 'L:\\Local\\partyline\\identity.key',
      appSocket: '\\\\.\\pipe\\partyline',
      controlSocket: '\\\\.\\pipe\\partyline-control',
    })
    expect(resolvePlaces(windows).config).toBe('C:\\Users\\anna\\AppData\\Roaming\\partyline\\config.json')
  })

  test('on Windows give every home pipes of its own, however its path is written', () => {
    const pipe = (home: string): string => resolvePlaces({ ...windows, home }).appSocket
    expect(pipe('C:\\party one')).not.toBe(pipe('C:\\party-one'))
    expect(pipe('C:\\party')).toBe(pipe('c:\\Party\\'))
    expect(pipe(`C:\\${'x'.repeat(300)}`).length).toBeLessThan(256)
  })

  test.each([
    ['linux', 107],
    ['darwin', 103],
  ] as const)('on %s allow a socket path of %d bytes and refuse one more, naming it', (platform, limit) => {
    const home = (length: number): string => `/${'ü'.repeat(5)}${'x'.repeat(length - 11 - '/partyline.sock'.length)}`
    const fitting = resolvePlaces({ ...linux, platform, home: home(limit) })
    expect(Buffer.byteLength(fitting.appSocket)).toBe(limit)
    const tooLong = `${home(limit + 1)}/partyline.sock`
    expect(() => resolvePlaces({ ...linux, platform, home: home(limit + 1) })).toThrow(
      new PartylineError(
        'local.path-too-long',
        `${tooLong} has ${limit + 1} bytes; the system allows ${limit} for a socket`,
      ),
    )
  })

  test('are made with mode 0700, and again without harm', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'places-'))
    try {
      const env = {
        XDG_CONFIG_HOME: join(folder, 'c'),
        XDG_DATA_HOME: join(folder, 'd'),
        XDG_RUNTIME_DIR: join(folder, 'r'),
      }
      const places = resolvePlaces({ ...linux, env })
      await preparePlaces(places)
      await preparePlaces(places)
      for (const made of ['c/partyline', 'd/partyline', 'd/partyline/inbox', 'r/partyline'])
        expect(statSync(join(folder, made)).mode & 0o777, made).toBe(0o700)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('that cannot be made are named', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'places-'))
    try {
      writeFileSync(join(folder, 'file'), '')
      const places = resolvePlaces({ ...linux, home: join(folder, 'file', 'home') })
      await expect(preparePlaces(places)).rejects.toMatchObject({
        code: 'local.file',
        message: expect.stringContaining(join(folder, 'file', 'home')),
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
