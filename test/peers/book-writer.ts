/** A process that changes its peer book without end, for a test to kill. */
import { systemClock } from '../../daemon/clock.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { PeerBook } from '../../daemon/peers/peer-book.ts'

const self = peerIdFromKey(new Uint8Array(32))
const book = await PeerBook.open({ self, clock: systemClock, logger: silentLogger, file: process.argv[2] ?? '' })
for (let i = 1; ; i++) {
  await book.setPetname(peerIdFromKey(new Uint8Array(32).fill(1 + (i % 200))), `peer ${i}`)
  if (i === 20) console.log('busy')
}
