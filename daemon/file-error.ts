import { PartylineError } from './errors.ts'

/** What the system said of a file or folder, as an error of ours: `local.permission`, or `local.file` for all else. */
export function fileError(path: string, error: unknown): PartylineError {
  const { code, message } = error as NodeJS.ErrnoException
  const refused = code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
  return new PartylineError(refused ? 'local.permission' : 'local.file', `${path}: ${message}`, { cause: error })
}
