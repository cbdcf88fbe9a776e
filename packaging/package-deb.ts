/**
 * `npm run package:deb [-- --arch arm64 --out FOLDER --compression none]`: builds `build/partyline_VERSION_ARCH.deb` with the program, its Node runtime, the service, man page and
 * completions. The same sources make the same bytes.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { commands, groups } from '../cli/commands.ts'
import { completionScript } from '../cli/completion.ts'
import { fillUnit, serviceCommand } from '../cli/service/templates.ts'
import { manifest, prepare, settle, sourceDate, stageProgram } from './build/stage.ts'
import { manPage } from './man.ts'

const HERE = fileURLToPath(new URL('./', import.meta.url))
const ROOT = join(HERE, '..')
const MAINTAINER = 'Partyline developers <developers@partyline.example.org>'
const LIBRARY = 'usr/lib/partyline'
const TARGET = { amd64: 'linux-x64', arm64: 'linux-arm64' } as const

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: 'amd64' },
    out: { type: 'string' },
    compression: { type: 'string', default: 'xz' },
  },
})
const arch = values.arch as keyof typeof TARGET
if (!(arch in TARGET)) throw new Error(`--arch is one of ${Object.keys(TARGET).join(', ')}`)

const { version } = manifest()
const seconds = sourceDate()
const date = new Date(seconds * 1000).toISOString().slice(0, 10)
const tree = mkdtempSync(join(tmpdir(), 'partyline-deb-'))

function put(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(join(tree, path, '..'), { recursive: true })
  writeFileSync(join(tree, path), content)
  chmodSync(join(tree, path), mode)
}

/** In Debian's own form. */
function changelog(): string {
  const when = new Date(seconds * 1000).toUTCString().replace('GMT', '+0000')
  return `partyline (${version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${MAINTAINER}  ${when}\n`
}

/** As Debian wants them: without the time of the compressor. */
const compressed = (text: string): Uint8Array => gzipSync(text, { level: 9 })

const prepared = prepare()
try {
  stageProgram(prepared, join(tree, LIBRARY), TARGET[arch])
  put('usr/bin/partyline', `#!/bin/sh\nexec /${LIBRARY}/bin/node /${LIBRARY}/dist/cli/main.js "$@"\n`, 0o755)
  // With the runtime's own options: one that was given sockets cannot replace itself to get them.
  const command = serviceCommand(`/${LIBRARY}/bin/node`, `/${LIBRARY}/dist/cli/main.js`)
  for (const unit of ['system/partyline.service', 'system/partyline.socket', 'user/partyline.service'])
    put(
      `usr/lib/systemd/${unit}`,
      fillUnit(readFileSync(join(HERE, 'systemd', unit.replace('system/', '')), 'utf8'), command),
    )
  put('usr/lib/sysusers.d/partyline.conf', readFileSync(join(HERE, 'systemd/sysusers.conf')))
  put('usr/lib/tmpfiles.d/partyline.conf', readFileSync(join(HERE, 'systemd/tmpfiles.conf')))
  put(`${LIBRARY}/systemd/back-off.conf`, readFileSync(join(HERE, 'systemd/back-off.conf')))
  put('usr/share/man/man1/partyline.1.gz', compressed(manPage(version, date)))
  const completion = (shell: string): string => completionScript(shell, commands, groups)
  put('usr/share/bash-completion/completions/partyline', completion('bash'))
  put('usr/share/zsh/vendor-completions/_partyline', completion('zsh'))
  put('usr/share/fish/vendor_completions.d/partyline.fish', completion('fish'))
  put('usr/share/doc/partyline/copyright', readFileSync(join(HERE, 'deb/copyright')))
  put('usr/share/doc/partyline/changelog.gz', compressed(changelog()))
  put('usr/share/doc/partyline/CHANGELOG.md.gz', compressed(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8')))
  put('usr/share/lintian/overrides/partyline', readFileSync(join(HERE, 'deb/lintian-overrides')))
  cpSync(join(ROOT, 'docs/reference'), join(tree, 'usr/share/doc/partyline/reference'), { recursive: true })
  for (const script of ['postinst', 'prerm', 'postrm'])
    put(`DEBIAN/${script}`, readFileSync(join(HERE, 'deb', script)), 0o755)
  const size = execFileSync('du', ['-sk', '--apparent-size', '--exclude=DEBIAN', tree], { encoding: 'utf8' }).split(
    '\t',
  )[0]
  put(
    'DEBIAN/control',
    readFileSync(join(HERE, 'deb/control'), 'utf8')
      .replace('@VERSION@', version)
      .replace('@ARCH@', arch)
      .replace('@SIZE@', size ?? '0')
      .replace('@MAINTAINER@', MAINTAINER),
  )
  const sums = execFileSync(
    'sh',
    ['-c', "find . -type f ! -path './DEBIAN/*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' md5sum"],
    {
      cwd: tree,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    },
  )
  put('DEBIAN/md5sums', sums)
  settle(tree, seconds, (path) => /\/(?:usr\/bin\/partyline|bin\/node|DEBIAN\/(?:postinst|prerm|postrm))$/.test(path))
  const out = values.out ?? join(ROOT, 'build')
  if (!existsSync(out)) mkdirSync(out, { recursive: true })
  const file = join(out, `partyline_${version}_${arch}.deb`)
  const made = join(tree, '..', `${tree.split('/').at(-1)}.deb`)
  execFileSync('dpkg-deb', ['--root-owner-group', `-Z${values.compression}`, '--build', tree, made], {
    env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  copyFileSync(made, file)
  rmSync(made)
  console.log(file)
} finally {
  for (const folder of [tree, prepared]) rmSync(folder, { recursive: true, force: true })
}
