import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from './lab.ts'

const missing = labMissing()
const reaches = async (lab: Lab, from: string, address: string): Promise<boolean> =>
  (await lab.exec(from, ['ping', '-c1', '-W1', address])).code === 0

describe.skipIf(missing)(`the lab${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('has hosts that reach each other and no way out', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(true)
    expect(await reaches(lab, 'h1', 'fd00:50::2')).toBe(true)
    expect((await lab.exec('h1', ['ip', 'route', 'show', 'default'])).stdout).toBe('')
    expect((await lab.exec('h1', ['cat', '/etc/resolv.conf'])).stdout).toBe('')
  })

  test('has cables to pull, and filters', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    await lab.link('h2', 'down')
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(false)
    await lab.link('h2', 'up')
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(true)
    await lab.nft('lan', 'table bridge t { chain c { type filter hook forward priority 0; ip protocol icmp drop; } }')
    expect(await reaches(lab, 'h1', '192.168.50.2')).toBe(false)
  })

  test('leaves nothing behind, programs that still run included', async () => {
    const lab = await Lab.up('lan', { n: 2 })
    const sleeper = lab.spawn('h1', ['sleep', '1000'])
    await lab.down()
    expect(sleeper.signalCode).toBe('SIGKILL')
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain('-h1 ')
  })
})
