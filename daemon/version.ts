import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'

/** This package's version, from the package.json that it was installed or checked out with. */
export const VERSION: string = (() => {
  const path = findPackageJSON(import.meta.url)
  if (!path) throw new Error('package.json is missing')
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
})()
