import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { Guest } from '../scenarios/party.ts'

const missing = labMissing()
/** In a home whose router lets everything through. */
const OWNER = '192.168.2.11'

type Requests = Result<'requests.list'>

/** An owner, and a stranger somewhere on the internet who has found him, before he became careful. */
async function meet(lab: Lab): Promise<{ owner: Guest; stranger: Guest }> {
  const owner = await Guest.join(lab, 'b1', [], { settings: { 'policy.internet': 'open' } })
  const settings = { 'discovery.hints': [`${OWNER}:${owner.daemon.port}`] }
  const stranger = await Guest.join(lab, 'pub', [], { settings })
  await stranger.untilSees(owner.id)
  return { owner, stranger }
}

const set = (guest: Guest, key: string, value: string) => guest.json(['config', 'set', key, value])

/** What `partyline connect` says, and how it ends. */
async function connects(from: Guest, to: Guest): Promise<{ exit: number | null; code: string | undefined }> {
  const { code: exit, stdout } = await from.daemon.cli(['connect', to.id, '--json'])
  return { exit, code: JSON.parse(stdout).error?.code }
}

const LET_IN = { exit: 0, code: undefined }
const REFUSED = { exit: 5, code: 'policy.refused' }

/** What waits for the owner's word, as soon as something does. */
async function untilAsked(owner: Guest): Promise<Requests> {
  const events = await owner.client.events(['requests'])
  try {
    for (;;) {
      const requests = (await owner.json(['requests'])) as Requests
      if (requests.length > 0) return requests
      await events.next()
    }
  } finally {
    await events.return?.()
  }
}

describe.skipIf(missing)(`a stranger from the internet${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('is let in, refused, or waits for the owner, as the policy says, while nothing changes on the LAN', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'none' })
    const { owner, stranger } = await meet(lab)
    expect(await connects(stranger, owner)).toEqual(LET_IN)
    await stranger.json(['disconnect', owner.id])

    await owner.json(['config', 'reset', 'policy.internet'])
    expect(await connects(stranger, owner)).toEqual(REFUSED)
    expect(await owner.json(['requests'])).toEqual([])
    const neighbour = await Guest.join(lab, 'b2')
    await neighbour.untilSees(owner.id)
    expect(await connects(neighbour, owner)).toEqual(LET_IN)
    const passer = await Guest.join(lab, 'a1', [], {
      settings: { 'discovery.hints': [`${OWNER}:${owner.daemon.port}`] },
    })

    await set(owner, 'policy.internet', 'ask')
    const connecting = connects(stranger, owner)
    const [request] = await untilAsked(owner)
    expect(request).toMatchObject({ peer: stranger.id, name: 'pub', from: 'internet', by: '' })
    await owner.json(['requests', 'accept', stranger.id, '--once'])
    expect(await connecting).toEqual(LET_IN)
    expect(await owner.json(['requests'])).toEqual([])
    // Somebody who looked here before heard nothing.
    expect(await passer.sees(owner.id)).toBeUndefined()

    await stranger.json(['disconnect', owner.id])
    expect(await connects(stranger, owner)).toEqual(LET_IN)
    await stranger.json(['disconnect', owner.id])
    await set(owner, 'policy.internet', 'trusted')
    const rules = ((await owner.json(['policy', stranger.id])) as Result<'policy.get'>).rules
    expect(rules.find(({ key }) => key === 'open (internet)')).toMatchObject({ value: 'admit', by: 'once' })
    await owner.json(['policy', 'set', stranger.id, 'open', 'trusted'])
    await owner.json(['block', stranger.id])
    expect(await connects(stranger, owner)).toEqual(REFUSED)
    expect((await owner.client.call('daemon.status', {})).refused).toMatchObject({ 'policy.blocked': 1 })
  }, 120_000)

  test('is told that the owner was asked, and afterwards what he said', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'none' })
    const { owner, stranger } = await meet(lab)
    await set(owner, 'policy.internet', 'ask')
    expect(await connects(stranger, owner)).toEqual({ exit: 5, code: 'policy.asking' })
    await owner.json(['requests', 'refuse', stranger.id])
    expect(await connects(stranger, owner)).toEqual(REFUSED)
    expect(await owner.json(['requests'])).toEqual([])
    await owner.json(['policy', 'set', stranger.id, 'open', 'open'])
    expect(await connects(stranger, owner)).toEqual(LET_IN)
  }, 60_000)
})
