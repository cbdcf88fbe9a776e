/** The functions of `sodium-native` that are used here; the package brings no types. Each throws where libsodium reports a failure. */
declare module 'sodium-native' {
  interface Sodium {
    readonly crypto_box_SEALBYTES: number
    readonly crypto_box_PUBLICKEYBYTES: number
    readonly crypto_box_SECRETKEYBYTES: number
    readonly crypto_sign_PUBLICKEYBYTES: number
    readonly crypto_sign_SECRETKEYBYTES: number
    /** Writes the sealed box of `message` for the X25519 key `receiver` to `sealed`. */
    crypto_box_seal(sealed: Uint8Array, message: Uint8Array, receiver: Uint8Array): void
    /** Writes what was sealed to `message`; false when it is not for this key, or damaged. */
    crypto_box_seal_open(message: Uint8Array, sealed: Uint8Array, publicKey: Uint8Array, secretKey: Uint8Array): boolean
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    /** False for a signature by another key, and for keys of small order. */
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
    /** Throws for what is no point of the curve, or one of small order. */
    crypto_sign_ed25519_pk_to_curve25519(x25519: Uint8Array, ed25519: Uint8Array): void
    crypto_sign_ed25519_sk_to_curve25519(x25519: Uint8Array, ed25519: Uint8Array): void
    sodium_memzero(buffer: Uint8Array): void
  }
  const sodium: Sodium
  export default sodium
}
