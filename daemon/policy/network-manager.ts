import { execFile } from 'node:child_process'
import type { Milliseconds } from '../types.ts'

const PATIENCE: Milliseconds = 3000
const MAX_OUTPUT = 256 * 1024

/** The interfaces that NetworkManager calls metered; undefined where there is none to ask. */
export function askNetworkManager(env: NodeJS.ProcessEnv): Promise<readonly string[] | undefined> {
  return new Promise((resolve) => {
    execFile(
      'nmcli',
      ['-t', '-f', 'GENERAL.DEVICE,GENERAL.METERED', 'device', 'show'],
      { timeout: PATIENCE, maxBuffer: MAX_OUTPUT, env: { ...env, LC_ALL: 'C' } },
      (error, output) => {
        if (!error) return resolve(meteredDevices(output))
        // It may only not be running yet.
        resolve((error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : [])
      },
    )
  })
}

/** Reads `GENERAL.DEVICE:wlan0` and `GENERAL.METERED:yes (guessed)`, one of each for a device. */
export function meteredDevices(output: string): readonly string[] {
  const metered: string[] = []
  let device = ''
  for (const line of output.split('\n')) {
    const [key, ...rest] = line.trim().split(':')
    const value = rest.join(':')
    if (key === 'GENERAL.DEVICE') device = value.replaceAll('\\', '')
    else if (key === 'GENERAL.METERED' && value.startsWith('yes') && device !== '') metered.push(device)
  }
  return metered
}
