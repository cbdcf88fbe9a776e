/**
 * The SDK: how a program talks to the daemon of its machine.
 *
 * ```ts
 * import { connect } from 'partyline'
 * const client = await connect({ app: 'chess' })
 * for (const peer of await client.call('peers.list', {})) console.log(peer.name)
 * await client.send('anna', 'chess', 'e2e4')
 * ```
 */
export { type ErrorCode, PartylineError } from '../daemon/errors.ts'
export type { AppStream, Outcome } from './app-stream.ts'
export { Client, type ClientEvent, type ConnectOptions, connect, type MessageOptions } from './client.ts'
export { type ReceiveEvent, type ReceiveOptions, receiveFiles } from './files/receiver.ts'
export { type SendEvent, type SendOptions, sendFiles } from './files/sender.ts'
export type { ListenOptions, Message, MessageRequest } from './message-feed.ts'
export type { EventName, EventParams, MethodName, Params, Result, Topic } from './methods.ts'
