import { ERRORS, EXIT } from '../daemon/errors.ts'
import { commands } from './commands.ts'

/** The reference page of the commands, as Markdown. */
export function commandReference(): string {
  const sections = commands.map(({ name, arguments: args, about, options = [], example, json }) => {
    const rows = options.map(
      (option) =>
        `| \`${option.flags}\` | ${option.about}${option.default ? ` (default \`${option.default}\`)` : ''} |\n`,
    )
    const table = rows.length > 0 ? `\n| option | meaning |\n| --- | --- |\n${rows.join('')}` : ''
    const gives = json === '' ? '' : `\n\`--json\` gives: ${json.replaceAll('|', '\\|')}\n`
    return `## partyline ${`${name} ${args}`.trim()}\n\n${about}\n${table}${gives}\n    ${example}\n`
  })
  const exits = Object.values(EXIT).map((exit) => {
    const codes = Object.entries(ERRORS).flatMap(([code, entry]) => (entry.exit === exit ? [`\`${code}\``] : []))
    return `| ${exit} | ${codes.length === 0 ? 'done' : codes.join(', ')} |\n`
  })
  return `# Commands

Every command takes \`--home FOLDER\`, \`--json\`, \`--no-color\` and \`--help\`. \`PEER\` is a petname, a name (if only one peer has it), a peer id or a
prefix of one of at least 6 characters. Times are milliseconds, sizes bytes, rates bits per second.

An error is one line on stderr; with \`--json\` it is \`{"error":{"code":"…","message":"…","hint":"…"}}\` on stdout. Exit codes:

| exit code | errors |
| --- | --- |
${exits.join('')}
${sections.join('\n')}`
}
