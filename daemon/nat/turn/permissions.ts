import type { Milliseconds } from '../../types.ts'

/** How long a permission lasts at the server (RFC 8656 section 9), and when it is asked for again. */
const LIFETIME: Milliseconds = 300_000
const REFRESH: Milliseconds = 210_000
/** How long one that was refused is not asked for again, and one that was not answered. */
const REFUSED: Milliseconds = 300_000
const UNANSWERED: Milliseconds = 15_000
/** Addresses that may have one. */
export const MAX_PERMISSIONS = 1024
/** Addresses in one request: it stays far below any MTU. */
export const PERMISSIONS_AT_ONCE = 16

interface Permission {
  /** Who wants it, beside what is sent. */
  claims: number
  usedAt: Milliseconds
  /** Until when it surely lasts at the server. */
  until: Milliseconds
  /** When it is to be asked for; infinite while that is under way. */
  askAt: Milliseconds
  /** Asked for on its own, as a request for several was refused. */
  alone: boolean
  refused: boolean
}

/** The addresses from which the server lets packets in to one relay, and to which it sends (RFC 8656 section 9). */
export class Permissions {
  readonly #permissions = new Map<string, Permission>()

  /** Keeps one for the address until `release`; false where there is no room. */
  claim(address: string, now: Milliseconds): boolean {
    const permission = this.#of(address, now)
    if (permission) permission.claims++
    return permission !== undefined
  }

  release(address: string): void {
    const permission = this.#permissions.get(address)
    if (permission && permission.claims > 0) permission.claims--
  }

  /** Something is to be sent there; false where there is no room, or the server refused. */
  use(address: string, now: Milliseconds): boolean {
    const permission = this.#of(address, now)
    if (!permission) return false
    permission.usedAt = Math.max(permission.usedAt, now)
    return !permission.refused
  }

  isInstalled(address: string, now: Milliseconds): boolean {
    return now < (this.#permissions.get(address)?.until ?? 0)
  }

  /** True for an address that somebody wants to hear from. */
  has(address: string): boolean {
    return this.#permissions.has(address)
  }

  /** Those to be asked for in one request now; each is under way until it is told what became of it. */
  take(now: Milliseconds): readonly string[] {
    const due: string[] = []
    for (const [address, permission] of this.#permissions) {
      if (now < permission.askAt || !isWanted(permission, now)) continue
      if (permission.alone && due.length > 0) continue
      due.push(address)
      permission.askAt = Number.POSITIVE_INFINITY
      if (permission.alone || due.length === PERMISSIONS_AT_ONCE) break
    }
    return due
  }

  /** `asked`: when the request left that was answered. */
  installed(addresses: readonly string[], asked: Milliseconds): void {
    this.#each(addresses, (permission) => {
      permission.until = asked + LIFETIME
      permission.askAt = asked + REFRESH
      permission.alone = false
      permission.refused = false
    })
  }

  /** The server refused a request for them; for one among several that says nothing of the others. */
  refused(addresses: readonly string[], now: Milliseconds): void {
    this.#each(addresses, (permission) => {
      permission.askAt = addresses.length > 1 ? now : now + REFUSED
      permission.alone = true
      permission.refused = addresses.length === 1
    })
  }

  unanswered(addresses: readonly string[], now: Milliseconds): void {
    this.#each(addresses, (permission) => {
      permission.askAt = now + UNANSWERED
    })
  }

  /** Forgets those that nobody wants any more. */
  sweep(now: Milliseconds): void {
    for (const [address, permission] of this.#permissions)
      if (!isWanted(permission, now) && now >= permission.until) this.#permissions.delete(address)
  }

  /** What was under way is asked for again: no answer to it will be understood. */
  forgetAsked(now: Milliseconds): void {
    for (const permission of this.#permissions.values())
      if (permission.askAt === Number.POSITIVE_INFINITY) permission.askAt = now
  }

  #of(address: string, now: Milliseconds): Permission | undefined {
    const known = this.#permissions.get(address)
    if (known) return known
    if (this.#permissions.size >= MAX_PERMISSIONS) this.sweep(now)
    if (this.#permissions.size >= MAX_PERMISSIONS) return undefined
    const permission = { claims: 0, usedAt: -LIFETIME, until: 0, askAt: now, alone: false, refused: false }
    this.#permissions.set(address, permission)
    return permission
  }

  #each(addresses: readonly string[], change: (permission: Permission) => void): void {
    for (const address of addresses) {
      const permission = this.#permissions.get(address)
      if (permission) change(permission)
    }
  }
}

/** Unused ones end by themselves: five minutes after the last packet at most two more are asked for. */
function isWanted({ claims, usedAt }: Permission, now: Milliseconds): boolean {
  return claims > 0 || now < usedAt + LIFETIME
}
