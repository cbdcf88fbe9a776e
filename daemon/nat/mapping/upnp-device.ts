import { request } from 'node:http'
import { type Element, parse } from 'ltx'
import { PartylineError } from '../../errors.ts'
import type { Milliseconds } from '../../types.ts'

/** What a router may answer with, and how long it may take. */
const MAX_PAGE = 64 * 1024
const PATIENCE: Milliseconds = 4000
const MAX_DEPTH = 16

/** Services that map ports, the best first (IGD 2, IGD 1; a DSL router's is the second kind). */
const MAPPERS: readonly string[] = [
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
]

/** A service of the router, and where it takes orders. */
export interface UpnpService {
  readonly type: string
  readonly control: URL
}

/** Reads a page of the router's, or orders something; rejects with `network.no-mapping`. */
export type UpnpFetch = (url: URL, order: Order | undefined, signal: AbortSignal) => Promise<Page>

interface Order {
  readonly action: string
  readonly body: string
}

interface Page {
  readonly status: number
  readonly body: string
}

/** An order that a router turned down, with the code that IGD has for it. */
export class UpnpRefusal extends PartylineError {
  readonly reason: number

  constructor(reason: number, description: string) {
    super('network.no-mapping', `the router refuses: ${description} (${reason})`)
    this.reason = reason
  }
}

/** By `node:http`, following nothing anywhere, and no more than 64 KiB. */
export const systemFetch: UpnpFetch = (url, order, signal) =>
  new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new PartylineError('network.no-mapping', `UPnP: ${why}`))
    const asking = request(
      url,
      {
        method: order ? 'POST' : 'GET',
        signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]),
        agent: false,
        ...(order && {
          headers: {
            'Content-Type': 'text/xml; charset="utf-8"',
            'Content-Length': Buffer.byteLength(order.body),
            SOAPAction: `"${order.action}"`,
          },
        }),
      },
      (answer) => {
        let body = ''
        answer.setEncoding('utf8')
        answer.on('data', (text: string) => {
          body += text
          if (body.length > MAX_PAGE) asking.destroy(new Error('a page without end'))
        })
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body }))
        answer.once('error', (error) => fail(error.message))
      },
    )
    asking.once('error', (error) => fail(error.message))
    asking.end(order?.body)
  })

/**
 * The service that maps ports, of those that a description names at the router's own address. Throws `network.no-mapping`, whatever the text.
 * `isOwn`: true for pages of the router.
 */
export function readDescription(text: string, at: URL, isOwn: (url: URL) => boolean): UpnpService {
  const services = findAll(readXml(text), 'service').flatMap((service): UpnpService[] => {
    const type = textOf(service, 'serviceType')
    const path = textOf(service, 'controlURL')
    if (path === '' || path.length > 512 || !URL.canParse(path, at.href)) return []
    const control = new URL(path, at.href)
    return isOwn(control) ? [{ type, control }] : []
  })
  const mapper = MAPPERS.map((type) => services.find((one) => one.type === type)).find((one) => one !== undefined)
  if (!mapper) throw new PartylineError('network.no-mapping', 'the UPnP router maps no ports')
  return mapper
}

/** Orders an action of a service (UPnP Device Architecture section 3); what it answers, by name. Rejects with `UpnpRefusal`. */
export async function order(
  fetch: UpnpFetch,
  { type, control }: UpnpService,
  action: string,
  args: Readonly<Record<string, string | number>>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const given = Object.entries(args).map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`)
  const body = [
    '<?xml version="1.0"?>',
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">',
    `<s:Body><u:${action} xmlns:u="${type}">${given.join('')}</u:${action}></s:Body></s:Envelope>`,
  ].join('')
  const page = await fetch(control, { action: `${type}#${action}`, body }, signal)
  return readAnswer(page, action)
}

/** Throws `UpnpRefusal` or `network.no-mapping`, whatever the text. */
export function readAnswer({ status, body }: Page, action: string): ReadonlyMap<string, string> {
  const envelope = readXml(body)
  const [answer] = findAll(envelope, `${action}Response`)
  if (status === 200 && answer)
    return new Map(answer.getChildElements().map((one) => [localName(one), one.getText().trim().slice(0, 512)]))
  const [fault] = findAll(envelope, 'UPnPError')
  if (!fault) throw new PartylineError('network.no-mapping', `the UPnP router answers ${status}`)
  throw new UpnpRefusal(
    Number(textOf(fault, 'errorCode')) || 0,
    textOf(fault, 'errorDescription')
      .replace(/[^\x20-\x7e]/g, '')
      .slice(0, 80),
  )
}

function readXml(text: string): Element {
  try {
    const root = text.length <= MAX_PAGE ? parse(text.replace(/^\uFEFF?\s*<\?xml[^>]*\?>/, '').trim()) : null
    if (root) return root
  } catch {
    // Told below.
  }
  throw new PartylineError('network.no-mapping', 'the UPnP router answers with what cannot be read')
}

/** All elements of a name, whatever their prefix, down to a bounded depth. */
function findAll(root: Element, name: string, depth = 0): Element[] {
  if (depth > MAX_DEPTH) return []
  const here = localName(root) === name ? [root] : []
  return [...here, ...root.getChildElements().flatMap((child) => findAll(child, name, depth + 1))]
}

const localName = (element: Element): string => element.getName()

const textOf = (element: Element, name: string): string =>
  element
    .getChildElements()
    .find((child) => localName(child) === name)
    ?.getText()
    .trim() ?? ''

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
