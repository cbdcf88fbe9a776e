import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort, Milliseconds } from '../types.ts'

/**
 * Time before the next address is tried beside those under way (RFC 8305 section 5 recommends 250 ms and no less than 100; on a LAN
 * an answer takes a few milliseconds, a TLS handshake on a slow machine tens).
 */
export const STAGGER: Milliseconds = 150

/**
 * Dials the addresses in order, a short time apart, the next at once when one fails. The first that succeeds wins, the others are
 * aborted; a late success is thrown away. Rejects with `network.unreachable`, telling what became of each address, or with the
 * one error that all had.
 */
export function raceDials<T>(
  addresses: readonly HostPort[],
  dial: (address: HostPort, signal: AbortSignal) => Promise<T>,
  discard: (late: T) => void,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<T> {
  const abort = new AbortController()
  const failures: { address: HostPort; error: PartylineError }[] = []
  let next = 0
  let underWay = 0
  let timer: Timer | undefined
  let settled = false

  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      settled = true
      timer?.cancel()
      signal.removeEventListener('abort', give)
      finish()
      abort.abort()
    }
    const give = (): void => settle(() => reject(unreachable(failures)))
    const tryNext = (): void => {
      timer?.cancel()
      const address = addresses[next++]
      if (!address) {
        if (underWay === 0) give()
        return
      }
      underWay++
      timer = clock.after(STAGGER, tryNext)
      dial(address, abort.signal).then(
        (result) => {
          underWay--
          if (settled) discard(result)
          else settle(() => resolve(result))
        },
        (error: unknown) => {
          underWay--
          failures.push({ address, error: toPartylineError(error) })
          if (!settled) tryNext()
        },
      )
    }
    if (signal.aborted) return give()
    signal.addEventListener('abort', give)
    tryNext()
  })
}

function unreachable(failures: readonly { address: HostPort; error: PartylineError }[]): PartylineError {
  const [first] = failures
  if (!first) return new PartylineError('network.unreachable', 'no address to dial')
  const told = failures.map(({ address, error }) => `${formatHostPort(address)}: ${error.message}`).join('; ')
  const same = failures.every(({ error }) => error.code === first.error.code)
  return new PartylineError(same ? first.error.code : 'network.unreachable', told)
}
