import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { befriend, chat } from '../scenarios/online.ts'
import { Guest } from '../scenarios/party.ts'

const missing = labMissing(['turnserver', 'prosody', 'openssl', 'ss'])

type Account = Result<'accounts.list'>[number]

/** `partyline account add` of somebody whose password is the name, at the server on a lab host. */
async function logIn(
  lab: Lab,
  guest: Guest,
  jid: string,
  at: 'srv' | 'pub',
  server?: string,
): Promise<readonly Account[]> {
  const [user = '', domain] = jid.split('@')
  const ca = join(lab.folder, at, 'prosody/cert.pem')
  const args = ['account', 'add', jid, '--password-file', '-', '--ca', ca, '--server', server ?? `${domain}`]
  return (await guest.json(args, `${user}\n`)) as Account[]
}

/** Resolves with what the list says of its only account once that is in this state. */
async function until(guest: Guest, state: Account['state']): Promise<Account> {
  const events = await guest.client.events(['accounts'])
  try {
    for (;;) {
      const [account] = await guest.client.call('accounts.list', {})
      if (account?.state === state) return account
      await events.next()
    }
  } finally {
    await events.return?.()
  }
}

describe.skipIf(missing)(`accounts at real servers${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.concurrent('two servers that talk to each other carry signals between theirs, by direct TLS and by STARTTLS', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await Promise.all([lab.svc('srv', 'coturn'), lab.svc('srv', 'prosody'), lab.svc('pub', 'prosody', 'other.test')])
    const [a, b] = await Promise.all([Guest.join(lab, 'a1'), Guest.join(lab, 'b1')])
    expect(await logIn(lab, a, 'alice@lab.test', 'srv')).toMatchObject([{ state: 'online', server: 'lab.test:5223' }])
    expect(await logIn(lab, b, 'bob@other.test', 'pub', 'other.test:5222')).toMatchObject([
      { state: 'online', server: 'other.test:5222' },
    ])
    await befriend(a, b)
    await chat(a, b)
  }, 60_000)

  test.concurrent('what is wrong is said, kept nowhere, and the password is in no log', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await Promise.all([lab.svc('srv', 'prosody'), lab.svc('pub', 'prosody', 'other.test')])
    const a = await Guest.join(lab, 'a1', [], { settings: { 'log.level': 'debug' } })
    const add = async (jid: string, password: string, ...args: readonly string[]) => {
      const { stdout, code } = await a.daemon.cli(['account', 'add', jid, '--password-file', '-', ...args, '--json'], {
        input: `${password}\n`,
      })
      return { exit: code, code: JSON.parse(stdout).error?.code }
    }
    const ca = ['--ca', join(lab.folder, 'srv/prosody/cert.pem')]
    const others = ['--ca', join(lab.folder, 'pub/prosody/cert.pem')]
    expect(await add('alice@lab.test', 'hush-hush', '--server', 'lab.test', ...ca)).toMatchObject({
      code: 'peer.not-authorized',
    })
    expect(await add('alice@lab.test', 'alice', '--server', 'lab.test')).toMatchObject({ code: 'peer.bad-certificate' })
    expect(await add('alice@lab.test', 'alice', '--server', 'other.test', ...others)).toMatchObject({
      code: 'peer.wrong-protocol',
    })
    expect(await add('alice@lab.test', 'alice', '--server', 'lab.test:9', ...ca)).toMatchObject({
      code: 'network.unreachable',
    })
    expect(await a.json(['account', 'list'])).toEqual([])
    expect(a.daemon.log()).not.toContain('hush-hush')
  }, 60_000)

  test.concurrent('a server that is restarted is logged in at again; its TURN credentials make a relay', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'sym', b: 'sym' })
    await Promise.all([lab.svc('srv', 'coturn', 'rest'), lab.svc('srv', 'prosody')])
    const [a, b] = await Promise.all([Guest.join(lab, 'a1'), Guest.join(lab, 'b1')])
    await Promise.all([logIn(lab, a, 'alice@lab.test', 'srv'), logIn(lab, b, 'bob@lab.test', 'srv')])
    await befriend(a, b)
    await a.client.call('sessions.open', { peer: b.id })
    await a.untilRoute(b.id, 'relay')
    const { services } = await until(a, 'online')
    expect(services).toEqual(expect.arrayContaining(['stun:turn.lab.test:3478', 'turn:turn.lab.test']))
    expect(JSON.stringify(await a.client.call('accounts.list', {}))).not.toMatch(/password|labsecret/)

    const pid = Number(readFileSync(join(lab.folder, 'srv/prosody/pid'), 'utf8'))
    process.kill(pid)
    await until(a, 'waiting')
    await chat(a, b, 'meanwhile')
    await lab.svc('srv', 'prosody')
    await Promise.all([until(a, 'online'), until(b, 'online')])
  }, 90_000)
})
