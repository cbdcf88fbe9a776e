import { assert, constantFrom, oneof, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { leadsTo, readSearchAnswer } from '../../../daemon/nat/mapping/upnp-search.ts'

const ROUTER = { address: '192.168.1.1' }
const IGD = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1'

const answer = (location: string, target = IGD, status = 'HTTP/1.1 200 OK'): string =>
  `${status}\r\nCACHE-CONTROL: max-age=120\r\nST: ${target}\r\nUSN: uuid:1::${target}\r\nEXT:\r\nLOCATION: ${location}\r\n\r\n`

describe('an answer to a search', () => {
  test('tells where the description is', () => {
    expect(readSearchAnswer(answer('http://192.168.1.1:5000/root.xml'), ROUTER)?.href).toBe(
      'http://192.168.1.1:5000/root.xml',
    )
    const lower = answer('http://192.168.1.1/').replace('LOCATION: ', 'location:').replace('ST: ', 'St:\t')
    expect(readSearchAnswer(lower, ROUTER)?.href).toBe('http://192.168.1.1/')
    expect(readSearchAnswer(answer('http://192.168.1.1/', IGD.replace(':1', ':2')), ROUTER)).toBeDefined()
  })

  test.each([
    ['to another host', answer('http://192.168.1.2:5000/root.xml')],
    ['to this host', answer('http://127.0.0.1/root.xml')],
    ['to a name', answer('http://router.lan/root.xml')],
    ['to a secret', answer('http://user:password@192.168.1.1/root.xml')],
    ['to another protocol', answer('https://192.168.1.1/root.xml')],
    ['nowhere', answer('')],
    ['to what is no place', answer('http://')],
    ['to a place too long', answer(`http://192.168.1.1/${'x'.repeat(512)}`)],
    ['to a printer', answer('http://192.168.1.1/', 'urn:schemas-upnp-org:device:Printer:1')],
    ['by one that says no', answer('http://192.168.1.1/', IGD, 'HTTP/1.1 500 No')],
    ['by one that asks itself', answer('http://192.168.1.1/', IGD, 'M-SEARCH * HTTP/1.1')],
  ])('does not lead %s', (_name, text) => {
    expect(readSearchAnswer(text, ROUTER)).toBeUndefined()
  })

  test('whatever the text, leads to the router or nowhere', () => {
    const place = oneof(
      string(),
      constantFrom('http://192.168.1.1', '@', ':', '/', '192.168.1.1.evil.example', '\\', '#'),
    )
    assert(
      property(place, place, string({ unit: 'binary' }), (a, b, text) => {
        for (const one of [text, answer(a + b), answer(`http://192.168.1.1${a}${b}`), answer(a) + text]) {
          const url = readSearchAnswer(one, ROUTER)
          if (url) expect(url.hostname).toBe(ROUTER.address)
        }
      }),
    )
  })
})

test('a page is the router’s own by its address, however it is spelled', () => {
  expect(leadsTo(new URL('http://0xc0.168.257/'), ROUTER)).toBe(true)
  expect(leadsTo(new URL('http://[fd00::0:1]/'), { address: 'fd00::1' })).toBe(true)
  expect(leadsTo(new URL('http://[fd00::2]/'), { address: 'fd00::1' })).toBe(false)
})
