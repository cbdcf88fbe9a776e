// Runs in a worker thread: the library waits for the tools it starts without letting anything else run.
import { parentPort } from 'node:worker_threads'
import { networkInterfaces } from 'systeminformation'
import type { InterfaceFacts } from './interface-kind.ts'

const told = await networkInterfaces()
const facts: readonly InterfaceFacts[] = (Array.isArray(told) ? told : [told]).map(
  ({ iface, type, virtual, speed, mtu }) => ({ iface, type, virtual, speed, mtu }),
)
parentPort?.postMessage(facts)
