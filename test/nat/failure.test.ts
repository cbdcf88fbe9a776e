import { describe, expect, test } from 'vitest'
import { explainFailure } from '../../daemon/nat/failure.ts'

const HOME = { udp: true, mapping: 'same', relay: false } as const
const explain = (ours: object, theirs: object | undefined, isShared = false): string =>
  explainFailure({ ...HOME, ...ours }, theirs && { ...HOME, ...theirs }, 'no answer', isShared)

describe('why there is no way', () => {
  test.each([
    [{}, undefined, 'did not answer'],
    [{ udp: false }, { udp: false }, 'UDP gets out of neither network, and a relay (TURN) is needed'],
    [{ udp: false }, {}, 'UDP does not get out of this network'],
    [{}, { udp: false }, "UDP does not get out of the peer's network"],
    [{ mapping: 'each' }, { mapping: 'each' }, 'the routers of both networks give every destination another port'],
    [{ mapping: 'each' }, {}, 'the router of this network gives every destination another port'],
    [{}, { mapping: 'each' }, "the router of the peer's network gives every destination another port"],
    [{ udp: null }, { udp: null }, 'neither host knows a STUN server'],
    [{ udp: null }, {}, 'this host knows no STUN server'],
    [{}, { udp: null }, 'the peer knows no STUN server'],
    [{ udp: false, relay: true }, {}, 'the relay did not help'],
  ])('between %j and %j', (ours, theirs, words) => expect(explain(ours, theirs)).toContain(words))

  test('behind one router that does not connect its own users', () =>
    expect(explain({}, {}, true)).toContain('both are behind one router of their provider'))

  test('that nothing explains is told as it was seen', () =>
    expect(explain({}, {})).toBe('no path was found (no answer)'))
})
