import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { commands, groups } from '../../cli/commands.ts'
import { completionScript } from '../../cli/completion.ts'
import { commandReference } from '../../cli/reference.ts'
import { runCli } from './run-cli.ts'

/** The commands that README.md promises of this version. */
const PROMISED = [
  'start daemon status peers whoami connect disconnect ping chat send receive listen open message messages',
  'name trust block forget verify rpc version completion presence doctor report trace top fake metrics',
]
  .join(' ')
  .split(' ')
  .concat(['install', 'uninstall', 'status', 'start', 'stop', 'logs'].map((verb) => `service ${verb}`))
  .concat(['config list', 'config get', 'config set', 'config reset'])
  .concat(['hub start', 'hub status', 'hub stop', 'hub pin', 'hub join', 'hub leave'])
  .concat(['relay start', 'relay stop', 'relay status', 'relay credentials'])
  .concat(['invite', 'invite list', 'invite revoke', 'join'])
  .concat(['account add', 'account list', 'account remove', 'friends', 'introduce'])
  .concat(['policy', 'policy set', 'policy reset', 'requests', 'requests accept', 'requests refuse'])

const names = commands.map(({ name }) => name)

test('every promised command is in the table, once', () => expect(names.toSorted()).toEqual(PROMISED.toSorted()))

test.each(commands.map((command) => [command.name, command] as const))(
  '%s says what it does in a sentence and shows how',
  (name, { about, example }) => {
    expect(about).toMatch(/^[A-Z].*\.$/)
    expect(example).toContain(`partyline ${name}`)
  },
)

test('every first word of two is told about', () => {
  const firsts = names.filter((name) => name.includes(' ')).map((name) => name.split(' ')[0])
  // One that is a command itself is told about there.
  const alone = [...new Set(firsts)].filter((name) => !names.some((other) => other === name))
  expect(groups.map(({ name }) => name).toSorted()).toEqual(alone.toSorted())
})

test('help shows options and the example, of `config` and `hub` too', async () => {
  const [ping, config, hub] = await Promise.all(
    [['ping'], ['config'], ['hub']].map((words) => runCli([...words, '--help'])),
  )
  expect(ping).toMatchObject({ code: 0, stderr: '' })
  expect(ping?.stdout).toContain('-c, --count <n>')
  expect(ping?.stdout).toContain('Example:\n  partyline ping anna -c 10')
  expect(config?.stdout).toContain('Example:')
  expect(hub?.stdout).toContain('Example:\n  partyline hub start')
  expect(hub?.stdout).toMatch(/^ {2}join .*<hub>/m)
})

test('the list of commands in the help is the table', async () => {
  const { stdout } = await runCli(['--help'])
  for (const name of names.filter((one) => !one.includes(' '))) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
})

test('the reference has a section for every command and every exit code', () => {
  const page = commandReference()
  for (const command of commands) {
    expect(page).toContain(`## partyline ${`${command.name} ${command.arguments}`.trim()}\n`)
    expect(page).toContain(command.example)
    for (const option of command.options ?? []) expect(page).toContain(`\`${option.flags}\``)
  }
  for (const exit of [0, 1, 2, 3, 4, 5, 6]) expect(page).toMatch(new RegExp(`^\\| ${exit} \\| \\S`, 'm'))
})

test('every shell gets a script that names every command', () => {
  for (const shell of ['bash', 'zsh', 'fish'])
    for (const name of names) expect(completionScript(shell, commands, groups)).toContain(name.split(' ').at(-1))
})

/** What bash offers behind these words, where `partyline peers` names two peers. */
function completed(...words: string[]): string[] {
  const script = `
    ${completionScript('bash', commands, groups)}
    partyline() { [ "$1" = peers ] && printf 'anna\\nben of the den\\n'; }
    compopt() { :; }
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _partyline; printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['-c', script, 'bash', 'partyline', ...words], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
}

test('bash completes commands, their options and the words behind config', () => {
  expect(completed('pe')).toEqual(['peers'])
  expect(completed('start', '--d')).toEqual(['--demo'])
  expect(completed('config', 're')).toEqual(['reset'])
  expect(completed('hub', 'st')).toEqual(['start', 'status', 'stop'])
  expect(completed('hub', 'start', '--n')).toEqual(['--name', '--no-color'])
  expect(completed('presence', 'a')).toEqual(['available', 'away'])
  expect(completed('receive', '--')).toEqual(expect.arrayContaining(['--dir', '--accept', '--once', '--json']))
})

test('bash completes the names of the peers that are there', () => {
  expect(completed('ping', '')).toEqual(['anna', 'ben of the den'])
  expect(completed('ping', 'a')).toEqual(['anna'])
  expect(completed('doctor', 'a')).toEqual(['anna'])
  expect(completed('ping', 'anna', '')).toEqual([])
})
