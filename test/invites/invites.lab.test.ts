import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { openMeeting } from '../nat/matrix/partyline.ts'
import { Guest } from '../scenarios/party.ts'

const missing = labMissing(['turnserver', 'openssl', 'ss'])

type Created = Result<'invites.create'>
type Joined = Extract<Result<'invites.join'>, { state: 'joined' }>

const invite = async (guest: Guest, ...args: readonly string[]): Promise<Created> =>
  (await guest.json(['invite', ...args])) as Created
const join = async (guest: Guest, ticket: string): Promise<Joined> => (await guest.json(['join', ticket])) as Joined

/** What `partyline join` says of a ticket that it refuses, and how it ends. */
async function refusal(guest: Guest, ticket: string): Promise<{ code: string; exit: number | null }> {
  const { code: exit, stdout } = await guest.daemon.cli(['join', ticket, '--json'])
  return { code: JSON.parse(stdout).error?.code, exit }
}

/** Both trust each other, and each is called there as it calls itself. */
async function expectFriends(a: Guest, b: Guest): Promise<void> {
  const [seenByA, seenByB] = await Promise.all([
    a.client.call('peers.get', { peer: b.id }),
    b.client.call('peers.get', { peer: a.id }),
  ])
  expect(seenByA).toMatchObject({ trust: 'trusted', petname: b.host })
  expect(seenByB).toMatchObject({ trust: 'trusted', petname: a.host })
}

async function expectChat(from: Guest, to: Guest): Promise<void> {
  await from.client.call('chat.send', { peer: to.id, text: `hello ${to.host}` })
  expect(await to.hears(`hello ${to.host}`)).toMatchObject({ peer: from.id, encrypted: true })
}

/** The objects that a command prints with --json, one a line. */
function objectsOf(child: ChildProcess): AsyncIterator<unknown> {
  if (!child.stdout) throw new Error('the command has no output')
  const lines = createInterface(child.stdout)
  return (async function* () {
    for await (const line of lines) yield JSON.parse(line)
  })()
}

const next = async <T>(objects: AsyncIterator<unknown>): Promise<T> => (await objects.next()).value as T

describe.skipIf(missing)(`tickets${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('on a LAN: joined in a moment, and every ticket that is no good is refused with its reason', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const [a, b, c] = await Promise.all([Guest.join(lab, 'h1'), Guest.join(lab, 'h2'), Guest.join(lab, 'h3')])
    await Promise.all([a.untilSees(b.id, c.id), b.untilSees(a.id), c.untilSees(a.id)])

    const created = await invite(a)
    expect(created).toMatchObject({ uses: 1, outside: false })
    expect(await join(b, created.ticket)).toMatchObject({ state: 'joined', peer: a.id, name: 'h1', petname: 'h1' })
    await expectFriends(a, b)
    await expectChat(b, a)
    const [used] = (await a.json(['invite', 'list'])) as Result<'invites.list'>
    expect(used).toMatchObject({ id: created.id, state: 'used', joined: [b.id] })

    expect(await refusal(c, created.ticket)).toEqual({ code: 'policy.ticket-used', exit: 5 })
    expect(await join(b, created.ticket)).toMatchObject({ state: 'joined', peer: a.id })
    expect(await refusal(a, created.ticket)).toEqual({ code: 'usage.invalid-argument', exit: 2 })
    const damaged = created.ticket.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a'))
    expect(await refusal(c, damaged)).toEqual({ code: 'usage.bad-ticket', exit: 2 })
    expect(await refusal(c, created.ticket.slice(0, -9))).toEqual({ code: 'usage.bad-ticket', exit: 2 })
    const forB = await invite(a, '--peer', b.id)
    expect(await refusal(c, forB.ticket)).toEqual({ code: 'policy.ticket-not-for-you', exit: 5 })
    const revoked = await invite(a)
    await a.json(['invite', 'revoke', revoked.id])
    expect(await refusal(c, revoked.ticket)).toEqual({ code: 'policy.ticket-revoked', exit: 5 })
    const late = await invite(a, '--for', '1s')
    while (Date.now() < late.expires * 1000) await c.client.call('daemon.status', {})
    expect(await refusal(c, late.ticket)).toEqual({ code: 'policy.ticket-expired', exit: 5 })
    expect((await c.client.call('peers.get', { peer: a.id })).trust).toBe('unknown')

    const kept = await invite(a, '--petname', 'carol')
    await a.restart()
    await c.untilSees(a.id)
    const { code, stdout } = await c.daemon.cli(['join', '-', '--petname', 'anna'], { input: `${kept.ticket}\n` })
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('anna and this host trust') })
    expect(await a.client.call('peers.get', { peer: c.id })).toMatchObject({ trust: 'trusted', petname: 'carol' })
  }, 120_000)

  test('between two homes behind NAT, by a hub that the ticket names', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    await lab.svc('srv', 'coturn', 'lt', '443')
    const { ticket: hub } = await openMeeting(lab)
    const stun = { 'nat.stun': ['10.99.0.10:3478', '10.99.0.11:3478'] }
    const [a, b] = await Promise.all([
      Guest.join(lab, 'a1', [], { settings: { ...stun, 'hub.join': [hub] } }),
      Guest.join(lab, 'b1', [], { settings: stun }),
    ])
    await a.untilJoined()
    const created = await invite(a)
    expect(created.ways.hubs).toHaveLength(1)
    expect(await join(b, created.ticket)).toMatchObject({ state: 'joined', peer: a.id, petname: 'a1' })
    await expectFriends(a, b)
    await expectChat(b, a)
    expect((await b.client.call('peers.get', { peer: a.id })).route).toBe('punched')
  }, 60_000)

  test('from behind NAT to a public host, by nothing but its address', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'sym' })
    const [a, b] = await Promise.all([Guest.join(lab, 'pub'), Guest.join(lab, 'b1')])
    const created = await invite(a)
    expect(created.ways).toMatchObject({ accounts: [], hubs: [], addresses: [{ address: '10.99.0.20' }] })
    expect(await join(b, created.ticket)).toMatchObject({ state: 'joined', peer: a.id, petname: 'pub' })
    await expectFriends(a, b)
    await expectChat(b, a)
    expect((await b.client.call('peers.get', { peer: a.id })).route).toBe('direct')
  }, 60_000)

  test('where nothing reaches the inviter it is told what was tried', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    const [a, b] = await Promise.all([Guest.join(lab, 'a1'), Guest.join(lab, 'b1')])
    const { ticket } = await invite(a)
    const failed = b.client.call('invites.join', { ticket, timeout: 3000 })
    await expect(failed).rejects.toMatchObject({ code: 'network.unreachable' })
    await expect(failed).rejects.toThrow(/192\.168\.1\.11:\d+: .+; the LAN: it is not seen there/)
    expect((await b.client.call('peers.list', {})).some(({ id }) => id === a.id)).toBe(false)
  }, 60_000)

  test.each([
    ['eim', 'eim'],
    ['cone', 'sym'],
  ])(
    'by hand between %s and %s NAT: two pastes and a STUN server, no signaller',
    async (kindA, kindB) => {
      await using lab = await Lab.up('nat-pair', { a: kindA, b: kindB })
      await lab.svc('srv', 'coturn', 'lt', '443')
      const settings = { 'nat.stun': ['10.99.0.10:3478', '10.99.0.11:3478'] }
      const [a, b] = await Promise.all([
        Guest.join(lab, 'a1', [], { settings }),
        Guest.join(lab, 'b1', [], { settings }),
      ])
      const inviting = lab.cli('a1', ['invite', '--offline', '--json', '--home', a.daemon.home])
      const told = objectsOf(inviting)
      const { ticket } = await next<Created>(told)
      const joining = lab.cli('b1', ['join', ticket, '--json', '--home', b.daemon.home])
      const heard = objectsOf(joining)
      const { answer } = await next<{ answer: string }>(heard)
      inviting.stdin?.write(`${answer}\n`)
      expect(await next(told)).toMatchObject({ state: 'joined', peer: b.id })
      expect(await next(heard)).toMatchObject({ state: 'joined', peer: a.id })
      await Promise.all([inviting, joining].map((child) => child.exitCode ?? once(child, 'exit')))
      expect([inviting.exitCode, joining.exitCode]).toEqual([0, 0])
      await expectFriends(a, b)
      await expectChat(b, a)
      expect((await a.client.call('peers.get', { peer: b.id })).route).toBe('punched')
    },
    60_000,
  )
})
