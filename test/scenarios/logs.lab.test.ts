import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { befriend, chat, openInternet, startWithAccount } from './online.ts'
import type { Guest } from './party.ts'

const missing = labMissing(['turnserver', 'prosody', 'openssl', 'ss'])
const LINE = 'the flower pot is on the third step'
const TURN = 'turn:hidden:hushed@10.99.0.77:3478'

/** What is in the files of a home that nobody else may know. */
function secretsOf({ daemon: { home } }: Guest): readonly string[] {
  const pem = readFileSync(join(home, 'identity.key'), 'utf8')
  const { d = '' } = createPrivateKey(pem).export({ format: 'jwk' })
  const relay = JSON.parse(readFileSync(join(home, 'relay-secret.json'), 'utf8')) as { secrets: { key: string }[] }
  const token = readFileSync(join(home, 'metrics.token'), 'utf8').trim()
  return [pem.split('\n')[1] ?? '', d, Buffer.from(d, 'base64url').toString('hex'), token].concat(
    relay.secrets.map(({ key }) => key),
  )
}

describe.skipIf(missing)(`the log, at its most talkative${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('holds no key, password, ticket, PIN, token or message', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await openInternet(lab)
    const settings = { 'nat.turn': [TURN], 'relay.enabled': true, 'metrics.port': 9464 }
    const [a, b] = await Promise.all([
      startWithAccount(lab, 'a1', 'alice', settings),
      startWithAccount(lab, 'b1', 'bob', settings),
    ])
    const ticket = await befriend(a, b)
    await chat(a, b)
    await a.client.call('chat.send', { peer: b.id, text: LINE })
    await b.hears(LINE)
    await a.json(['message', b.id, 'game', LINE, '--unreliable']).catch(() => {})
    await a.json(['hub', 'start', '--name', 'party'])
    const { ticket: hub, pin } = (await a.json(['hub', 'pin'])) as Result<'hub.pin'>
    const credentials = (await a.json(['relay', 'credentials', b.id])) as Result<'relay.credentials'>
    await a.json(['join', 'partyline:nonsense']).catch(() => {})
    const secrets = [
      ...secretsOf(a),
      ...secretsOf(b),
      ticket,
      ticket.slice(20, 60),
      hub,
      pin,
      credentials.password,
      LINE,
    ]
    expect(secrets.filter((one) => one.length < 4)).toEqual([])
    for (const guest of [a, b]) {
      const log = guest.daemon.log()
      expect(log).toContain('traversal: ')
      expect(secrets.concat('hidden', 'hushed').filter((one) => log.includes(one))).toEqual([])
      // The password is the account's name: it may stand where that does, and nowhere else.
      expect(log.replaceAll(/(?:alice|bob)@lab\.test/g, '')).not.toMatch(/\b(?:alice|bob)\b/)
    }
  }, 60_000)
})
