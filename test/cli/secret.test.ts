import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { askSecretly } from '../../cli/secret.ts'

/** A terminal that shows what it is made to show, and knows whether it echoes. */
class Terminal extends PassThrough {
  shown = ''
  isRaw = false
  setRawMode(isRaw: boolean): this {
    this.isRaw = isRaw
    return this
  }
}

function asked() {
  const stdin = new Terminal()
  const abort = new AbortController()
  const stderr = { write: (text: string) => (stdin.shown += text) }
  const answer = askSecretly('Password: ', {
    stdin: stdin as unknown as NodeJS.ReadStream,
    stderr,
    signal: abort.signal,
  })
  return { stdin, abort, answer }
}

test.each([
  ['what is typed until Enter', ['cor', 'rect horse\r', 'more'], 'correct horse'],
  ['without what was erased', ['ab\u007fc\bd', '\n'], 'ad'],
  ['of letters of any kind', ['pässwörd🔑\r'], 'pässwörd🔑'],
  ['without control characters', ['a\u001b\u0001b\r'], 'ab'],
  ['of a bounded length', [`${'x'.repeat(3000)}\r`], 'x'.repeat(1024)],
])('the secret is %s', async (_, typed, secret) => {
  const { stdin, answer } = asked()
  expect(stdin.isRaw).toBe(true)
  for (const keys of typed) stdin.write(keys)
  expect(await answer).toBe(secret)
  expect([stdin.isRaw, stdin.shown]).toEqual([false, 'Password: \n'])
})

test.each(['\u0003', '\u0004'])('Ctrl-C and Ctrl-D give it up (%j)', async (key) => {
  const { stdin, answer } = asked()
  stdin.write(`abc${key}`)
  await expect(answer).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  expect([stdin.isRaw, stdin.shown]).toEqual([false, 'Password: \n'])
})

test('a command that is ended leaves the terminal as it was', async () => {
  const { stdin, abort, answer } = asked()
  abort.abort()
  await expect(answer).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  expect(stdin.isRaw).toBe(false)
})
