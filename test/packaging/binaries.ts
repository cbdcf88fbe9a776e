import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What a binary is built for, as Node names platform and architecture, by its first bytes; undefined for what is no binary. */
function builtFor(bytes: Buffer): string | undefined {
  if (bytes.length < 64) return undefined
  // ELF: e_machine follows the identification and e_type.
  if (bytes.readUInt32BE(0) === 0x7f454c46)
    return `linux-${{ 62: 'x64', 183: 'arm64' }[bytes.readUInt16LE(18)] ?? 'other'}`
  // Mach-O with 64 bits: the type of the processor follows the magic number.
  if (bytes.readUInt32LE(0) === 0xfeedfacf)
    return `darwin-${{ 16777223: 'x64', 16777228: 'arm64' }[bytes.readUInt32LE(4)] ?? 'other'}`
  // PE: where the header is stands at 0x3c; its machine follows its signature.
  if (bytes.toString('latin1', 0, 2) === 'MZ') {
    const header = bytes.readUInt32LE(0x3c)
    if (header + 6 > bytes.length) return 'win32-other'
    return `win32-${{ 34404: 'x64', 43620: 'arm64' }[bytes.readUInt16LE(header + 4)] ?? 'other'}`
  }
  return undefined
}

/** All binaries below a folder, with what they are built for. */
export function binaries(folder: string): string[] {
  const found: string[] = []
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name)
    if (!statSync(path).isFile()) continue
    const head = Buffer.alloc(4096)
    const file = openSync(path, 'r')
    const kind = builtFor(head.subarray(0, readSync(file, head)))
    closeSync(file)
    if (kind) found.push(`${name.split('/').at(-1)} ${kind}`)
  }
  return found.toSorted()
}
