import { randomBytes } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { type Action, BeaconAgent, MAX_ANSWERS, MAX_KNOWN, type Source } from '../../daemon/discovery/beacon/agent.ts'
import { type Beacon, decodeBeacon, encodeBeacon, NO_NONCE, PACKET_SIZE } from '../../daemon/discovery/beacon/packet.ts'
import { simulatedIdentity } from './simulated-keys.ts'

vi.mock('../../daemon/identity/key.ts', async (original) => ({
  ...(await original<typeof import('../../daemon/identity/key.ts')>()),
  verifySignature: (await import('./simulated-keys.ts')).verifySimulated,
}))

const HERE: Source = { address: '10.0.0.1', port: 47800, interface: 'eth0' }
const THERE: Source = { address: '10.0.0.2', port: 47801, interface: 'eth0' }

function createAgent(random = () => 0.5) {
  const identity = simulatedIdentity()
  const agent = new BeaconAgent(
    {
      identity,
      instance: randomBytes(8).toString('hex'),
      port: 47800,
      random,
      nonce: () => randomBytes(16).toString('hex'),
    },
    'me',
    0,
  )
  agent.setOutlets(['eth0 4'], 0)
  return { agent, identity, peer: identity.peer }
}

/** Another host, whose packets a test makes as it likes. */
function createOther(identity = simulatedIdentity()) {
  const instance = randomBytes(8).toString('hex')
  let sequence = 0
  const make = (content: Partial<Beacon>): Buffer =>
    encodeBeacon(
      {
        kind: 'announce',
        wantAnswer: false,
        port: 47801,
        instance,
        sequence: ++sequence,
        nonce: randomBytes(16).toString('hex'),
        echo: NO_NONCE,
        peer: identity.peer,
        name: 'other',
        ...content,
      },
      identity,
    )
  return { make, peer: identity.peer }
}

const kinds = (actions: readonly Action[]): string[] =>
  actions.map((action) => (action.kind === 'refused' ? action.code : action.kind))
const packets = (actions: readonly Action[]): Beacon[] =>
  actions.flatMap((action) =>
    action.kind === 'announce' || action.kind === 'send' ? [decodeBeacon(action.packet)] : [],
  )

/** The challenge that an agent put into its announcement. */
function challengeOf(agent: BeaconAgent, now: number): string {
  return decodeBeacon(agent.probe(now)).nonce
}

/** An agent that knows another host. */
function acquainted() {
  const me = createAgent()
  const other = createOther()
  me.agent.tick(0)
  me.agent.receive(other.make({ kind: 'answer', echo: challengeOf(me.agent, 0), nonce: NO_NONCE }), THERE, 0)
  return { ...me, other }
}

describe('who is believed to be there', () => {
  test('two agents see each other after an announcement, an answer and the answer to that', () => {
    const [a, b] = [createAgent(), createAgent()]
    const [announcement] = a.agent.tick(0)
    if (announcement?.kind !== 'announce') throw new Error('no announcement')
    expect(b.agent.receive(announcement.packet, HERE, 1)).toEqual([])
    const [answer] = b.agent.tick(50).filter((action) => action.kind === 'send')
    if (answer?.kind !== 'send') throw new Error('no answer')
    expect(answer.to).toEqual(HERE)
    const [seen, reply] = a.agent.receive(answer.packet, THERE, 51)
    expect(seen).toMatchObject({ kind: 'seen', peer: b.peer, name: 'me', port: 47800, at: THERE })
    if (reply?.kind !== 'send') throw new Error('no reply')
    expect(b.agent.receive(reply.packet, HERE, 52)).toEqual([
      { kind: 'seen', peer: a.peer, name: 'me', port: 47800, at: HERE },
    ])
  })

  test('an announcement alone raises nobody', () => {
    const { agent } = createAgent()
    expect(kinds(agent.receive(createOther().make({}), THERE, 0))).toEqual([])
  })

  test('an answer without a challenge of ours raises nobody and is counted', () => {
    const { agent } = createAgent()
    const other = createOther()
    for (const echo of [NO_NONCE, 'ab'.repeat(16)])
      expect(kinds(agent.receive(other.make({ kind: 'answer', echo }), THERE, 0))).toEqual(['peer.replayed'])
  })

  test('a challenge is good for 10 seconds at least and 20 at most', () => {
    const { agent } = createAgent()
    const echo = challengeOf(agent, 0)
    const reply = (now: number) =>
      kinds(agent.receive(createOther().make({ kind: 'answer', echo, nonce: NO_NONCE }), THERE, now))
    expect(reply(10_000)).toEqual(['seen'])
    expect(reply(20_001)).toEqual(['peer.replayed'])
  })

  test('another process with our key is a twin for as long as it announces itself', () => {
    const { agent, identity, peer } = createAgent()
    const twin = createOther(identity)
    const [own] = packets(agent.tick(0))
    expect(own?.peer).toBe(peer)
    if (own) agent.receive(twin.make(own), HERE, 0)
    expect(agent.twin(0)).toBeUndefined()

    expect(agent.receive(twin.make({}), THERE, 10)).toEqual([])
    expect(agent.twin(10)).toEqual({ address: '10.0.0.2', port: 47801 })
    expect(agent.twin(3_600_000)).toBeUndefined()

    const forged = twin.make({})
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    agent.receive(forged, THERE, 3_600_000)
    expect(agent.twin(3_600_000)).toBeUndefined()
  })

  test('announcements refresh a host that is known; silence lets it go', () => {
    const { agent, other } = acquainted()
    expect(kinds(agent.receive(other.make({}), THERE, 8000))).toEqual(['seen'])
    expect(kinds(agent.tick(17_000))).not.toContain('gone')
    expect(kinds(agent.tick(18_001))).toContain('gone')
  })

  test('a host that restarted has to prove itself anew', () => {
    const { agent, other } = acquainted()
    expect(kinds(agent.receive(other.make({ instance: 'ff'.repeat(8), sequence: 1 }), THERE, 1000))).toEqual([])
    expect(packets(agent.tick(1200)).some(({ kind, nonce }) => kind === 'answer' && nonce !== NO_NONCE)).toBe(true)
  })

  test('a goodbye takes a host away at once, at every address, and nothing it said before counts after', () => {
    const { agent, other } = acquainted()
    const second: Source = { address: 'fe80::2%eth0', port: 47801, interface: 'eth0' }
    const late = other.make({ kind: 'answer', echo: challengeOf(agent, 0), nonce: NO_NONCE })
    agent.receive(other.make({ kind: 'answer', echo: challengeOf(agent, 0), nonce: NO_NONCE }), second, 0)
    const goodbye = other.make({ kind: 'goodbye', nonce: NO_NONCE })
    expect(kinds(agent.receive(goodbye, THERE, 100))).toEqual(['gone', 'gone'])
    for (const packet of [late, goodbye]) expect(kinds(agent.receive(packet, THERE, 101))).toEqual(['peer.replayed'])
  })

  test('a goodbye of a host or an instance that is not known does nothing', () => {
    const { agent, other } = acquainted()
    expect(agent.receive(createOther().make({ kind: 'goodbye' }), THERE, 1)).toEqual([])
    expect(agent.receive(other.make({ kind: 'goodbye', instance: '00'.repeat(8) }), THERE, 1)).toEqual([])
    expect(agent.hosts).toBe(2)
  })

  test('what is oneself is passed over in silence, forged or not', () => {
    const { agent, identity } = createAgent()
    const own = agent.probe(0)
    expect(agent.receive(own, HERE, 1)).toEqual([])
    own[200] = (own[200] ?? 0) ^ 1
    expect(agent.receive(own, HERE, 1)).toEqual([])
    expect(agent.hosts).toBe(1)
    expect(identity.peer).toHaveLength(52)
  })

  test('hosts on an interface that goes are gone', () => {
    const { agent } = acquainted()
    expect(kinds(agent.forgetInterfaces(new Set(['eth0'])))).toEqual([])
    expect(kinds(agent.forgetInterfaces(new Set(['eth1'])))).toEqual(['gone'])
  })
})

describe('replayed and forged packets', () => {
  test('a packet that was there is refused, wherever it comes from', () => {
    const { agent, other } = acquainted()
    const packet = other.make({})
    agent.receive(packet, THERE, 1000)
    expect(kinds(agent.receive(packet, THERE, 1001))).toEqual(['peer.replayed'])
    expect(kinds(agent.receive(packet, { ...THERE, address: '10.0.0.66' }, 1001))).toEqual(['peer.replayed'])
  })

  test('an answer that is heard again from another address raises nobody there', () => {
    const { agent } = createAgent()
    const packet = createOther().make({ kind: 'answer', echo: challengeOf(agent, 0), nonce: NO_NONCE })
    expect(kinds(agent.receive(packet, THERE, 1))).toEqual(['seen'])
    expect(kinds(agent.receive(packet, { ...THERE, address: '10.0.0.66' }, 2))).toEqual(['peer.replayed'])
  })

  test('packets of a host that overtake each other all count', () => {
    const { agent, other } = acquainted()
    const [first, second] = [other.make({}), other.make({})]
    expect(kinds(agent.receive(second, THERE, 1000))).toEqual(['seen'])
    expect(kinds(agent.receive(first, { ...THERE, address: 'fe80::2%eth0' }, 1001))).toEqual([])
  })

  test('a signature of somebody else is refused', () => {
    const { agent } = createAgent()
    const packet = createOther().make({})
    packet[PACKET_SIZE - 1] = (packet[PACKET_SIZE - 1] ?? 0) ^ 1
    expect(kinds(agent.receive(packet, THERE, 0))).toEqual(['peer.bad-signature'])
  })

  test('a flood from one address is refused before its signatures are looked at, and others are still heard', () => {
    const { agent, other } = acquainted()
    const flooder: Source = { ...THERE, address: '10.0.0.66' }
    const forged = createOther().make({})
    forged.fill(0, PACKET_SIZE - 64)
    const outcome = new Map<string, number>()
    for (let i = 0; i < 5000; i++)
      for (const kind of kinds(agent.receive(forged, flooder, i / 10))) outcome.set(kind, (outcome.get(kind) ?? 0) + 1)
    expect(outcome.get('peer.bad-signature')).toBeLessThan(200)
    expect(outcome.get('peer.rate-limited')).toBeGreaterThan(4800)
    expect(kinds(agent.receive(other.make({}), THERE, 501))).toEqual(['seen'])
  })

  test('a flood from ever other addresses is bounded in all', () => {
    const { agent } = createAgent()
    const forged = createOther().make({})
    forged.fill(0, PACKET_SIZE - 64)
    let looked = 0
    for (let i = 0; i < 20_000; i++) {
      const from = { ...THERE, address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` }
      if (kinds(agent.receive(forged, from, i / 20)).includes('peer.bad-signature')) looked++
    }
    expect(looked).toBeLessThan(5000)
  })
})

describe('what a host may be made to send and keep', () => {
  test('never more than one packet for one that came, and none larger', () => {
    const { agent } = createAgent()
    const other = createOther()
    for (const content of [{}, { wantAnswer: true }, { kind: 'answer' as const, echo: challengeOf(agent, 0) }]) {
      const sent = [...agent.receive(other.make(content), THERE, 0), ...agent.tick(2000)].filter(
        (a) => a.kind === 'send',
      )
      expect(sent).toHaveLength(1)
      for (const action of sent) expect(action.packet.length).toBe(PACKET_SIZE)
    }
  })

  test('repeated announcements with one challenge are answered once', () => {
    const { agent } = createAgent()
    const other = createOther()
    const nonce = 'ab'.repeat(16)
    for (let i = 0; i < 3; i++) agent.receive(other.make({ nonce }), THERE, 0)
    expect(agent.tick(1000).filter(({ kind }) => kind === 'send')).toHaveLength(1)
  })

  test(`at most ${MAX_ANSWERS} answers wait`, () => {
    const { agent } = createAgent(() => 0.99)
    for (let i = 0; i < MAX_ANSWERS + 500; i++)
      agent.receive(createOther().make({}), { ...THERE, address: `10.1.${i >> 8}.${i & 255}` }, 0)
    expect(agent.tick(2000).filter(({ kind }) => kind === 'send')).toHaveLength(MAX_ANSWERS)
  })

  test(`at most ${MAX_KNOWN} hosts are known, and who has to make room is gone`, () => {
    const { agent } = createAgent()
    const seen = new Set<string>()
    for (let i = 0; seen.size < MAX_KNOWN + 10 && i < 2 * MAX_KNOWN; i++) {
      const now = i * 2
      const other = createOther()
      const packet = other.make({ kind: 'answer', echo: challengeOf(agent, now), nonce: NO_NONCE })
      const actions = agent.receive(packet, { ...THERE, address: `10.2.${i >> 8}.${i & 255}` }, now)
      if (actions.some(({ kind }) => kind === 'seen')) seen.add(other.peer)
      const gone = actions.filter(({ kind }) => kind === 'gone')
      expect(gone).toHaveLength(seen.size > MAX_KNOWN && actions[0]?.kind === 'seen' ? 1 : 0)
    }
    expect(seen.size).toBe(MAX_KNOWN + 10)
    expect(agent.hosts).toBe(MAX_KNOWN + 1)
  })

  test('the deadline is never one that a tick leaves in the past', () => {
    const { agent } = acquainted()
    for (let now = agent.deadline; now < 60_000; now = agent.deadline) {
      agent.tick(now)
      expect(agent.deadline).toBeGreaterThan(now)
    }
  })
})
