/**
 * `npm run package:homebrew -- --url https://example.org/releases [--from FOLDER]`: writes `partyline.rb`, a formula for the archives in `build/`
 * as they will lie below that address.
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { TARGETS } from './build/runtime.ts'
import { archiveName, manifest } from './build/stage.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const { values } = parseArgs({
  options: { url: { type: 'string' }, from: { type: 'string', default: join(ROOT, 'build') } },
})
if (!values.url?.startsWith('https://')) throw new Error('--url is the address, https://…, where the archives will lie')
const base = values.url.replace(/\/+$/, '')
const { version } = manifest()
const filled: Record<string, string> = { HOMEPAGE: base, VERSION: version }
for (const target of TARGETS.filter((one) => one !== 'win32-x64')) {
  const name = archiveName(version, target)
  filled[`URL_${target}`] = `${base}/${name}`
  filled[`SHA_${target}`] = createHash('sha256')
    .update(readFileSync(join(values.from, name)))
    .digest('hex')
}
const template = readFileSync(join(ROOT, 'packaging/homebrew/partyline.rb'), 'utf8')
const file = join(values.from, 'partyline.rb')
writeFileSync(
  file,
  template.replaceAll(/@([\w-]+)@/g, (place, name) => filled[name] ?? place),
)
console.log(file)
