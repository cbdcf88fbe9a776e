import { commands, groups } from '../cli/commands.ts'
import { ERRORS, EXIT } from '../daemon/errors.ts'

/** Text for roff(7): a backslash and what would begin a request are escaped, a hyphen is one, and what is not ASCII is named by its code point. */
const escaped = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(['.])/gm, '\\&$1')
    .replaceAll(/[^\0-\x7f]/gu, (one) => `\\[u${one.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`)

/** `code` as bold, as man pages have it. */
const prose = (text: string): string => escaped(text).replace(/`([^`]+)`/g, '\\fB$1\\fR')

/** partyline(1) from the table of commands; `date`: as `2026-11-23`. */
export function manPage(version: string, date: string): string {
  const parts = commands.map(({ name, arguments: args, about, options = [], example, json }) => {
    const rows = options.map(({ flags, about: meaning, default: value }) =>
      ['.TP', `.B ${escaped(flags)}`, prose(`${meaning}${value ? ` (${value} unless told)` : ''}.`)].join('\n'),
    )
    const gives = json === '' ? [] : ['.PP', `With \\fB\\-\\-json\\fR: ${prose(json)}`]
    return [
      `.SS ${escaped(`partyline ${`${name} ${args}`.trim()}`)}`,
      prose(about),
      ...rows,
      ...gives,
      '.PP',
      '.EX',
      escaped(example),
      '.EE',
    ].join('\n')
  })
  const exits = Object.values(EXIT).map((exit) => {
    const codes = Object.entries(ERRORS).flatMap(([code, entry]) => (entry.exit === exit ? [code] : []))
    return ['.TP', `.B ${exit}`, escaped(codes.length === 0 ? 'done' : codes.join(', '))].join('\n')
  })
  return `${[
    `.TH PARTYLINE 1 ${date} "partyline ${version}" "Partyline"`,
    // Names of options and examples do not stretch.
    '.ad l',
    '.SH NAME',
    'partyline \\- peers of the local network, and far away, for every program',
    '.SH SYNOPSIS',
    '.B partyline',
    '.I command',
    '.RI [ argument ...]',
    '.RB [ \\-\\-home',
    '.IR folder ]',
    '.RB [ \\-\\-json ]',
    '.SH DESCRIPTION',
    'A daemon finds the other hosts of the network by itself, connects to them encrypted and authenticated by key, and carries messages, streams',
    'and files between programs here and there; without internet, account or server. This command runs it, and asks it.',
    '.PP',
    prose(
      'A PEER is a petname, a name (if only one peer has it), a peer id or a prefix of one of at least 6 characters. Times are milliseconds, sizes bytes, rates bits per second.',
    ),
    `Commands of two words: ${groups.map(({ name }) => `\\fB${escaped(name)}\\fR`).join(', ')}.`,
    '.SH COMMANDS',
    ...parts,
    '.SH EXIT STATUS',
    ...exits,
    '.SH FILES',
    '.TP',
    '.I /etc/partyline/config.json',
    'Settings of the system service.',
    '.TP',
    '.I /var/lib/partyline',
    'Its identity, peer book, accounts and inbox.',
    '.TP',
    '.I /run/partyline/partyline.sock',
    'Its socket for apps, for users in the group \\fBpartyline\\fR.',
    '.TP',
    '.I \\(ti/.config/partyline, \\(ti/.local/share/partyline',
    'The same of a user.',
    '.SH ENVIRONMENT',
    '.TP',
    '.B PARTYLINE_HOME',
    'One folder for everything, in the place of these.',
    '.SH SEE ALSO',
    'The reference of commands, settings, socket methods and errors is in',
    '.IR /usr/share/doc/partyline .',
  ].join('\n')}\n`
}
