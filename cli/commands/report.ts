import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { PartylineError } from '../../daemon/errors.ts'
import { type Command, text } from '../command.ts'

export const reportCommand: Command = {
  name: 'report',
  arguments: '',
  about:
    'Writes a file for a bug report: what the daemon knows and did, without names, addresses, secrets and messages.',
  options: [{ flags: '-o, --output <file>', about: 'where it goes; - for stdout' }],
  example: 'partyline report',
  json: '{file,bytes}; with `-o -` the report itself',
  async run(context, given) {
    await using client = await context.connect({ control: true })
    const report = await client.call('report.create', {})
    const written = `${JSON.stringify(report, undefined, 1)}\n`
    const wanted =
      text(given, 'output') ?? `partyline-report-${report.created.replace(/[^0-9T]/g, '').slice(0, 15)}.json`
    if (wanted === '-') return void context.stdout.write(written)
    const file = resolve(wanted)
    try {
      // Nobody else's business before its owner has read it; and no file is written over.
      await writeFile(file, written, { mode: 0o600, flag: 'wx' })
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      throw new PartylineError(
        'local.file',
        code === 'EEXIST' ? `${file} is there already` : `${file} cannot be written: ${code}`,
      )
    }
    context.emit({ file, bytes: Buffer.byteLength(written) })
    context.say(`Wrote ${file}. Names, addresses and secrets are masked; read it before you send it to anybody.`)
  },
}
