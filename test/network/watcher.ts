// Runs on a host of the lab: prints what the network tells, one JSON object a line. Looks at once for each line it
// is given, and then prints how things stand.
import { createInterface } from 'node:readline'
import { systemClock } from '../../daemon/clock.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'

const network = new SystemNetwork({ clock: systemClock, logger: silentLogger, include: [], exclude: [] })
const printState = (): void =>
  console.log(JSON.stringify({ interfaces: network.interfaces(), appeared: [], vanished: [], altered: [], slept: 0 }))
network.onChange((change) => console.log(JSON.stringify(change)))
await network.start()
printState()
// Lives as long as whoever started it; the watch on its own keeps no process alive.
for await (const _line of createInterface(process.stdin)) {
  await network.check()
  printState()
}
