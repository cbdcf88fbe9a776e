/** XML namespaces, by what they are for. */
export const NS = {
  stream: 'http://etherx.jabber.org/streams',
  streams: 'urn:ietf:params:xml:ns:xmpp-streams',
  stanzas: 'urn:ietf:params:xml:ns:xmpp-stanzas',
  client: 'jabber:client',
  roster: 'jabber:iq:roster',
  discoInfo: 'http://jabber.org/protocol/disco#info',
  discoItems: 'http://jabber.org/protocol/disco#items',
  xhtml: 'http://www.w3.org/1999/xhtml',
  caps: 'http://jabber.org/protocol/caps',
  chatStates: 'http://jabber.org/protocol/chatstates',
  receipts: 'urn:xmpp:receipts',
  ping: 'urn:xmpp:ping',
  time: 'urn:xmpp:time',
  nick: 'http://jabber.org/protocol/nick',
  vcard: 'vcard-temp',
  externalServices: 'urn:xmpp:extdisco:2',
  carbons: 'urn:xmpp:carbons:2',
  hints: 'urn:xmpp:hints',
  management: 'urn:xmpp:sm:3',
  tls: 'urn:ietf:params:xml:ns:xmpp-tls',
  /** Ours: a sealed signal in base64. */
  signal: 'urn:partyline:signal:0',
  /** Ours: proof of a host's identity on a serverless stream. */
  identity: 'urn:partyline:identity:0',
  /** Ours: marks the presence of a Partyline host. */
  host: 'urn:partyline:host:0',
} as const
