/**
 * Stands for npm in the tests of packaging/setup.mjs: notes how it was called in `npm.log`, and does what the scenario says: each word of
 * FAKE_NPM is something that goes wrong.
 */
import { appendFileSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const args = process.argv.slice(2)
const troubles = (process.env.FAKE_NPM ?? '').split(' ')
appendFileSync(process.env.FAKE_NPM_LOG ?? 'npm.log', `${args.join(' ')}\n`)

function writeNode(path) {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, '#!/bin/sh\necho v24.99.0\n', { mode: 0o755 })
}

async function install() {
  rmSync('node_modules', { recursive: true, force: true })
  // Long enough for others to come in between.
  await sleep(150)
  mkdirSync('node_modules')
  if (!troubles.includes('scripts-refused')) writeNode('node_modules/.bin/node')
  copyFileSync('package-lock.json', 'node_modules/.package-lock.json')
}

const spec = args.find((arg) => /^node-.*@/.test(arg))
if (spec) {
  if (troubles.includes('no-binary')) process.exit(1)
  writeNode(join('node_modules', spec.slice(0, spec.lastIndexOf('@')), 'bin/node'))
} else if (args[0] === 'ci' && troubles.includes('incomplete')) {
  console.error('npm error code EUSAGE\nnpm error\nnpm error Missing: some-package-for-macs@ from lock file')
  process.exit(1)
} else if (troubles.includes('offline')) {
  console.error('npm error code ENOTFOUND')
  process.exit(1)
} else {
  await install()
}
