#!/usr/bin/env node
/** The partyline command. What it does is in `program.ts`; here is only what has to come before anything else is loaded. */
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { compileCacheFolder, isOwnFolder } from './compile-cache.ts'
import { ensureRoomyHeap } from './roomy-heap.ts'

const { env, platform, argv } = process
// Before much is loaded that would be loaded again.
if (argv[2] === 'daemon' || argv[2] === 'start') ensureRoomyHeap(process)

// Sources are compiled once, not at every start: a command answers in half the time.
const cache = compileCacheFolder({ url: import.meta.url, env, platform, userHome: homedir() })
if (isOwnFolder(cache)) enableCompileCache(cache)

const { runProgram } = await import('./program.ts')
await runProgram(process)
