import { CLIENT_LIMITS } from '../../daemon/hub/client-stream.ts'
import type { SignalExchange } from '../../daemon/signaling/signaller.ts'
import { describeSignaller, type SuitePair } from '../signaling/signaller-suite.ts'
import { HubGuest } from './guest.ts'
import { HubHost } from './hub-host.ts'

/** As many stanzas as the suite sends; its time is virtual, so that allowances would never come back. */
const PLENTY = { ...CLIENT_LIMITS, bytes: { rate: 1e9, burst: 1e9 }, stanzas: { rate: 1e6, burst: 1e6 } }

/** What hosts at a hub tell each other of their own accord is left out: the suite counts what arrives. */
const QUIET: SignalExchange = { reaches: () => [], send: () => false, handle: () => () => {} }

async function makePair(): Promise<SuitePair> {
  const host = await HubHost.start({ limits: { client: PLENTY } })
  const address = `127.0.0.1:${host.hub.port}`
  const guests = [
    await HubGuest.start({ joined: [address], hubs: { signals: QUIET } }),
    await HubGuest.start({ joined: [address], hubs: { signals: QUIET } }),
    await HubGuest.start({ joined: [address], hubs: { signals: QUIET } }),
  ] as const
  const [a, b, c] = guests
  const reach = () => a.until(() => a.hubs.reaches(b.peer) && b.hubs.reaches(a.peer))
  await reach()
  const endOf = ({ identity, hubs }: HubGuest) => ({ identity, signaller: hubs, close: () => hubs.stop() })
  return {
    a: endOf(a),
    b: endOf(b),
    others: [endOf(c)],
    cut: async () => {
      b.hubs.leave(address)
      await a.until(() => !a.hubs.reaches(b.peer))
    },
    mend: async () => {
      b.hubs.join(address)
      await reach()
    },
    stop: async () => {
      await Promise.all(guests.map((guest) => guest.hubs.stop()))
      await host[Symbol.asyncDispose]()
    },
  }
}

describeSignaller('a hub', makePair)
