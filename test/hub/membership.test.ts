import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { HubMembership } from '../../daemon/hub/hub-membership.ts'
import { hostPresence } from '../../daemon/hub/hub-presence.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { AVAILABLE } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { newIdentity } from './hub-host.ts'
import { ScriptedHub } from './scripted-hub.ts'

/** A membership, and the way to wait for its next state. */
function create(random = 0.5) {
  const clock = new VirtualClock()
  let told: () => void = () => {}
  const membership = new HubMembership({
    source: 'hub 1',
    identity: newIdentity(),
    clock,
    logger: silentLogger,
    refusals: new Refusals(),
    random: () => random,
    isBlocked: () => false,
    presence: () => hostPresence(AVAILABLE, 'me'),
    isOnly: () => true,
    onRoster: () => {},
    onMessage: () => {},
    onState: () => told(),
  })
  const next = () =>
    new Promise<string>((resolve) => {
      told = () => queueMicrotask(() => resolve(membership.status().state))
    })
  return { clock, membership, next }
}

async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const at = (port: number) => ({ peer: undefined, name: '', addresses: [{ address: '127.0.0.1', port }] })

test('pauses between attempts double up to a minute, spread by half of it either way', async () => {
  const port = await closedPort()
  for (const [random, factor] of [
    [0, 0.5],
    [0.5, 1],
    [0.999, 1.499],
  ] as const) {
    const { clock, membership, next } = create(random)
    membership.setWay('given', at(port))
    let state = next()
    membership.start()
    const pauses: number[] = []
    while (pauses.length < 9) {
      expect(await state).toBe('failed')
      const pause = (clock.next ?? 0) - clock.now()
      pauses.push(Math.round(pause / factor / 1000))
      state = next()
      clock.advance(pause)
    }
    await state
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
    await membership.stop()
  }
})

test('a hub that ends every connection soon is not joined without pause', async () => {
  await using hub = await ScriptedHub.start()
  const { clock, membership, next } = create()
  membership.setWay('given', at(hub.target.port))
  let state = next()
  membership.start()
  const pauses: number[] = []
  for (let n = 0; n < 4; n++) {
    expect(await state).toBe('joined')
    state = next()
    const client = await hub.client(n)
    await client.there()
    client.socket.destroy()
    expect(await state).toBe('failed')
    const pause = (clock.next ?? 0) - clock.now()
    pauses.push(pause)
    state = next()
    clock.advance(pause)
  }
  expect(pauses).toEqual([1000, 2000, 4000, 8000])
  await state
  // Once it has held for a minute, the next pause is a short one again.
  clock.advance(29_000)
  const client = await hub.client(4)
  await client.there()
  client.send('<presence/>')
  for (let n = 0; n < 3; n++) {
    client.send(`<iq type='get' id='q${n}' from='x'><ping xmlns='urn:xmpp:ping'/></iq>`)
    await client.until(`id="q${n}"`)
    clock.advance(20_000)
  }
  state = next()
  client.socket.destroy()
  expect(await state).toBe('failed')
  expect((clock.next ?? 0) - clock.now()).toBe(1000)
  await membership.stop()
})

test('every address is tried before a pause, and a new one at once', async () => {
  const port = await closedPort()
  await using hub = await ScriptedHub.start()
  const { membership, next } = create()
  membership.setWay('given', at(port))
  let state = next()
  membership.start()
  expect(await state).toBe('failed')
  state = next()
  membership.setWay('mdns', { peer: hub.identity.peer, name: 'party', addresses: [hub.target] })
  while ((await state) !== 'joined') state = next()
  expect(membership.status()).toMatchObject({
    name: 'party',
    peer: hub.identity.peer,
    port: hub.target.port,
    detail: '',
  })
  await membership.stop()
  await membership.stop()
  await (await hub.client()).closed()
  expect((await hub.client()).received).toMatch(/<presence type="unavailable"\/><\/stream:stream>$/)
})
