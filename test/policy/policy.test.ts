import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LocalCandidate } from '../../daemon/nat/candidate.ts'
import { OPENNESS, SHARES } from '../../daemon/peers/peer-policy.ts'
import { ON_METERED } from '../../daemon/policy/policy.ts'
import { networkInterface } from '../simulated-network.ts'
import { linkTo, PEER, SETTINGS, World } from './world.ts'

describe('who may open a session', () => {
  // Trust, what was said of the peer, whether it was let in once, the setting: what becomes of it.
  test.each([
    ['unknown', undefined, false, 'open', 'admit', 'settings'],
    ['unknown', undefined, false, 'ask', 'ask', 'settings'],
    ['unknown', undefined, false, 'trusted', 'refuse', 'settings'],
    ['unknown', undefined, true, 'ask', 'admit', 'once'],
    ['unknown', undefined, true, 'trusted', 'admit', 'once'],
    ['unknown', 'open', false, 'trusted', 'admit', 'peer'],
    ['unknown', 'ask', false, 'open', 'ask', 'peer'],
    ['unknown', 'ask', true, 'trusted', 'admit', 'once'],
    ['unknown', 'trusted', false, 'open', 'refuse', 'peer'],
    ['trusted', undefined, false, 'ask', 'admit', 'trust'],
    ['trusted', 'trusted', false, 'trusted', 'admit', 'trust'],
    ['blocked', undefined, false, 'open', 'refuse', 'trust'],
    ['blocked', 'open', true, 'open', 'refuse', 'trust'],
  ] as const)('%s, %s for the peer, once %s, %s by the settings: %s', (trust, open, isGranted, setting, value, by) => {
    const world = new World()
    world.trust = trust
    world.said = open ? { open } : {}
    world.isGranted = isGranted
    for (const origin of ['lan', 'internet'] as const) {
      const other = origin === 'lan' ? 'internet' : 'lan'
      world.settings = { ...SETTINGS, open: { [origin]: setting, [other]: 'trusted' } as typeof SETTINGS.open }
      expect(world.policy.decide(PEER, origin)).toEqual({ value, by })
    }
  })

  test('a blocked peer gets nothing and a trusted one in, whatever else is said', () => {
    const any = fc.record({
      open: fc.option(fc.constantFrom(...OPENNESS), { nil: undefined }),
      share: fc.option(fc.constantFrom(...SHARES), { nil: undefined }),
      relay: fc.option(fc.boolean(), { nil: undefined }),
      signals: fc.option(fc.boolean(), { nil: undefined }),
    })
    const settings = fc.record({
      open: fc.record({ lan: fc.constantFrom(...OPENNESS), internet: fc.constantFrom(...OPENNESS) }),
      share: fc.constantFrom(...SHARES),
      punch: fc.boolean(),
      onMetered: fc.constantFrom(...ON_METERED),
      relays: fc.boolean(),
      carries: fc.boolean(),
    })
    fc.assert(
      fc.property(any, settings, fc.boolean(), fc.constantFrom('lan', 'internet'), (said, all, isGranted, origin) => {
        const world = new World()
        Object.assign(world, { said, settings: all, isGranted, trust: 'blocked', seenOn: ['eth0'] })
        const { policy } = world
        expect(policy.decide(PEER, origin).value).toBe('refuse')
        expect(policy.share(PEER).value).toBe('none')
        expect(policy.candidates(PEER, CANDIDATES)).toEqual([])
        expect([policy.mayRelay(PEER).value, policy.mayCarry(PEER).value]).toEqual([false, false])
        world.trust = 'trusted'
        expect(policy.decide(PEER, origin).value).toBe('admit')
        world.trust = 'unknown'
        // What was said of the peer goes before the settings.
        if (said.open !== undefined) expect(policy.decide(PEER, origin).by).not.toBe('settings')
        if (said.share !== undefined && all.punch) expect(policy.share(PEER)).toEqual({ value: said.share, by: 'peer' })
        expect([policy.mayRelay(PEER).value, policy.mayCarry(PEER).value]).toEqual([false, false])
      }),
    )
  })
})

describe('where a link comes from', () => {
  test.each([
    ['an address on our subnet', linkTo('192.168.50.7'), 'lan'],
    ['the same, written as IPv6', linkTo('::ffff:192.168.50.7'), 'lan'],
    ['an IPv6 address on our prefix', linkTo('2001:db8:50::7'), 'lan'],
    ['a link-local address', linkTo('fe80::7%eth0'), 'lan'],
    ['this machine', linkTo('127.0.0.1'), 'lan'],
    ['a path to our subnet', linkTo('192.168.50.7', 'straight'), 'lan'],
    ['another private network', linkTo('192.168.51.7'), 'internet'],
    ['a public address', linkTo('203.0.113.7'), 'internet'],
    ['a relay, on our subnet even', linkTo('192.168.50.7', 'relayed'), 'internet'],
    ['a path to a public address', linkTo('203.0.113.7', 'straight'), 'internet'],
  ] as const)('%s: %s', (_, link, origin) => {
    expect(new World().policy.originOf(link)).toBe(origin)
  })

  test('a network that takes no part is no LAN', () => {
    const world = new World()
    world.interfaces = [{ ...networkInterface('tun0', ['10.8.0.2/24']), kind: 'vpn', participating: false }]
    expect(world.policy.originOf(linkTo('10.8.0.7'))).toBe('internet')
    expect(world.policy.originOf(linkTo('fe80::7%tun0'))).toBe('internet')
  })

  test('a peer known by signals only is on the LAN while it is seen there', () => {
    const world = new World()
    expect(world.policy.originOfPeer(PEER)).toBe('internet')
    world.seenOn = ['eth0']
    expect(world.policy.originOfPeer(PEER)).toBe('lan')
  })
})

const candidate = (kind: LocalCandidate['kind'], address: string): LocalCandidate => {
  const relay = kind === 'relay' || kind === 'friend-relay' ? { relay: 'relay-1' } : {}
  return { kind, address, port: 1, priority: 1, foundation: 'f', interface: '', ...relay }
}
const CANDIDATES = [
  candidate('host', '192.168.50.1'),
  candidate('host', '10.8.0.2'),
  candidate('host', '2001:db8:50::1'),
  candidate('mapped', '100.64.0.9'),
  candidate('mapped', '203.0.113.1'),
  candidate('srflx', '203.0.113.2'),
  candidate('friend-relay', '198.51.100.1'),
  candidate('relay', '198.51.100.2'),
]

describe('what a peer may learn', () => {
  const PUBLIC = ['2001:db8:50::1', '203.0.113.1', '203.0.113.2', '198.51.100.1', '198.51.100.2']
  test.each([
    ['all', CANDIDATES.map(({ address }) => address)],
    ['public', PUBLIC],
    ['relay', ['198.51.100.1', '198.51.100.2']],
    ['none', []],
  ] as const)('%s', (share, told) => {
    const world = new World()
    world.said = { share }
    expect(world.policy.candidates(PEER, CANDIDATES).map(({ address }) => address)).toEqual(told)
    world.said = {}
    world.settings = { ...SETTINGS, share }
    expect(world.policy.candidates(PEER, CANDIDATES).map(({ address }) => address)).toEqual(told)
    expect(world.policy.candidates(undefined, CANDIDATES).map(({ address }) => address)).toEqual(told)
  })

  test('a peer on a network of ours learns our addresses there, and no others', () => {
    const world = new World()
    world.said = { share: 'public' }
    world.seenOn = ['eth0']
    const told = world.policy.candidates(PEER, CANDIDATES).map(({ address }) => address)
    expect(told.sort()).toEqual(['192.168.50.1', ...PUBLIC].sort())
    expect(world.policy.addresses(PEER, ['192.168.50.1', '10.8.0.2'])).toEqual(['192.168.50.1'])
  })

  test.each([
    ['all', { straight: true, inner: true, dialled: true }],
    ['public', { straight: true, inner: false, dialled: true }],
    ['relay', { straight: false, inner: false, dialled: false }],
    ['none', { straight: false, inner: false, dialled: true }],
  ] as const)('with `%s`, what leaves for it may go %o', (share, { straight, inner, dialled }) => {
    const world = new World()
    world.said = { share }
    const { policy } = world
    const at = (address: string) => ({ address, port: 1 })
    expect(policy.mayLeave(PEER, at('203.0.113.7'))).toBe(straight)
    expect(policy.mayLeave(PEER, at('192.168.77.7'))).toBe(inner)
    expect(policy.mayLeave(PEER, { ...at('203.0.113.7'), relay: 'relay-1' })).toBe(true)
    expect([policy.mayDial(PEER, '203.0.113.7'), policy.mayDial(PEER, '192.168.50.7')]).toEqual([dialled, true])
  })

  test('no more is found out than somebody may learn; nothing where no ways are looked for', () => {
    const world = new World()
    world.settings = { ...SETTINGS, share: 'relay' }
    expect(world.policy.widestShare()).toBe('relay')
    world.said = { share: 'public' }
    expect(world.policy.widestShare()).toBe('public')
    world.settings = { ...SETTINGS, punch: false }
    expect([world.policy.widestShare(), world.policy.share(PEER).value]).toEqual(['none', 'none'])
  })
})

describe('over a metered network', () => {
  const metered = (onMetered: (typeof ON_METERED)[number]) => {
    const world = new World()
    world.settings = { ...SETTINGS, onMetered }
    world.isMetered = ({ from, to }) => from === '10.0.0.1' || to === undefined || to.startsWith('203.')
    return world.policy
  }

  test.each([
    ['all', true, true],
    ['messages', true, false],
    ['nothing', false, false],
  ] as const)('%s: messages %s, streams %s', (onMetered, messages, bulk) => {
    const policy = metered(onMetered)
    for (const link of [
      linkTo('198.51.100.1', undefined, '10.0.0.1'),
      linkTo('203.0.113.1', 'straight'),
      linkTo('192.168.50.7', 'relayed'),
    ]) {
      expect([policy.mayUse(link, 'messages'), policy.mayUse(link, 'bulk')]).toEqual([messages, bulk])
      if (!bulk)
        expect(() => policy.checkUse(link, 'bulk')).toThrow(expect.objectContaining({ code: 'policy.metered' }))
    }
    expect(policy.mayUse(linkTo('192.168.50.7', 'straight'), 'bulk')).toBe(true)
    expect(policy.mayDial(PEER, '203.0.113.7')).toBe(messages)
  })

  test('nothing is relayed for others, where it is for messages', () => {
    const world = new World()
    world.trust = 'trusted'
    expect(world.policy.mayRelay(PEER).value).toBe(true)
    world.settings = { ...SETTINGS, onMetered: 'messages' }
    world.isMetered = () => true
    expect(world.policy.mayRelay(PEER)).toEqual({ value: false, by: 'settings' })
  })
})

test('what is done for friends is for trusted peers, unless something else was said of them', () => {
  const world = new World()
  const { policy } = world
  expect([policy.mayRelay(PEER).value, policy.mayCarry(PEER).value]).toEqual([false, false])
  world.trust = 'trusted'
  expect([policy.mayRelay(PEER).value, policy.mayCarry(PEER).value]).toEqual([true, true])
  world.said = { relay: false, signals: false }
  expect([policy.mayRelay(PEER), policy.mayCarry(PEER)]).toEqual([
    { value: false, by: 'peer' },
    { value: false, by: 'peer' },
  ])
})
