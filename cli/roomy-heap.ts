/**
 * How V8 treats the buffers of streams. It counts them against a limit of their own of 64 MiB, and looks through the whole heap whenever that is
 * reached: at full speed 20 times a second, which took half of the daemon's time. Counted as part of a heap that may grow to 64 MiB first, they are
 * freed by the quick collections of young objects, and streams are twice as fast (docs/benchmarks.md). Those collections come often enough to
 * keep memory low only if the young objects have little room.
 */
export const ROOMY_HEAP = [
  '--external-memory-accounted-in-global-limit',
  '--initial-heap-size=64',
  '--max-semi-space-size=4',
] as const

/**
 * Replaces this process by itself with these options, which count only from the start on: same process id, same standard streams. Does nothing
 * where it has them already, where the system cannot do it (Windows), or where a parent holds a channel to it or a service manager sockets, which
 * would be lost.
 */
export function ensureRoomyHeap({ execArgv, execPath, argv, env, execve, channel }: NodeJS.Process): void {
  if (ROOMY_HEAP.every((option) => execArgv.includes(option)) || execve === undefined || channel || env.LISTEN_FDS)
    return
  if (process.platform === 'win32') return
  execve(execPath, [execPath, ...ROOMY_HEAP, ...execArgv, ...argv.slice(1)], env)
}
