import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { ERRORS } from '../../daemon/errors.ts'
import { METHODS, type MethodName } from '../../ipc/methods.ts'

describe.each(Object.keys(METHODS) as MethodName[])('%s', (name) => {
  const { example, params, result, errors, about } = METHODS[name]

  test('is named noun.verb and told in a sentence', () => {
    expect(name).toMatch(name === 'hello' ? /^hello$/ : /^[a-z]+\.[a-z]+$/)
    expect(about).toMatch(/^[A-Z].*\.$/)
  })

  test('has an example that it would take', () => {
    expect(params.safeParse(example.params).error).toBeUndefined()
  })

  test('has an example of an answer that it could give', () => {
    // Long answers are shortened in the examples.
    const shape: z.ZodType = result instanceof z.ZodObject ? result.partial() : result
    expect(shape.safeParse(example.result).error).toBeUndefined()
  })

  test('names errors of the table', () => {
    for (const code of errors) expect(Object.keys(ERRORS)).toContain(code)
  })
})

test('the pages of docs/reference are current', async () => {
  const script = new URL('../../packaging/reference.ts', import.meta.url).pathname
  await promisify(execFile)(process.execPath, [script, '--check'])
})
