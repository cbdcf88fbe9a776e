/**
 * Puts node-xmpp-server and what it needs into `dist/daemon/hub/xmpp-server.js`, after the compiler wrote it: the package asks for a
 * tarball that does not install, and npm takes no overrides from a dependency. The licences of what went in are written beside it.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { build } from 'esbuild'

const root = resolve(import.meta.dirname, '..')
const file = join(root, 'dist/daemon/hub/xmpp-server.js')
const INLINED = 'node-xmpp-server/'

/** What our own file imports stays where it is, but for the package. */
const ours = {
  name: 'ours',
  setup({ onResolve }) {
    onResolve({ filter: /^/ }, ({ path, importer }) =>
      importer === file && !path.startsWith(INLINED) ? { path, external: true } : undefined,
    )
  },
}

const { metafile } = await build({
  entryPoints: [file],
  outfile: file,
  allowOverwrite: true,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  metafile: true,
  plugins: [ours],
  absWorkingDir: root,
  legalComments: 'inline',
  // The package is CommonJS and asks for Node's own modules by require.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  logLevel: 'warning',
})

/** The folder of the package that a file belongs to. */
function packageOf(input) {
  for (let folder = dirname(resolve(root, input)); folder !== root; folder = dirname(folder)) {
    const entries = readdirSync(folder)
    if (entries.includes('package.json') && JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version)
      return folder
  }
  return undefined
}

/** The licence of a package in its own words: its files, or else the chapter of its README. */
function licenceText(folder) {
  const texts = (pattern) =>
    readdirSync(folder)
      .filter((name) => pattern.test(name))
      .map((name) => readFileSync(join(folder, name), 'utf8').trim())
  const files = texts(/^(licen[cs]e|copying|notice)/i)
  const words =
    files.length > 0 ? files : texts(/^readme/i).flatMap((text) => /^#+ *licen[cs]e[\s\S]*/im.exec(text)?.[0] ?? [])
  return words.join('\n\n')
}

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

const nameOf = (person) => (typeof person === 'string' ? person : person?.name)

const folders = [...new Set(Object.keys(metafile.inputs).map(packageOf))]
  .filter((folder) => folder !== undefined)
  .sort()
const notices = folders.map((folder) => {
  const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const words = licenceText(folder)
  const license = about.license ?? about.licenses?.map(({ type }) => type).join(' or ')
  if (!license) throw new Error(`${relative(root, folder)} names no licence`)
  const authors = [...new Set([about.author, ...(about.contributors ?? [])].map(nameOf).filter(Boolean))]
  const head = [
    `${about.name} ${about.version}`,
    `Licence: ${license}`,
    authors.length > 0 && `Copyright (c) ${authors.join(', ')}`,
    about.homepage,
  ]
  // Some name the MIT licence and leave its text out, which asks to go along.
  const needsText = license.startsWith('MIT') && !words.includes('Permission is hereby granted')
  return [head.filter(Boolean).join('\n'), words, needsText && MIT].filter(Boolean).join('\n\n')
})
const rule = `\n\n${'-'.repeat(80)}\n\n`
writeFileSync(
  join(dirname(file), 'THIRD-PARTY.txt'),
  `xmpp-server.js in this folder contains the following packages.${rule}${[...new Set(notices)].join(rule)}\n`,
)
