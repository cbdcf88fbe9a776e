/**
 * Makes of what the compiler wrote to `dist` what is installed: the command and the daemon in a few files, which load in half the time of
 * hundreds. What every start loads goes in; node-xmpp-server too, since it asks for a tarball that does not install, and npm takes no
 * overrides from a dependency. The SDK (`dist/ipc`) stays as it is compiled. The licences of what went in are written beside it.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { build } from 'esbuild'

const root = resolve(import.meta.dirname, '..')
const dist = join(root, 'dist')
/** Beside the command, so that what is found by a path relative to the sources' folders is found from here. */
const CHUNKS = 'cli/chunks'
/** Packages with a part that was compiled: what they ask to find it reads the manifests of everything around. */
const NATIVE = ['sodium-native', 'udx-native']
const INLINED = [
  ...NATIVE,
  '@msgpack/msgpack',
  'bonjour-service',
  'commander',
  'conf',
  'ltx',
  'node-xmpp-server',
  'write-file-atomic',
  'zod',
]

/** Whether a bare name of an import is of a package that goes in. */
const goesIn = (path) => INLINED.some((name) => path === name || path.startsWith(`${name}/`))

/** Our own files import packages that go in, or stay outside; what packages import goes where they go. */
const packages = {
  name: 'packages',
  setup({ onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path, importer }) =>
      importer.startsWith(dist) && !goesIn(path) ? { path, external: true } : undefined,
    )
  },
}

/** The compiled part of a package is taken from where the package is installed. */
const natives = {
  name: 'natives',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/](?:sodium|udx)-native[\\/]binding\.js$/ }, ({ path }) => {
      const name = NATIVE.find((one) => path.includes(one))
      return {
        contents: `const { join, sep } = require('node:path')
const entry = require.resolve('${name}')
const folder = entry.slice(0, entry.lastIndexOf(sep + '${name}' + sep) + ${name.length + 2})
module.exports = require(join(folder, 'prebuilds', process.platform + '-' + process.arch, '${name}.node'))`,
      }
    })
  },
}

/** What the SDK loads stays beside it. */
const sdk = await build({
  entryPoints: [join(dist, 'ipc/index.js')],
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  write: false,
  metafile: true,
  absWorkingDir: root,
})

const { metafile, outputFiles } = await build({
  entryPoints: [
    { in: join(dist, 'cli/main.js'), out: 'cli/main' },
    { in: join(dist, 'daemon/hub/xmpp-server.js'), out: 'daemon/hub/xmpp-server' },
    { in: join(dist, 'daemon/network/facts-worker.js'), out: `${CHUNKS}/facts-worker` },
  ],
  outdir: dist,
  chunkNames: `${CHUNKS}/[name]-[hash]`,
  bundle: true,
  splitting: true,
  write: false,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  metafile: true,
  plugins: [packages, natives],
  absWorkingDir: root,
  legalComments: 'inline',
  logLevel: 'warning',
})

const compiled = readdirSync(dist, { recursive: true }).filter((name) => /^(?:cli|daemon)\b.*\.js$/.test(name))
for (const name of compiled)
  if (!(`dist/${name.replaceAll('\\', '/')}` in sdk.metafile.inputs)) rmSync(join(dist, name))
for (const { path, text } of outputFiles) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, withBuiltins(text))
}

/**
 * Takes Node's own modules by `process.getBuiltinModule`: an import of one reads all of its exports, `node:http`'s WebSocket among them, which
 * loads a whole HTTP client. CommonJS inside of the bundle asks for them by `require`.
 */
function withBuiltins(text) {
  const taken = []
  const body = text.replaceAll(
    /^import\s+(?:([\w$]+)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)\s+|\{([^}]*)\}\s*)?(?:from\s*)?"(?:node:)?([\w/]+)";$/gm,
    (whole, all, namespace, names, module) => {
      if (!builtinModules.includes(module)) return whole
      const builtin = `globalThis.process.getBuiltinModule("node:${module}")`
      const fields = names?.replaceAll(/([\w$]+) as /g, '$1: ')
      for (const target of [all, namespace, fields && `{${fields}}`])
        if (target) taken.push(`const ${target} = ${builtin};`)
      return ''
    },
  )
  const [shebang = ''] = /^#!.*\n/.exec(body) ?? []
  // What CommonJS has without asking.
  const module = 'globalThis.process.getBuiltinModule'
  const given = [
    ['require', `${module}("node:module").createRequire(import.meta.url)`],
    ['__filename', `${module}("node:url").fileURLToPath(import.meta.url)`],
  ].flatMap(([name, value]) => (new RegExp(`\\b${name}\\b`).test(body) ? [`const ${name} = ${value};`] : []))
  return `${shebang}${[...given, ...taken].join('\n')}\n${body.slice(shebang.length)}`
}

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
  join(dist, CHUNKS, 'THIRD-PARTY.txt'),
  `The files in this folder contain the following packages.${rule}${[...new Set(notices)].join(rule)}\n`,
)
