import { PartylineError } from '../../daemon/errors.ts'
import type { Ended, Machine } from './machine.ts'

/** Throws unless the program ended well: `local.no-service-manager` where it is missing, `local.service-failed` with what it said. */
export function expectDone(program: string, { code, stdout, stderr }: Ended): string {
  if (code === 0) return stdout
  if (code === undefined) throw new PartylineError('local.no-service-manager', `${program} is not installed`)
  const said = (stderr.trim() || stdout.trim()).split('\n').slice(0, 3).join(' ')
  throw new PartylineError('local.service-failed', `${program} failed${said === '' ? '' : `: ${said}`}`)
}

/** Throws `local.not-root` for anybody else. */
export function expectRoot({ uid }: Machine): void {
  if (uid !== 0) throw new PartylineError('local.not-root', 'a service of the machine is made and changed by root')
}
