import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { assert, constantFrom, integer, oneof, property, string } from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../../daemon/errors.ts'
import {
  order,
  readAnswer,
  readDescription,
  systemFetch,
  UpnpRefusal,
} from '../../../daemon/nat/mapping/upnp-device.ts'
import { leadsTo } from '../../../daemon/nat/mapping/upnp-search.ts'

const ROUTER = { address: '192.168.1.1' }
const AT = new URL('http://192.168.1.1:5000/rootDesc.xml')
const isOwn = (url: URL): boolean => leadsTo(url, ROUTER)
const IP_2 = 'urn:schemas-upnp-org:service:WANIPConnection:2'
const IP_1 = 'urn:schemas-upnp-org:service:WANIPConnection:1'
const PPP_1 = 'urn:schemas-upnp-org:service:WANPPPConnection:1'

/** A description as routers give it: services in devices in devices. */
function description(...services: readonly (readonly [type: string, control: string])[]): string {
  const list = services.map(
    ([type, control]) => `<service><serviceType>${type}</serviceType><controlURL>${control}</controlURL></service>`,
  )
  return `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device><deviceList><device>
<serviceList>${list.join('\n')}</serviceList></device></deviceList></device></deviceList></device></root>`
}

const soap = (body: string): string => `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>${body}</s:Body></s:Envelope>`

const fault = (code: number | string, text: string): string =>
  soap(`<s:Fault><faultcode>s:Client</faultcode><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">
<errorCode>${code}</errorCode><errorDescription>${text}</errorDescription></UPnPError></detail></s:Fault>`)

const NO_MAPPING = expect.objectContaining({ code: 'network.no-mapping' })

describe('the description of a router', () => {
  test('names the service that maps ports, the best where there are several', () => {
    const text = description(['urn:schemas-upnp-org:service:Layer3Forwarding:1', '/l3'], [PPP_1, '/ppp'], [IP_1, '/ip'])
    expect(readDescription(text, AT, isOwn)).toEqual({ type: IP_1, control: new URL('/ip', AT) })
    expect(readDescription(description([PPP_1, '/ppp'], [IP_2, '/two']), AT, isOwn).type).toBe(IP_2)
    expect(readDescription(description([PPP_1, 'ppp']), AT, isOwn).control.href).toBe('http://192.168.1.1:5000/ppp')
  })

  test('may begin with a mark of byte order, and give whole addresses', () => {
    const text = `\uFEFF${description([IP_1, 'http://192.168.1.1:49000/igd'])}`
    expect(readDescription(text, AT, isOwn).control.href).toBe('http://192.168.1.1:49000/igd')
  })

  test.each([
    ['another host', 'http://192.168.1.2:5000/ctl'],
    ['this host', 'http://127.0.0.1:5000/ctl'],
    ['a name', 'http://router.lan/ctl'],
    ['a host without its protocol', '//192.168.1.2/ctl'],
    ['another protocol', 'https://192.168.1.1/ctl'],
    ['a file', 'file:///etc/passwd'],
    ['one with a password', 'http://a:b@192.168.1.1/ctl'],
    ['nothing', ''],
    ['more than anybody needs', `/${'x'.repeat(512)}`],
  ])('does not send this host to %s', (_name, control) => {
    expect(() => readDescription(description([IP_1, control]), AT, isOwn)).toThrow(NO_MAPPING)
  })

  test('whose service has not its place leaves the next one', () => {
    const text = description([IP_2, 'http://192.168.1.2/ctl'], [IP_1, '/ctl'])
    expect(readDescription(text, AT, isOwn).type).toBe(IP_1)
  })

  test('ends: in 64 KiB, and not too deep', () => {
    const long = description([IP_1, '/ctl'], ['x'.repeat(64 * 1024), '/x'])
    expect(() => readDescription(long, AT, isOwn)).toThrow(NO_MAPPING)
    const deep = `${'<a>'.repeat(5000)}${description([IP_1, '/ctl']).replace(/<\?.*\?>/, '')}${'</a>'.repeat(5000)}`
    expect(() => readDescription(deep, AT, isOwn)).toThrow(NO_MAPPING)
  })

  test('whatever the text, is one that leads to the router or none', () => {
    const pieces = constantFrom(
      '<service>',
      '</service>',
      '<serviceType>',
      IP_1,
      '<controlURL>',
      '//evil/',
      '&',
      '<![CDATA[',
    )
    assert(
      property(oneof(string(), pieces), oneof(string(), pieces), string({ unit: 'binary' }), (a, b, c) => {
        for (const text of [a + b + c, description([IP_1, a + b]), description([a, c], [IP_1, c])])
          try {
            expect(readDescription(text, AT, isOwn).control.hostname).toBe(ROUTER.address)
          } catch (error) {
            expect(error).toBeInstanceOf(PartylineError)
          }
      }),
    )
  })
})

describe('an answer', () => {
  test('tells what it says, by name', () => {
    const body = soap(`<u:GetExternalIPAddressResponse xmlns:u="${IP_1}">
<NewExternalIPAddress> 11.99.0.1 </NewExternalIPAddress></u:GetExternalIPAddressResponse>`)
    const answer = readAnswer({ status: 200, body }, 'GetExternalIPAddress')
    expect([...answer]).toEqual([['NewExternalIPAddress', '11.99.0.1']])
  })

  test('that refuses tells its code, and what it says in ASCII', () => {
    const refuse = (): unknown =>
      readAnswer({ status: 500, body: fault(718, `Conflict\u{1b}[31m ${'y'.repeat(99)}`) }, 'AddPortMapping')
    expect(refuse).toThrow(UpnpRefusal)
    expect(refuse).toThrow(
      expect.objectContaining({ reason: 718, message: expect.stringMatching(/Conflict\[31m y{1,80} \(718\)/) }),
    )
  })

  test('with a fault and status 200 is a refusal all the same', () => {
    expect(() => readAnswer({ status: 200, body: fault(725, 'x') }, 'AddPortMapping')).toThrow(UpnpRefusal)
  })

  test.each([
    ['a fault without a code', 500, fault('', '')],
    ['a page that says nothing', 404, '<html><body>Not found</body></html>'],
    ['an answer to something else', 200, soap('<u:DeletePortMappingResponse xmlns:u="x"/>')],
    ['nothing', 200, ''],
    ['no XML', 200, 'OK'],
    ['unfinished XML', 200, '<s:Envelope><s:Body>'],
  ])('is none if it is %s', (_name, status, body) => {
    expect(() => readAnswer({ status, body }, 'AddPortMapping')).toThrow(NO_MAPPING)
  })

  test('whatever the text, is one or none', () => {
    assert(
      property(
        oneof(string(), constantFrom(fault(718, 'x'), soap('<AResponse/>'))),
        integer(),
        string(),
        (text, status, more) => {
          for (const body of [text, text + more, text.slice(0, status), soap(text), fault(text, more)])
            try {
              expect(readAnswer({ status, body }, 'A')).toBeInstanceOf(Map)
            } catch (error) {
              expect(error).toBeInstanceOf(PartylineError)
            }
        },
      ),
    )
  })
})

test('an order names its action, and escapes what it says', async () => {
  const asked: unknown[] = []
  const service = { type: IP_1, control: new URL('/ctl', AT) }
  const answer = await order(
    (url, given) => {
      asked.push(url.href, given?.action)
      expect(given?.body).toContain(`<u:Do xmlns:u="${IP_1}"><A>1</A><B>&lt;&amp;&gt;</B></u:Do></s:Body>`)
      return Promise.resolve({ status: 200, body: soap('<u:DoResponse xmlns:u="x"><C>3</C></u:DoResponse>') })
    },
    service,
    'Do',
    { A: 1, B: '<&>' },
    new AbortController().signal,
  )
  expect(asked).toEqual(['http://192.168.1.1:5000/ctl', `${IP_1}#Do`])
  expect(answer.get('C')).toBe('3')
})

describe('over HTTP', () => {
  const closing = new Set<() => void>()
  afterEach(() => {
    for (const close of closing) close()
    closing.clear()
  })

  /** Where a page is served, and how many have asked for it. */
  async function serve(answer: Parameters<typeof createServer>[1]): Promise<{ url: URL; asked: string[] }> {
    const asked: string[] = []
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.soapaction ?? ''}`.trim())
      answer?.(request, response as never)
    })
    closing.add(() => server.close().closeAllConnections())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/root.xml`), asked }
  }
  const { signal } = new AbortController()

  test('pages are read, and orders given', async () => {
    const { url, asked } = await serve((request, response) => request.pipe(response))
    expect(await systemFetch(url, undefined, signal)).toEqual({ status: 200, body: '' })
    expect(await systemFetch(url, { action: 'a#B', body: '<é/>' }, signal)).toEqual({ status: 200, body: '<é/>' })
    expect(asked).toEqual(['GET /root.xml', 'POST /root.xml "a#B"'])
  })

  test('nobody is led elsewhere', async () => {
    const { url, asked } = await serve((_request, response) => response.writeHead(302, { Location: '/else' }).end())
    expect(await systemFetch(url, undefined, signal)).toMatchObject({ status: 302 })
    expect(asked).toHaveLength(1)
  })

  test('a page without end is cut', async () => {
    const { url } = await serve((_request, response) => {
      const more = (): void => void response.write('x'.repeat(16_384), (error) => !error && more())
      more()
    })
    await expect(systemFetch(url, undefined, signal)).rejects.toThrow('a page without end')
  })

  test('what is no HTTP, what breaks off and what is given up fail alike', async () => {
    const { url } = await serve((request) => request.socket.end('SSH-2.0\r\n\r\n'))
    await expect(systemFetch(url, undefined, signal)).rejects.toThrow(NO_MAPPING)
    const half = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 }).write('half')
      setImmediate(() => response.socket?.destroy())
    })
    await expect(systemFetch(half.url, undefined, signal)).rejects.toThrow(NO_MAPPING)
    const silent = await serve(() => {})
    const giving = new AbortController()
    const asking = systemFetch(silent.url, undefined, giving.signal)
    giving.abort()
    await expect(asking).rejects.toThrow(NO_MAPPING)
  })
})
