/** Fills the templates of `packaging/`. Each format has its own way to write a word that has special characters in it. */
import { ROOMY_HEAP } from '../roomy-heap.ts'

/**
 * The command line of `partyline` for a service: Node's path and that of `cli/main.js`. With the options of V8 in it, the daemon need not replace
 * itself by itself, at which sockets that were opened for it would be lost.
 */
export function serviceCommand(node: string, main: string): readonly string[] {
  return [node, ...ROOMY_HEAP, main]
}

/** A systemd unit: `@PROGRAM@` is the command line (systemd.service(5), "Command lines"). */
export function fillUnit(template: string, program: readonly string[]): string {
  return fill(template, { PROGRAM: program.map(unitWord).join(' ') })
}

/** A property list of launchd: `@ARGUMENTS@` one element for each word, `@LOG@` a file. */
export function fillPropertyList(template: string, program: readonly string[], log: string): string {
  const words = program.map((word) => `    <string>${xml(word)}</string>`)
  return fill(template, { ARGUMENTS: words.join('\n'), LOG: xml(log) })
}

/** A task of the Windows Task Scheduler: `@COMMAND@` is what cmd.exe is given, `@USER@` whose task it is. */
export function fillTask(template: string, program: readonly string[], log: string, user: string): string {
  const words = [...program, 'daemon', ...(user === '' ? ['--system'] : [])].map((word) => `"${word}"`)
  // With /s, cmd.exe takes off the outer quotes and leaves the rest as it is.
  return fill(template, { COMMAND: xml(`/d /s /c "${words.join(' ')} >> "${log}" 2>&1"`), USER: xml(user) })
}

function fill(template: string, values: Readonly<Record<string, string>>): string {
  // By a function: a path may have `$` in it.
  return template.replaceAll(/@([A-Z]+)@/g, (place, name: string) => values[name] ?? place)
}

/** Plain words as they are; others in quotes, with `%` (specifiers) and `$` (variables) doubled. */
function unitWord(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$')
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, '\\$&')}"`
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
