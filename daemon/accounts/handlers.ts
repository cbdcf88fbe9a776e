import type { Handlers } from '../../ipc/api.ts'
import type { Accounts } from './accounts.ts'

export function accountHandlers(
  accounts: Accounts,
): Pick<Handlers, 'accounts.list' | 'accounts.add' | 'accounts.remove'> {
  return {
    'accounts.list': () => accounts.list(),
    'accounts.add': (account) => accounts.add(account),
    'accounts.remove': ({ jid }) => accounts.remove(jid),
  }
}
