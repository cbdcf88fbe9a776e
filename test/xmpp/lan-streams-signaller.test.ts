import { describeSignaller } from '../signaling/signaller-suite.ts'
import { LanHost, twoHosts } from './lan-host.ts'

describeSignaller('serverless streams', async () => {
  const [a, b] = await twoHosts()
  const other = await LanHost.listening('carol@h3')
  other.meets(a)
  other.meets(b)
  const end = ({ identity, streams }: LanHost) => ({
    identity,
    signaller: streams,
    close: () => streams.close(),
  })
  return {
    a: end(a),
    b: end(b),
    others: [end(other)],
    cut() {
      a.forgets(b)
      for (const socket of b.inbound) socket.resetAndDestroy()
    },
    mend: () => a.meets(b),
    async stop() {
      for (const host of [a, b, other]) await host[Symbol.asyncDispose]()
    },
  }
})
