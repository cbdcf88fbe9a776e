import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'

const missing = labMissing()
const MODULE = new URL('../../daemon/policy/way-out.ts', import.meta.url).href
const PROGRAM = `const { wayOut } = await import('${MODULE}')
console.log(JSON.stringify({ four: await wayOut(4), six: await wayOut(6) }))`

const ask = async (lab: Lab, host: string): Promise<unknown> =>
  JSON.parse((await lab.exec(host, [process.execPath, '--input-type=module', '-e', PROGRAM])).stdout)

describe.skipIf(missing)(`the way to the internet${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('is the address of the interface that the default route names, or none', async () => {
    await using lab = await Lab.up('lan', { n: 1 })
    expect(await ask(lab, 'h1')).toEqual({})
    await lab.exec('h1', ['ip', 'route', 'add', 'default', 'via', '192.168.50.254'])
    expect(await ask(lab, 'h1')).toEqual({ four: '192.168.50.1' })
    await lab.exec('h1', ['ip', '-6', 'route', 'add', 'default', 'via', 'fd00:50::fe'])
    expect(await ask(lab, 'h1')).toEqual({ four: '192.168.50.1', six: 'fd00:50::1' })
  })
})
