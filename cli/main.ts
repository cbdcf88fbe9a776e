#!/usr/bin/env node
/** The partyline command. What it does is in `program.ts`; here is only what has to come before anything else is loaded. */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// In a checkout the sources are compiled once, not at every start: a command answers in half the time. The folder is the checkout's
// own: what it holds is run, so it must not be where others may write.
if (import.meta.url.endsWith('.ts'))
  enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/partyline', import.meta.url)))

const { runProgram } = await import('./program.ts')
await runProgram(process)
