import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  sign,
  verify,
} from 'node:crypto'
import { link, open, readFile, rm, stat } from 'node:fs/promises'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import type { PeerId } from '../types.ts'
import { keyFromPeerId, peerIdFromKey } from './peer-id.ts'

/** Who this host is. The private key stays in here and in its file. */
export interface Identity {
  readonly peer: PeerId
  readonly privateKey: KeyObject
  /** An Ed25519 signature (64 bytes, RFC 8032). */
  sign(bytes: Uint8Array): Uint8Array
}

/**
 * Reads the identity key, or creates one on first start: PKCS#8 PEM, mode 0600.
 * Throws `local.identity-exposed` when others can read it, `local.identity-damaged` when it is no such key, `local.permission` or
 * `local.file` when the system gives no answer; never overwrites it.
 */
export async function loadOrCreateIdentity(file: string): Promise<Identity> {
  const existing = await readKey(file)
  if (existing) return existing
  await createKey(file)
  const created = await readKey(file)
  if (!created) throw new PartylineError('local.identity-damaged', `${file}: the key that was just written is gone`)
  return created
}

async function readKey(file: string): Promise<Identity | undefined> {
  let pem: string
  try {
    if (process.platform !== 'win32' && ((await stat(file)).mode & 0o077) !== 0)
      throw new PartylineError('local.identity-exposed', `${file} can be read by other users`, {
        hint: `Run: chmod 600 ${file}`,
      })
    pem = await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof PartylineError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fileError(file, error)
  }
  try {
    const privateKey = createPrivateKey(pem)
    if (privateKey.asymmetricKeyType !== 'ed25519')
      throw new Error(`it is a key of type ${privateKey.asymmetricKeyType}`)
    return identityOf(privateKey)
  } catch (error) {
    throw new PartylineError('local.identity-damaged', `${file} is no Ed25519 key: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** Written whole under another name and linked into place, so that a kill at any moment leaves no half key and overwrites none. */
async function createKey(file: string): Promise<void> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const draft = `${file}.${randomUUID()}`
  try {
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(privateKey.export({ type: 'pkcs8', format: 'pem' }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await link(draft, file)
  } catch (error) {
    // Another process was first: its key is the identity.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(file, error)
  } finally {
    await rm(draft, { force: true })
  }
}

/** The identity that a private Ed25519 key makes. */
export function identityOf(privateKey: KeyObject): Identity {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  return {
    peer: peerIdFromKey(Buffer.from(x ?? '', 'base64url')),
    privateKey,
    sign: (bytes) => sign(null, bytes, privateKey),
  }
}

/** True when `signature` over `bytes` was made with the key that `peer` is. Never throws, whatever the bytes. */
export function verifySignature(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, bytes, publicKeyOf(peer), signature)
  } catch {
    return false
  }
}

function publicKeyOf(peer: PeerId): KeyObject {
  const x = Buffer.from(keyFromPeerId(peer)).toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}
