import { existsSync, readFileSync } from 'node:fs'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { MAX_ACCOUNTS } from '../../daemon/accounts/account-file.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { AccountHost } from './account-host.ts'
import { Authority, type Certified } from './authority.ts'
import { XmppServer } from './xmpp-server.ts'

const DOMAIN = 'example.org'
const ANNA = 'anna@example.org'
const PASSWORD = 'correct horse'

let authority: Authority
let certificate: Certified
beforeAll(async () => {
  authority = await Authority.make()
  certificate = await authority.certify(DOMAIN)
})

let clock: VirtualClock
let host: AccountHost
let server: XmppServer
let users: Record<string, string>
let services: string
beforeEach(async () => {
  clock = new VirtualClock()
  host = new AccountHost(clock)
  users = { anna: PASSWORD, ben: PASSWORD }
  services = ''
  server = await XmppServer.start({ domain: DOMAIN, certificate, users, services: () => services })
})
afterEach(async () => {
  await host[Symbol.asyncDispose]()
  await server.stop()
})

const add = (jid = ANNA, password = PASSWORD) =>
  host.accounts.add({ jid, password, server: server.place, ca: authority.pem })

describe('an account that is added', () => {
  test('is logged in, kept, and logged in again after a restart', async () => {
    const [account] = await add('Anna@Example.org')
    expect(account).toMatchObject({ jid: ANNA, state: 'online', detail: '', server: server.place, services: [] })
    expect(server.present).toHaveLength(1)
    expect(host.accounts.jids()).toEqual([ANNA])
    await host.reopen()
    await host.until(() => host.only.state === 'online')
    await host.accounts.remove(ANNA)
    await server.untilPresent(0)
    expect(host.accounts.list()).toEqual([])
    expect(readFileSync(host.file, 'utf8')).not.toContain(PASSWORD)
  })

  test('says nothing but what it must: no presence, no roster, no version', async () => {
    await add()
    await host.until(() => host.only.rtt !== null)
    const kinds = server.stanzas.map(
      (text) => /<(?:bind|services|auth|session|ping|enable)\b|<presence/.exec(text)?.[0],
    )
    expect(kinds).toEqual(['<auth', '<bind', '<services'])
  })

  test('with a wrong password is not kept, and the password is told nowhere', async () => {
    await expect(add(ANNA, 'battery staple')).rejects.toMatchObject({ code: 'peer.not-authorized' })
    expect(existsSync(host.file)).toBe(false)
    expect([host.accounts.list(), host.accounts.jids()]).toEqual([[], []])
    await add()
    expect(host.log).not.toMatch(/battery staple|correct horse/)
    expect(JSON.stringify(host.accounts.list())).not.toContain(PASSWORD)
  })

  test('again, with a password that is wrong, leaves the one that is right', async () => {
    await add()
    await expect(add(ANNA, 'battery staple')).rejects.toMatchObject({ code: 'peer.not-authorized' })
    await host.until(() => host.only.state === 'online')
    expect(readFileSync(host.file, 'utf8')).toContain(PASSWORD)
  })

  test.each([
    [{ jid: 'anna' }, 'is no XMPP address'],
    [{ jid: 'anna@example.org/phone' }, 'is no XMPP address'],
    [{ password: '' }, 'characters'],
    [{ password: 'x'.repeat(1025) }, 'characters'],
    [{ server: 'example.org:0' }, 'HOST or HOST:PORT'],
    [{ ca: 'not a certificate' }, 'PEM'],
  ])('is refused where it is none: %j', async (change, why) => {
    const given = { jid: ANNA, password: PASSWORD, server: server.place, ca: authority.pem, ...change }
    await expect(host.accounts.add(given)).rejects.toMatchObject({
      code: 'usage.invalid-argument',
      message: expect.stringContaining(why),
    })
  })

  test('is one of a few', async () => {
    for (let n = 0; n < MAX_ACCOUNTS; n++) {
      users[`user${n}`] = PASSWORD
      await add(`user${n}@${DOMAIN}`)
    }
    await expect(add()).rejects.toMatchObject({ code: 'local.limit' })
    await expect(host.accounts.remove(ANNA)).rejects.toMatchObject({ code: 'local.no-account' })
  })
})

describe('an account whose connection is lost', () => {
  test('is logged in again, after pauses that grow', async () => {
    await add()
    const { port } = server
    await server.stop()
    await host.until(() => host.only.state === 'waiting')
    // One second, then two, four, and five at most for ten minutes.
    for (const pause of [1000, 2000, 4000, 5000, 5000]) {
      clock.advance(pause - 1)
      expect(host.only.state).toBe('waiting')
      clock.advance(1)
      expect(host.only.state).toBe('connecting')
      await host.until(() => host.only.state === 'waiting')
    }
    await server.listen(port)
    clock.advance(5000)
    await host.until(() => host.only.state === 'online')
  })

  test('is logged in at once when the network comes back', async () => {
    await add()
    const { port } = server
    await server.stop()
    await host.until(() => host.only.state === 'waiting')
    await server.listen(port)
    host.accounts.networkChanged([])
    clock.advance(0)
    await host.until(() => host.only.state === 'online')
  })

  test('is not tried any more once its password was changed', async () => {
    await add()
    users.anna = 'another one'
    server.cut()
    await host.until(() => host.only.state === 'waiting')
    clock.advance(1000)
    await host.until(() => host.only.state === 'failed')
    const before = server.stanzas.length
    clock.advance(3_600_000)
    expect([host.only.state, server.stanzas.length]).toEqual(['failed', before])
    expect(host.only.detail).toContain('refused the log-in')
  })

  test('is missed where the server falls silent', async () => {
    await add()
    server.isMute = true
    clock.advance(300_000)
    await host.until(() => host.only.state !== 'online')
    expect(host.only.detail).toContain('does not answer')
  })
})

describe('a server', () => {
  test('that gives us the address of somebody else is left', async () => {
    await using other = await XmppServer.start({ domain: 'example.net', certificate, users })
    await expect(
      host.accounts.add({ jid: ANNA, password: PASSWORD, server: other.place, ca: authority.pem }),
    ).rejects.toMatchObject({ code: 'peer.malformed' })
  })

  test('that offers nothing we log in with is left, and learns no password', async () => {
    const mechanisms = `<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>DIGEST-MD5</mechanism></mechanisms>`
    await using other = await XmppServer.start({ domain: DOMAIN, certificate, users, mechanisms })
    await expect(
      host.accounts.add({ jid: ANNA, password: PASSWORD, server: other.place, ca: authority.pem }),
    ).rejects.toMatchObject({ code: 'peer.malformed' })
    expect(other.stanzas).toEqual([])
  })

  test('that sends what is no XML is left, and looked for again', async () => {
    await add()
    server.broadcast('<message><body></message>')
    await host.until(() => host.only.state === 'waiting')
  })
})

describe('servers for STUN and TURN that a server names', () => {
  const named = (password: string, expires: number) =>
    `<service host='turn.example.org' type='turn' transport='udp' port='3478' username='u' password='${password}' expires='${new Date(expires).toISOString()}'/>`

  test('are known with their credentials, which are renewed in time', async () => {
    services = named('first', clock.wall() + 36_000)
    await add()
    await host.until(() => host.accounts.servers().turn.length > 0)
    expect(host.accounts.servers().turn).toMatchObject([{ host: 'turn.example.org', username: 'u', password: 'first' }])
    expect(host.only.services).toHaveLength(1)
    expect(JSON.stringify(host.accounts.list())).not.toContain('first')
    services = named('second', clock.wall() + 7_200_000)
    clock.advance(30_000)
    await host.until(() => host.accounts.servers().turn[0]?.password === 'second')
    expect(host.log).not.toMatch(/first|second/)
  })

  test('are asked for again when the server says that they are others', async () => {
    await add()
    await host.until(() => host.only.rtt !== null)
    services = named('new', clock.wall() + 3_600_000)
    server.broadcast(`<iq type='set' id='p' from='${DOMAIN}'><services xmlns='urn:xmpp:extdisco:2' type='turn'/></iq>`)
    await host.until(() => host.accounts.servers().turn.length > 0)
    expect(server.stanzas.some((text) => text.includes('id="p"') && text.includes('result'))).toBe(true)
  })

  test('are left alone where their owner does not want them', async () => {
    services = named('first', clock.wall() + 3_600_000)
    host.usesServers = false
    await add()
    await host.until(() => host.only.services.length > 0)
    expect(host.accounts.servers()).toEqual({ stun: [], turn: [] })
  })
})
