// Runs on a host of the lab: prints what the network tells, one JSON object a line.
import { systemClock } from '../../daemon/clock.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'

const network = new SystemNetwork({ clock: systemClock, logger: silentLogger, include: [], exclude: [] })
network.onChange((change) => console.log(JSON.stringify(change)))
await network.start()
console.log(JSON.stringify({ interfaces: network.interfaces(), appeared: [], vanished: [], altered: [], slept: 0 }))
// Lives as long as whoever started it; the watch on its own keeps no process alive.
process.stdin.resume()
