/**
 * Every error of Partyline, declared once: its stable code, whose doing it is, the exit code of a command that ends
 * with it, what it means, and what to do. The reference page `docs/reference/errors.md` is generated from this table.
 */

/** Whose doing an error is. */
export type ErrorKind = 'usage' | 'local' | 'peer' | 'network' | 'policy'

/** Exit codes of the commands (see the contract in README.md). */
export const EXIT = { done: 0, failed: 1, usage: 2, noDaemon: 3, notFound: 4, refused: 5, timedOut: 6 } as const

interface ErrorEntry {
  readonly exit: (typeof EXIT)[keyof typeof EXIT]
  /** One sentence: what it means. */
  readonly meaning: string
  /** One sentence: what to do about it; empty where the message itself has to say. */
  readonly hint: string
}

export const ERRORS = {
  'usage.invalid-argument': {
    exit: 2,
    meaning: 'An argument or parameter is missing or malformed.',
    hint: 'Run the command with --help.',
  },
  'usage.unknown-method': {
    exit: 2,
    meaning: 'The socket has no method of this name.',
    hint: 'See docs/reference/methods.md.',
  },
  'usage.unknown-setting': {
    exit: 2,
    meaning: 'There is no setting of this name.',
    hint: 'Run `partyline config list`.',
  },
  'usage.invalid-setting': {
    exit: 2,
    meaning: 'The value does not fit the setting.',
    hint: 'Run `partyline config list` for types and ranges.',
  },
  'usage.ambiguous-peer': {
    exit: 2,
    meaning: 'More than one peer goes by this name or prefix.',
    hint: 'Use more characters of the peer id (`partyline peers`).',
  },
  'usage.too-large': {
    exit: 2,
    meaning: 'What is to be sent is larger than its kind may be: a message 512 KiB, a chat line 4 KiB, a signal 8 KiB.',
    hint: 'Send less at a time, or use a stream or a file.',
  },
  'usage.bad-ticket': {
    exit: 2,
    meaning: 'This is no ticket, or one that was damaged on its way.',
    hint: 'Copy all of it once more, or ask for another one.',
  },
  'usage.malformed': {
    exit: 2,
    meaning: 'The bytes on the socket are not a request.',
    hint: 'Send one JSON object a line, or MessagePack-RPC.',
  },
  'usage.invalid-request': {
    exit: 2,
    meaning: 'What came on the socket is well-formed, but no call.',
    hint: 'A call has a method, an id (number or string) and params; batches are not supported.',
  },
  'usage.oversized': {
    exit: 2,
    meaning: 'A request is larger than the socket takes.',
    hint: 'Keep requests below 1 MiB.',
  },
  'usage.hello-first': {
    exit: 2,
    meaning: 'The first call on a connection has to be `hello`.',
    hint: 'Call hello {app, protocol} first.',
  },
  'usage.protocol': {
    exit: 2,
    meaning: 'The daemon does not speak the protocol version asked for.',
    hint: 'Update the older of the two, app or daemon.',
  },

  'local.no-daemon': {
    exit: 3,
    meaning: 'No daemon is running for this user or home.',
    hint: 'Start one with `partyline daemon`.',
  },
  'local.already-running': {
    exit: 1,
    meaning: 'Another daemon already uses this home.',
    hint: 'Stop it first, or choose another --home.',
  },
  'local.port-taken': {
    exit: 1,
    meaning: 'The port that was insisted on is in use.',
    hint: 'Choose another --port, or leave it out.',
  },
  'local.identity-exposed': {
    exit: 1,
    meaning: 'The identity key can be read by other users.',
    hint: 'Run `chmod 600` on it.',
  },
  'local.identity-damaged': {
    exit: 1,
    meaning: 'The identity key cannot be read.',
    hint: 'Restore it from a backup, or move it away for a new identity.',
  },
  'local.settings-damaged': {
    exit: 1,
    meaning: 'The settings file cannot be read; it was left as it is.',
    hint: 'Mend the file, or move it away.',
  },
  'local.accounts-damaged': {
    exit: 1,
    meaning: 'The file of XMPP accounts cannot be read; it was left as it is.',
    hint: 'Mend accounts.json, or move it away and add the accounts again.',
  },
  'local.accounts-exposed': {
    exit: 1,
    meaning: 'The file of XMPP accounts can be read by other users.',
    hint: 'Run `chmod 600` on it, and change the passwords.',
  },
  'local.no-account': {
    exit: 4,
    meaning: 'There is no such XMPP account here.',
    hint: 'See `partyline account list`.',
  },
  'local.peers-damaged': {
    exit: 1,
    meaning: 'The peer book cannot be read; it was left as it is.',
    hint: 'Restore peers.json from a backup, or move it away.',
  },
  'local.invites-damaged': {
    exit: 1,
    meaning: 'The list of invitations cannot be read; it was left as it is.',
    hint: 'Restore invites.json from a backup, or move it away: the tickets given out are void then.',
  },
  'local.bad-activation': {
    exit: 1,
    meaning: 'The sockets that the service manager handed over are not the ones a daemon takes.',
    hint: 'In the socket unit, write FileDescriptorName=app for the app socket, or control for that of the owner.',
  },
  'local.no-service-manager': {
    exit: 1,
    meaning: 'This system has no service manager that Partyline knows, or it does not answer.',
    hint: 'Run `partyline daemon` from what starts programs here.',
  },
  'local.service-installed': {
    exit: 1,
    meaning: 'The service is installed already.',
    hint: 'Run `partyline service start`, or `partyline service uninstall` first.',
  },
  'local.service-missing': {
    exit: 4,
    meaning: 'The service is not installed.',
    hint: 'Run `partyline service install`.',
  },
  'local.service-packaged': {
    exit: 1,
    meaning: 'The service came with a package, and goes with it.',
    hint: 'Remove the package, `apt remove partyline` say.',
  },
  'local.service-failed': {
    exit: 1,
    meaning: 'The service manager did not do what was asked.',
    hint: 'See `partyline service logs`.',
  },
  'local.not-root': {
    exit: 1,
    meaning: 'Only root may do this.',
    hint: 'Run it with sudo, or with --user for a service of your own.',
  },
  'local.private-program': {
    exit: 1,
    meaning: 'The program lies where a system service cannot read it.',
    hint: 'Install Partyline from a package or below /opt, or use --user.',
  },
  'local.state-newer': {
    exit: 1,
    meaning: 'A file of this host was written by a later version.',
    hint: 'Install that version again; or move the file away, and begin without what it holds.',
  },
  'local.path-too-long': {
    exit: 1,
    meaning: 'The path of the socket is longer than the system allows.',
    hint: 'Choose a shorter --home.',
  },
  'local.permission': {
    exit: 1,
    meaning: 'The system does not permit this.',
    hint: 'Check owner and mode of the file or socket.',
  },
  'local.limit': {
    exit: 1,
    meaning: 'A limit of this connection or daemon is reached.',
    hint: 'Wait for calls to finish, or use fewer at a time.',
  },
  'local.closed': { exit: 1, meaning: 'The connection to the daemon was closed.', hint: 'Connect again.' },
  'local.stopping': { exit: 1, meaning: 'The daemon is shutting down.', hint: 'Start it again.' },
  'local.file': {
    exit: 1,
    meaning: 'A local file or folder cannot be read or written.',
    hint: 'Check that it exists and who may use it.',
  },
  'local.internal': {
    exit: 1,
    meaning: 'A fault in Partyline itself.',
    hint: 'Please report it, with what `partyline report` writes.',
  },

  'local.no-invitation': {
    exit: 4,
    meaning: 'There is no such invitation, or more than one.',
    hint: 'See `partyline invite list`.',
  },
  'local.no-relay': {
    exit: 1,
    meaning: 'This host is no relay.',
    hint: 'Run `partyline relay start`.',
  },
  'local.no-hub': {
    exit: 4,
    meaning: 'There is no such hub here.',
    hint: 'See `partyline hub status`; `partyline hub start` makes this host one.',
  },

  'peer.not-found': {
    exit: 4,
    meaning: 'No peer goes by this name or id.',
    hint: 'Run `partyline peers` to see who is there.',
  },
  'peer.no-service': {
    exit: 4,
    meaning: 'No app at the peer accepts this service.',
    hint: 'Start one there, `partyline listen SERVICE` say.',
  },
  'peer.no-listener': {
    exit: 4,
    meaning: 'No app at the peer listens to this channel.',
    hint: 'Start one there, `partyline messages CHANNEL` say.',
  },
  'peer.not-accepted': {
    exit: 5,
    meaning: 'The app at the peer did not accept the message, or did not answer in time.',
    hint: 'Ask its user to accept, and send again.',
  },
  'peer.restarted': {
    exit: 1,
    meaning: 'The daemon of the peer was restarted: what it had not acknowledged is lost.',
    hint: 'Send it again; a new session opens by itself.',
  },
  'peer.no-offer': {
    exit: 4,
    meaning: 'There is no such offer, or it was withdrawn.',
    hint: 'Ask the sender to offer it again.',
  },
  'peer.busy': { exit: 1, meaning: 'The peer has no room for more of this now.', hint: 'Try again in a moment.' },
  'peer.closed': { exit: 1, meaning: 'The peer closed the session.', hint: 'Connect again if it is still there.' },
  'peer.reset': {
    exit: 1,
    meaning: 'The stream ended before everything had arrived.',
    hint: 'Open it again; a file transfer resumes by itself.',
  },
  'peer.hash-mismatch': {
    exit: 1,
    meaning: 'A received file is not what was sent.',
    hint: 'Ask the sender to send it again.',
  },
  'peer.malformed': {
    exit: 1,
    meaning: 'A peer sent bytes that the protocol does not allow.',
    hint: 'Check that both sides run a current version.',
  },
  'peer.oversized': {
    exit: 1,
    meaning: 'A peer sent something larger than the limit.',
    hint: 'Check that both sides run a current version.',
  },
  'peer.bad-signature': {
    exit: 1,
    meaning: "A signed packet does not carry its sender's signature.",
    hint: 'Somebody on the network may be forging packets.',
  },
  'peer.replayed': {
    exit: 1,
    meaning: 'A packet or a signal was seen before.',
    hint: 'Somebody on the network may be replaying what others sent.',
  },
  'peer.wrong-key': {
    exit: 1,
    meaning: 'The host at this address is not the peer expected.',
    hint: 'Its address may have gone to another host; wait for discovery.',
  },
  'peer.bad-certificate': {
    exit: 1,
    meaning: 'The certificate is not a Partyline identity.',
    hint: 'Check that both sides run a current version.',
  },
  'peer.wrong-protocol': {
    exit: 1,
    meaning: 'The other side does not speak partyline/1 over TLS 1.3.',
    hint: 'Check that the port belongs to a Partyline daemon.',
  },
  'peer.too-many-links': {
    exit: 1,
    meaning: 'Too many links from one address or in all.',
    hint: 'Wait until some are closed.',
  },
  'peer.handshake-timeout': {
    exit: 1,
    meaning: 'A handshake was begun and not finished in time.',
    hint: 'A slow or hostile host; nothing to do.',
  },
  'peer.rate-limited': {
    exit: 1,
    meaning: 'Somebody sends more than is looked at: packets, chat lines, signals or log-ins.',
    hint: 'Wait a minute, where it is you; otherwise a faulty or hostile host, and nothing to do.',
  },
  'peer.bad-record': {
    exit: 1,
    meaning: "An mDNS record is not a Partyline host's.",
    hint: 'Check that both sides run a current version.',
  },

  'peer.bad-xml': {
    exit: 1,
    meaning: 'The peer sent XML that no XMPP stream may hold.',
    hint: 'Nothing to do; it was refused.',
  },
  'peer.impersonation': {
    exit: 1,
    meaning: 'Somebody spoke in the name of somebody else.',
    hint: 'Nothing to do; it was refused.',
  },
  'peer.not-authorized': {
    exit: 5,
    meaning: 'The log-in was refused: a wrong PIN, a wrong proof, or a name that is in use.',
    hint: "Check the PIN on the hub's screen, or take another nickname.",
  },
  'peer.slow-reader': {
    exit: 1,
    meaning: 'A client read more slowly than others wrote to it, and was cut off.',
    hint: 'Nothing to do; it may log in again.',
  },
  'peer.bad-signal': {
    exit: 1,
    meaning: 'A signal is not for this host, not signed by its sender, or damaged.',
    hint: 'Nothing to do; it was refused.',
  },
  'peer.old-signal': {
    exit: 1,
    meaning: 'A signal is too old, or the clocks of the two hosts disagree.',
    hint: 'Nothing to do; an honest sender sends it again.',
  },
  'peer.chat-only': {
    exit: 1,
    meaning: 'This is a plain XMPP client: it can chat, and nothing else.',
    hint: 'Ask its user to run Partyline.',
  },

  'network.unreachable': {
    exit: 1,
    meaning: "None of the peer's addresses answered.",
    hint: 'Check cable, Wi-Fi isolation and firewall (TCP and UDP of its port).',
  },
  'network.timeout': {
    exit: 6,
    meaning: 'No answer came in time.',
    hint: 'Check that the peer is still there (`partyline peers`).',
  },
  'network.lost': {
    exit: 1,
    meaning: 'The link to the peer was lost.',
    hint: 'It is dialled again as soon as it is seen.',
  },
  'network.no-path': {
    exit: 1,
    meaning: 'No path to the peer was found: the routers between let none through.',
    hint: 'Give both hosts a relay (`partyline config set nat.turn`), or let a router forward the port.',
  },
  'network.no-session': {
    exit: 4,
    meaning: 'There is no session to this peer.',
    hint: 'Open one with `partyline connect PEER`.',
  },
  'network.no-mapping': {
    exit: 1,
    meaning: 'The router maps no port to this host.',
    hint: 'Switch on UPnP, NAT-PMP or PCP in the router, or forward the port by hand.',
  },
  'network.none': {
    exit: 1,
    meaning: 'No network interface takes part.',
    hint: 'Plug in a cable, or choose interfaces with `partyline config set network.interfaces`.',
  },

  'policy.blocked': { exit: 5, meaning: 'The peer is blocked here.', hint: 'Run `partyline trust PEER` to undo it.' },
  'policy.refused': { exit: 5, meaning: 'The peer refused.', hint: 'Ask its user.' },
  'policy.asking': {
    exit: 5,
    meaning: "The peer's owner has been asked, and has not answered yet.",
    hint: 'Try again once they have accepted (`partyline requests` there).',
  },
  'policy.no-request': {
    exit: 4,
    meaning: 'This peer does not ask for anything.',
    hint: 'See `partyline requests`.',
  },
  'policy.metered': {
    exit: 5,
    meaning: 'The network that leads to the peer is metered, and not to be used for this.',
    hint: 'See `policy.on-metered` and `policy.metered` (`partyline policy`).',
  },
  'policy.not-trusted': {
    exit: 5,
    meaning: 'The peer is not trusted here.',
    hint: 'Trust it first: `partyline trust PEER`.',
  },
  'policy.ticket-expired': {
    exit: 5,
    meaning: 'The time of the ticket is over.',
    hint: 'Ask for another one (`partyline invite`); check the clocks if it is new.',
  },
  'policy.ticket-used': {
    exit: 5,
    meaning: 'The ticket has been used as often as it is good for.',
    hint: 'Ask for another one (`partyline invite`).',
  },
  'policy.ticket-revoked': {
    exit: 5,
    meaning: 'The ticket was taken back by the host that gave it out.',
    hint: 'Ask for another one (`partyline invite`).',
  },
  'policy.ticket-not-for-you': {
    exit: 5,
    meaning: 'The ticket was made for another host.',
    hint: 'Ask for one that is for this host (`partyline whoami` shows its id).',
  },
  'policy.other-user': {
    exit: 5,
    meaning: 'An app of another user of this machine has that channel, service or offer.',
    hint: 'Use another name, or wait until that app has closed.',
  },
  'policy.owner-only': {
    exit: 5,
    meaning: 'Only the owner may do this, on the control socket.',
    hint: 'Use control.sock (the partyline command does).',
  },
} as const satisfies Record<`${ErrorKind}.${string}`, ErrorEntry>

/** A stable error code. */
export type ErrorCode = keyof typeof ERRORS

/** An error with a stable code: what failed and why in `message`, what to do in `hint`. */
export class PartylineError extends Error {
  readonly code: ErrorCode
  readonly hint: string

  constructor(
    code: ErrorCode,
    message: string = ERRORS[code].meaning,
    options: { hint?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'PartylineError'
    this.code = code
    this.hint = options.hint ?? ERRORS[code].hint
  }

  get exit(): number {
    return ERRORS[this.code].exit
  }
}

/** True for a string that is one of our codes, for what comes off a wire. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code)
}

/** Any thrown thing as one of ours; what is not ours becomes `local.internal`. */
export function toPartylineError(thrown: unknown): PartylineError {
  if (thrown instanceof PartylineError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new PartylineError('local.internal', message, { cause: thrown })
}
