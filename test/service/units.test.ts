import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fillUnit } from '../../cli/service/templates.ts'

const PACKAGING = new URL('../../packaging/systemd/', import.meta.url)
/** The most that `systemd-analyze security` may find exposed. */
const MAX_EXPOSURE = 2
/** The version of systemd that slows restarts down. */
const BACK_OFF_SINCE = 254

const missing = analyzerMissing()

describe.skipIf(missing)(`the units${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'partyline-units-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** Writes a unit as it is installed, with a program that is there. */
  const write = (template: string): string => {
    const path = join(folder, template.replace(/.*\//, ''))
    writeFileSync(path, fillUnit(readFileSync(new URL(template, PACKAGING), 'utf8'), ['/bin/sh']))
    return path
  }
  const analyze = (...args: string[]) =>
    spawnSync('systemd-analyze', args, { encoding: 'utf8', env: { ...process.env, XDG_RUNTIME_DIR: folder } })

  test('of the machine are what systemd understands', () => {
    const { status, stderr } = analyze('verify', '--man=no', write('partyline.service'), write('partyline.socket'))
    expect(stderr).toBe('')
    expect(status).toBe(0)
  })

  test('of the machine may have the back-off where systemd knows it, and only there', () => {
    const unit = write('partyline.service')
    mkdirSync(`${unit}.d`)
    writeFileSync(join(`${unit}.d`, 'back-off.conf'), readFileSync(new URL('back-off.conf', PACKAGING)))
    const { stderr } = analyze('verify', '--man=no', unit, write('partyline.socket'))
    rmSync(`${unit}.d`, { recursive: true })
    const [, version] = /^systemd (\d+)/.exec(analyze('--version').stdout) ?? []
    if (Number(version) >= BACK_OFF_SINCE) expect(stderr).toBe('')
    else expect(stderr).toContain("Unknown key 'RestartSteps'")
  })

  test('of a user is what systemd understands', () => {
    const { status, stderr } = analyze('verify', '--user', '--man=no', write('user/partyline.service'))
    expect(stderr).not.toContain('partyline.service')
    expect(status).toBe(0)
  })

  test(`of the machine exposes at most ${MAX_EXPOSURE}`, () => {
    const { stdout } = analyze('security', '--offline=true', '--no-pager', write('partyline.service'))
    const [, exposure] = /exposure level for partyline\.service: ([\d.]+)/.exec(stdout) ?? []
    expect(Number(exposure)).toBeLessThanOrEqual(MAX_EXPOSURE)
  })
})

function analyzerMissing(): string | undefined {
  try {
    const [, version] =
      /^systemd (\d+)/.exec(execFileSync('systemd-analyze', ['--version'], { encoding: 'utf8' })) ?? []
    return Number(version) >= 250 ? undefined : 'systemd-analyze 250 or later is needed'
  } catch {
    return 'systemd-analyze is not installed'
  }
}
