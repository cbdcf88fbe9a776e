/** What proves a connectivity check to be meant for us, and its answer to be the peer's (RFC 8445 section 5.3). */
export interface IceCredentials {
  /** 4 to 256 ice-chars, 24 bits of randomness or more. */
  readonly ufrag: string
  /** 22 to 256 ice-chars, 128 bits of randomness or more. */
  readonly pwd: string
}

/** RFC 8839 section 5.4, "ice-char". */
const UFRAG = /^[A-Za-z0-9+/]{4,256}$/
const PWD = /^[A-Za-z0-9+/]{22,256}$/

/** 48 and 144 random bits. */
export function newCredentials(random: (bytes: number) => Buffer): IceCredentials {
  return { ufrag: random(6).toString('base64'), pwd: random(18).toString('base64') }
}

export function areCredentials({ ufrag, pwd }: IceCredentials): boolean {
  return UFRAG.test(ufrag) && PWD.test(pwd)
}

export function isSameCredentials(a: IceCredentials | undefined, b: IceCredentials): boolean {
  return a?.ufrag === b.ufrag && a.pwd === b.pwd
}
