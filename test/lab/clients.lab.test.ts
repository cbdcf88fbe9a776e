import { describe, expect, test } from 'vitest'
import { FINCH_NEEDS, Finch } from './finch.ts'
import { Lab, labMissing } from './lab.ts'

const missing = labMissing(FINCH_NEEDS)

describe.skipIf(missing)(`two Finches on a LAN${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('see each other come, be away and go, and chat', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [alice, bob] = await Promise.all([Finch.start(lab, 'h1', 'alice'), Finch.start(lab, 'h2', 'bob')])
    await alice.until('bob is there', (buddies) => buddies.some((buddy) => buddy.name === bob.name && buddy.online))
    await bob.until('alice is there', (buddies) => buddies.some((buddy) => buddy.name === alice.name && buddy.online))
    expect(await bob.screen()).toContain('alice')

    await alice.setAway('beim Essen')
    await bob.until('alice is away', ([buddy]) => buddy?.status === 'away' && buddy.text === 'beim Essen')
    await alice.setAvailable()
    await bob.until('alice is back', ([buddy]) => buddy?.status === 'available')

    await alice.send(bob.name, 'Grüße & <Küsse>, 你好')
    expect(await bob.receives('Grüße & <Küsse>, 你好')).toBe(alice.name)
    await bob.send(alice.name, 'zurück')
    expect(await alice.receives('zurück')).toBe(bob.name)

    await alice.quit()
    await bob.until('alice has gone', (buddies) => !buddies.some((buddy) => buddy.online))
  })
})
