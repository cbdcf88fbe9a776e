import { EXIT } from '../../daemon/errors.ts'
import type { DoctorCheck } from '../../ipc/methods.ts'
import type { Command, Context } from '../command.ts'
import { printable } from '../format.ts'

const MARKS = { ok: ['✓', 'green'], warn: ['!', 'yellow'], fail: ['✗', 'red'], skip: ['-', 'dim'] } as const

export const doctorCommand: Command = {
  name: 'doctor',
  arguments: '[peer]',
  about: 'Looks for what is wrong with this host, or between it and a peer, and says how to mend it.',
  example: 'partyline doctor anna',
  json: '{checks:[{id,code,status,title,detail,fix}]}; status is ok, warn, fail or skip, and one that fails makes the exit code 1',
  async run(context, { args: [peer] }) {
    await using client = await context.connect()
    const result = await client.call('doctor.run', peer === undefined ? {} : { peer })
    context.emit(result)
    const { checks } = result
    const width = Math.max(0, ...checks.map(({ title }) => title.length))
    for (const check of checks) show(context, check, width)
    return checks.some(({ status }) => status === 'fail') ? EXIT.failed : EXIT.done
  },
}

function show({ say, paint }: Context, { code, status, title, detail, fix }: DoctorCheck, width: number): void {
  const [mark, colour] = MARKS[status]
  const about = printable(title).padEnd(width)
  const told = `${printable(detail)}${fix === '' ? '' : paint('dim', ` [${printable(code)}]`)}`
  say(
    `${paint(colour, mark)} ${status === 'skip' ? paint('dim', `${about}  ${told}`) : `${paint('bold', about)}  ${told}`}`,
  )
  // One that is mended in several steps tells them on lines of their own.
  for (const line of fix.split('\n').filter((one) => one !== ''))
    say(`${' '.repeat(width + 4)}${paint('cyan', '→')} ${printable(line)}`)
}
