import { Element } from 'ltx'
import type { UnixMilliseconds } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'

/** A STUN or TURN server that the hub tells of (XEP-0215). */
export interface ExternalService {
  readonly type: 'stun' | 'turn' | 'turns'
  readonly host: string
  readonly port: number
  readonly transport: 'udp' | 'tcp'
  /** What the asker uses it with, and until when. */
  readonly login?: {
    readonly username: string
    readonly password: string
    readonly expires: UnixMilliseconds
  }
}

/** What answers a query for services, or for the credentials of one (XEP-0215 sections 3 and 4); undefined where there is no such one. */
export function answerServices(query: Element, services: readonly ExternalService[]): Element | undefined {
  const answer = new Element(query.getName(), { xmlns: NS.externalServices })
  if (answer.name === 'services') {
    const { type } = query.attrs
    for (const service of services) if (type === undefined || service.type === type) answer.cnode(elementOf(service))
    return answer
  }
  const { host, type, port } = query.getChild('service')?.attrs ?? {}
  const wanted = services.filter((service) => service.host === host && service.type === type)
  const found = wanted.find((service) => port === undefined || String(service.port) === port)
  if (answer.name !== 'credentials' || !found?.login) return undefined
  answer.cnode(elementOf(found))
  return answer
}

function elementOf({ type, host, port, transport, login }: ExternalService): Element {
  return new Element('service', {
    type,
    host,
    port: String(port),
    transport,
    ...(login && {
      restricted: '1',
      username: login.username,
      password: login.password,
      expires: new Date(login.expires).toISOString(),
    }),
  })
}
