import { createInterface } from 'node:readline/promises'
import { PartylineError } from '../../daemon/errors.ts'
import { type ReceiveOptions, receiveFiles } from '../../ipc/files/receiver.ts'
import { sendFiles } from '../../ipc/files/sender.ts'
import type { OfferView } from '../../ipc/methods.ts'
import { type Command, type Context, text } from '../command.ts'
import { duration, peerName, printable, progressBar, rate, size } from '../format.ts'
import { inboxFor } from '../inbox.ts'

/** A progress bar on the terminal's last line; nothing where stderr is no terminal. */
function createBar({ stderr, json }: Context) {
  const visible = stderr.isTTY === true && !json
  return {
    show: (progress: Parameters<typeof progressBar>[0]) =>
      visible && stderr.write(`\r\u001b[2K${progressBar(progress)}`),
    clear: () => visible && stderr.write('\r\u001b[2K'),
  }
}

/** `photos (12 files, 48 MiB)` */
function offerText({ name, files, bytes }: OfferView): string {
  return `${printable(name)} (${files} ${files === 1 ? 'file' : 'files'}, ${size(bytes)})`
}

/** A question on stderr, its answer from stdin; the end of stdin, or Ctrl-C, is a no. */
async function askUser({ stdin, stderr, signal }: Context, question: string): Promise<boolean> {
  const terminal = createInterface({ input: stdin, output: stderr })
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')))
  try {
    const answer = await Promise.race([terminal.question(question, { signal }), closed])
    return /^y(es)?$/i.test(answer.trim())
  } catch (error) {
    if (signal.aborted) return false
    throw error
  } finally {
    terminal.close()
  }
}

/** `3 files, 48 MiB in 2.1 s (180 Mbit/s)` */
function summary({ files, bytes, elapsed }: { files: number; bytes: number; elapsed: number }): string {
  return `${files} ${files === 1 ? 'file' : 'files'}, ${size(bytes)} in ${duration(elapsed)} (${rate((bytes * 8000) / Math.max(1, elapsed))})`
}

export const sendCommand: Command = {
  name: 'send',
  arguments: '<peer> <path...>',
  about: 'Offers files or folders to a peer and sends them when they are taken; goes on after a break.',
  example: 'partyline send anna photos/ notes.txt',
  json: 'one progress object a line, {file,bytes,sha256,elapsed} for each file',
  async run(context, given) {
    await using client = await context.connect({ reconnect: true })
    const [peer = '', ...paths] = given.args
    const bar = createBar(context)
    let last: { readonly file: string; readonly sha256: string } | undefined
    for await (const event of sendFiles(client, { peer, paths, signal: context.signal })) {
      if (event.kind === 'file') last = { file: event.file, sha256: event.sha256 }
      // The last line tells of a single file all there is to know.
      context.emit(event.kind === 'done' && event.files === 1 ? { ...event, ...last } : event)
      if (event.kind === 'progress') bar.show(event)
      else bar.clear()
      if (event.kind === 'warning') context.stderr.write(`${printable(event.message)}\n`)
      if (event.kind === 'offered')
        context.say(
          `offered ${printable(event.offer.name)} (${size(event.offer.bytes)}); waiting for ${peer} to take it`,
        )
      if (event.kind === 'accepted') context.say(`${peer} takes it`)
      if (event.kind === 'done') context.say(`sent ${summary(event)}`)
    }
    if (context.signal.aborted) throw new PartylineError('local.closed', 'the offer was taken back', { hint: '' })
  },
}

export const receiveCommand: Command = {
  name: 'receive',
  arguments: '',
  about: 'Takes the files that peers offer.',
  options: [
    { flags: '--dir <folder>', about: 'where to put them; your inbox otherwise' },
    { flags: '--accept <whose>', about: 'all, trusted, or ask', default: 'ask' },
    { flags: '--once', about: 'end after one offer' },
  ],
  example: 'partyline receive --dir ~/Downloads --accept trusted',
  json: 'one object an offer, one progress object a line, {file,bytes,sha256,elapsed} for each file',
  async run(context, given) {
    const accept = text(given, 'accept')
    if (accept !== 'all' && accept !== 'trusted' && accept !== 'ask')
      throw new PartylineError('usage.invalid-argument', `--accept takes all, trusted or ask, not ${accept}`)
    await using client = await context.connect({ reconnect: true })
    const dir = text(given, 'dir') ?? (await inboxFor(client, context))
    context.say(`waiting for offers; files go to ${dir}`)
    const bar = createBar(context)
    const ask = async (offer: OfferView): Promise<boolean> => {
      const from = peerName(await client.call('peers.get', { peer: offer.peer }))
      bar.clear()
      return await askUser(context, `${from} offers ${offerText(offer)}. Take it? [y/N] `)
    }
    let failure: PartylineError | undefined
    const options: ReceiveOptions = { dir, accept, once: given.options.once === true, ask, signal: context.signal }
    for await (const event of receiveFiles(client, options)) {
      context.emit(event)
      if (event.kind === 'progress') bar.show(event)
      else bar.clear()
      if (event.kind === 'file') context.say(`${printable(event.file)}  ${size(event.bytes)}`)
      if (event.kind === 'waiting') context.say(`waiting: ${printable(event.message)}`)
      if (event.kind === 'file-failed') context.stderr.write(`${printable(`${event.file}: ${event.message}`)}\n`)
      if (event.kind === 'done') context.say(`received ${summary(event)}`)
      if (event.kind !== 'failed') continue
      failure = new PartylineError(event.code, event.message)
      if (!options.once) context.stderr.write(`${printable(event.message)}\n`)
    }
    if (options.once && failure) throw failure
  },
}
