/** Numbers of STUN and of what is built on it (IANA, "STUN Parameters"). */

export const METHOD = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  send: 0x006,
  data: 0x007,
  createPermission: 0x008,
  channelBind: 0x009,
} as const

export const ATTRIBUTE = {
  mappedAddress: 0x0001,
  /** RFC 5780. */
  changeRequest: 0x0003,
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  unknownAttributes: 0x000a,
  /** RFC 8656. */
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedAddressFamily: 0x0017,
  evenPort: 0x0018,
  requestedTransport: 0x0019,
  dontFragment: 0x001a,
  messageIntegritySha256: 0x001c,
  passwordAlgorithm: 0x001d,
  userhash: 0x001e,
  xorMappedAddress: 0x0020,
  reservationToken: 0x0022,
  /** RFC 8445. */
  priority: 0x0024,
  useCandidate: 0x0025,
  /** RFC 5780. */
  padding: 0x0026,
  responsePort: 0x0027,
  /** RFC 8016. */
  mobilityTicket: 0x8030,
  passwordAlgorithms: 0x8002,
  alternateDomain: 0x8003,
  additionalAddressFamily: 0x8000,
  addressErrorCode: 0x8001,
  icmp: 0x8004,
  software: 0x8022,
  alternateServer: 0x8023,
  fingerprint: 0x8028,
  iceControlled: 0x8029,
  iceControlling: 0x802a,
  /** RFC 5780. */
  responseOrigin: 0x802b,
  otherAddress: 0x802c,
} as const

/** Attributes up to this number have to be understood by whoever gets them (RFC 8489 section 14). */
export const LAST_REQUIRED = 0x7fff

/** Error codes (RFC 8489 section 14.8, RFC 8656 section 19, RFC 8445 section 7.3.1.1, RFC 8016). */
export const ERROR = {
  tryAlternate: 300,
  badRequest: 400,
  unauthenticated: 401,
  forbidden: 403,
  mobilityForbidden: 405,
  unknownAttribute: 420,
  allocationMismatch: 437,
  staleNonce: 438,
  addressFamilyNotSupported: 440,
  wrongCredentials: 441,
  unsupportedTransport: 442,
  peerAddressFamilyMismatch: 443,
  allocationQuotaReached: 486,
  roleConflict: 487,
  serverError: 500,
  insufficientCapacity: 508,
} as const
