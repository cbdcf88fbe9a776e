import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { identityOf } from '../../daemon/identity/key.ts'
import { makeServerCertificate } from '../../daemon/identity/server-certificate.ts'

const newIdentity = () => identityOf(generateKeyPairSync('ed25519').privateKey)
const NAMES = ['hub-cafe.local', 'partyline-abc.local']

test('is of a P-256 key, signed by itself, for its names, and says that it is no authority', async () => {
  const { certPem, keyPem } = await makeServerCertificate(newIdentity(), NAMES)
  const certificate = new X509Certificate(certPem)
  expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
  expect(certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.checkPrivateKey(createPrivateKey(keyPem))).toBe(true)
  expect(NAMES.map((name) => certificate.checkHost(name))).toEqual(NAMES)
  expect(certificate.ca).toBe(false)
})

test('is the same each time for one identity and its names, and another for any other', async () => {
  const [anna, ben] = [newIdentity(), newIdentity()]
  const fingerprint = async (...made: Parameters<typeof makeServerCertificate>) =>
    new X509Certificate((await makeServerCertificate(...made)).certPem).fingerprint256
  const first = await fingerprint(anna, NAMES)
  expect(await fingerprint(anna, NAMES)).toBe(first)
  expect(await fingerprint(anna, ['hub-tea.local'])).not.toBe(first)
  expect(await fingerprint(ben, NAMES)).not.toBe(first)
})
