import type { Command, CommandGroup } from './command.ts'
import { accountCommands } from './commands/accounts.ts'
import { chatCommand } from './commands/chat.ts'
import { daemonCommand } from './commands/daemon.ts'
import { doctorCommand } from './commands/doctor.ts'
import { fakeCommand } from './commands/fake.ts'
import { receiveCommand, sendCommand } from './commands/files.ts'
import { friendCommands } from './commands/friends.ts'
import { hubCommands } from './commands/hub.ts'
import { inviteCommands } from './commands/invites.ts'
import { messageCommand, messagesCommand } from './commands/messages.ts'
import { bookCommands, peersCommand } from './commands/peers.ts'
import { policyCommands } from './commands/policy.ts'
import { presenceCommand } from './commands/presence.ts'
import { relayCommands } from './commands/relay.ts'
import { reportCommand } from './commands/report.ts'
import { serviceCommands, serviceGroup } from './commands/service.ts'
import { connectCommand, disconnectCommand, pingCommand } from './commands/sessions.ts'
import { configCommands } from './commands/settings.ts'
import { startCommand } from './commands/start.ts'
import { statusCommand, whoamiCommand } from './commands/status.ts'
import { listenCommand, openCommand } from './commands/streams.ts'
import { completionCommand, metricsCommand, rpcCommand, versionCommand } from './commands/tools.ts'
import { topCommand } from './commands/top.ts'
import { traceCommand } from './commands/trace.ts'

/** Every command, in the order in which help and the reference show them. */
export const commands: readonly Command[] = [
  startCommand,
  daemonCommand,
  statusCommand,
  peersCommand,
  whoamiCommand,
  connectCommand,
  disconnectCommand,
  pingCommand,
  topCommand,
  fakeCommand,
  doctorCommand,
  reportCommand,
  traceCommand,
  chatCommand,
  presenceCommand,
  sendCommand,
  receiveCommand,
  listenCommand,
  openCommand,
  messageCommand,
  messagesCommand,
  ...inviteCommands,
  ...accountCommands,
  ...hubCommands,
  ...bookCommands,
  ...friendCommands,
  ...policyCommands,
  ...relayCommands,
  ...serviceCommands,
  ...configCommands,
  metricsCommand,
  rpcCommand,
  versionCommand,
  completionCommand,
]

/** The first words of commands of two. */
export const groups: readonly CommandGroup[] = [
  {
    name: 'account',
    about: 'XMPP accounts, so that friends anywhere find this host.',
    example: 'partyline account add anna@example.org',
  },
  {
    name: 'hub',
    about: "The LAN's XMPP server: runs one here, joins others'.",
    example: 'partyline hub start --name lanparty',
  },
  {
    name: 'relay',
    about: 'Relays for trusted peers, as a STUN and TURN server.',
    example: 'partyline relay start',
  },
  serviceGroup,
  { name: 'config', about: 'Shows and changes settings.', example: 'partyline config set name den-pc' },
]
