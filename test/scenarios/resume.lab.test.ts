import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import { allSeeAll, Guest } from './party.ts'
import { Numbered, Pouring } from './traffic.ts'

const missing = labMissing()
/** What may happen to a LAN in the middle of a match. */
const FAULTS: Record<string, (lab: Lab, h2: Guest) => Promise<void>> = {
  'the cable is pulled for three seconds': async (lab) => {
    await lab.link('h2', 'down')
    await sleep(3000)
    await lab.link('h2', 'up')
  },
  'its switch drops everything for twelve seconds': async (lab) => {
    await lab.nft('h2', 'table inet cut { chain in { type filter hook input priority 0; policy drop; }; }')
    await sleep(12_000)
    await lab.exec('h2', ['nft', 'delete', 'table', 'inet', 'cut'])
  },
  'it gets another address': async (lab) => {
    await lab.exec('h2', ['ip', 'addr', 'del', '192.168.50.2/24', 'dev', 'eth0'])
    await lab.exec('h2', ['ip', 'addr', 'add', '192.168.50.77/24', 'dev', 'eth0'])
  },
  'its connections are reset': async (lab) => {
    const rules =
      'table inet cut { chain in { type filter hook input priority 0; meta l4proto tcp reject with tcp reset; }; }'
    await lab.nft('h2', rules)
    await sleep(500)
    await lab.exec('h2', ['nft', 'delete', 'table', 'inet', 'cut'])
  },
  'its daemon sleeps for twelve seconds': async (_, h2) => {
    h2.daemon.child.kill('SIGSTOP')
    await sleep(12_000)
    h2.daemon.child.kill('SIGCONT')
  },
}

describe.skipIf(missing)(`a session loses nothing${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.each(Object.keys(FAULTS))('when %s', async (what) => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')]
    await allSeeAll([h1, h2])
    const { peer } = await h1.client.call('sessions.open', { peer: h2.id })
    expect(peer).toBe(h2.id)
    const events = await h1.client.events(['sessions'])
    const names: string[] = []
    const changed = Promise.withResolvers<void>()
    const listening = (async () => {
      for await (const { name } of events) {
        names.push(name)
        if (name === 'sessions.changed') changed.resolve()
      }
    })()
    const pourings = [await Pouring.between(h1, h2), await Pouring.between(h2, h1)]
    const flows = [await Numbered.between(h1, h2), await Numbered.between(h2, h1)] as const
    await Promise.all(flows.map((flow) => flow.goesOn(500)))
    await FAULTS[what]?.(lab, h2)
    // TCP itself bears a cable that is out for a moment.
    if (!what.includes('cable')) await changed.promise
    await Promise.all(flows.map((flow) => flow.goesOn(500)))
    for (const flow of [...flows, ...pourings]) await flow.end()
    await events.return?.()
    await listening
    expect(names).not.toContain('sessions.closed')
  })

  test('but what a restarted daemon had not acknowledged, and says that', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')]
    await allSeeAll([h1, h2])
    const messages = await h2.client.messages('slow')
    await h1.client.send(h2.id, 'slow', 'first')
    await messages.next()
    // Nobody reads on: the daemon there has it, no app does.
    h2.daemon.child.kill('SIGSTOP')
    const sent = h1.client.send(h2.id, 'slow', 'second')
    const told = expect(sent).rejects.toMatchObject({ code: 'peer.restarted' })
    await h2.restart()
    await told
    await h1.untilSees(h2.id)
    expect(await h1.client.call('sessions.ping', { peer: h2.id })).toMatchObject({ route: 'lan' })
  })
})
