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
    /** RFC 8439. `sealed` is 16 bytes longer than `message`, and may begin at the same place. */
    crypto_aead_chacha20poly1305_ietf_encrypt(
      sealed: Uint8Array,
      message: Uint8Array,
      additional: Uint8Array,
      nsec: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number
    /** Throws for what was not sealed so; `message` is then all zeros. It may begin at the same place as `sealed`. */
    crypto_aead_chacha20poly1305_ietf_decrypt(
      message: Uint8Array,
      nsec: null,
      sealed: Uint8Array,
      additional: Uint8Array,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number
    sodium_memzero(buffer: Uint8Array): void
  }
  const sodium: Sodium
  export default sodium
}
