/**
 * The part of the metadata reflection API (https://rbuckton.github.io/reflect-metadata) that `tsyringe` asks for, which
 * `@peculiar/x509` is built on and which it refuses to load without. Import it before that.
 */
const metadata = new WeakMap<object, Map<unknown, unknown>>()

function define(key: unknown, value: unknown, target: object): void {
  const own = metadata.get(target) ?? new Map<unknown, unknown>()
  metadata.set(target, own.set(key, value))
}

const own = (key: unknown, target: object): unknown => metadata.get(target)?.get(key)

function inherited(key: unknown, target: object | null): unknown {
  if (target === null) return undefined
  return own(key, target) ?? inherited(key, Object.getPrototypeOf(target))
}

if (!('getMetadata' in Reflect))
  Object.assign(Reflect, { defineMetadata: define, getOwnMetadata: own, getMetadata: inherited })
