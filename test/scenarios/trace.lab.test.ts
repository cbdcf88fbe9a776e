import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { Guest } from './party.ts'

const missing = labMissing()

describe.skipIf(missing)(`a trace${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('tells step by step how a session came about and ended, though the log was silent; its level changes while it runs', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [a, b] = await Promise.all([
      Guest.join(lab, 'h1', [], { settings: { 'log.level': 'error' } }),
      Guest.join(lab, 'h2'),
    ])
    await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
    await a.json(['connect', b.id])
    await a.json(['disconnect', b.id])
    const { steps } = (await a.json(['trace', b.id])) as Result<'trace.read'>
    const told = steps.map(({ part, text }) => `${part}: ${text}`).join('\n')
    for (const step of [
      'connect: a session is wanted',
      /connect: dialling to=\S+:47800/,
      /connect: a link is up to=\S+:47800 group=X25519MLKEM768/,
      /connect: a link was elected session=\S+ resumed=false/,
      'session: a session is open route=lan carrier=tcp',
      /session: a session has ended .*by=local/,
    ])
      expect(told).toMatch(step)
    expect(steps.map(({ at }) => at)).toEqual(steps.map(({ at }) => at).toSorted((x, y) => x - y))
    expect(a.daemon.log()).not.toContain('dialling')
    await a.json(['config', 'set', 'log.level', 'debug'])
    await a.json(['connect', b.id])
    expect(a.daemon.log()).toContain('dialling')
  })
})
