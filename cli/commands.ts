import type { Command } from './command.ts'
import { chatCommand } from './commands/chat.ts'
import { daemonCommand } from './commands/daemon.ts'
import { receiveCommand, sendCommand } from './commands/files.ts'
import { messageCommand, messagesCommand } from './commands/messages.ts'
import { bookCommands, peersCommand } from './commands/peers.ts'
import { connectCommand, disconnectCommand, pingCommand } from './commands/sessions.ts'
import { configCommands } from './commands/settings.ts'
import { startCommand } from './commands/start.ts'
import { statusCommand, whoamiCommand } from './commands/status.ts'
import { listenCommand, openCommand } from './commands/streams.ts'
import { completionCommand, rpcCommand, versionCommand } from './commands/tools.ts'

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
  chatCommand,
  sendCommand,
  receiveCommand,
  listenCommand,
  openCommand,
  messageCommand,
  messagesCommand,
  ...bookCommands,
  ...configCommands,
  rpcCommand,
  versionCommand,
  completionCommand,
]
