/** A process that takes and releases a home lock as told on its standard input, one word a line; answers one word a line. */
import { createInterface } from 'node:readline'
import { PartylineError } from '../../daemon/errors.ts'
import { acquireHomeLock, type HomeLock } from '../../daemon/identity/home-lock.ts'

const file = process.argv[2] ?? ''
let lock: HomeLock | undefined

async function acquire(): Promise<string> {
  try {
    lock = await acquireHomeLock(file)
    return 'held'
  } catch (error) {
    return error instanceof PartylineError ? error.code : String(error)
  }
}

console.log('ready')
for await (const word of createInterface(process.stdin)) {
  if (word === 'release') await lock?.release()
  console.log(word === 'acquire' ? await acquire() : 'released')
}
