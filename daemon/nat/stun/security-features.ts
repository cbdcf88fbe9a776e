/** Before the security features that a nonce tells of (RFC 8489 section 9.2). */
export const NONCE_COOKIE = 'obMatJos2'
/** Bits of the 24, leftmost first (RFC 8489 section 18.1). */
export const FEATURE = { passwordAlgorithms: 1 << 23, usernameAnonymity: 1 << 22 } as const
/** RFC 8489 section 18.5. */
export const PASSWORD_ALGORITHMS = { md5: 1, sha256: 2 } as const
