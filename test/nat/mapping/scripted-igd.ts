import type { UpnpFetch } from '../../../daemon/nat/mapping/upnp-device.ts'

const TYPE = 'urn:schemas-upnp-org:service:WANIPConnection'

/** What an action answers; a number is a fault with this code. */
type Action = (args: Readonly<Record<string, string>>) => Readonly<Record<string, string>> | number

/** A UPnP router (IGD 1 or 2) that answers orders as a test says. */
export class ScriptedIgd {
  /** What was ordered, with the outer port where there is one. */
  readonly ordered: string[] = []
  readonly #version: 1 | 2
  /** Unknown actions are refused with 401. */
  readonly actions: Record<string, Action>
  /** Mappings that it has: transport and outer port, and whose they are. */
  readonly table = new Map<string, string>()
  control = '/ctl/IPConn'
  location = 'http://192.168.1.1:5000/root.xml'
  searches = 0
  /** What it answers in place of all else. */
  page: { readonly status: number; readonly body: string } | undefined

  constructor(version: 1 | 2) {
    this.#version = version
    const take = (args: Readonly<Record<string, string>>, port: string): void => {
      this.table.set(`${args.NewProtocol} ${port}`, args.NewInternalClient ?? '')
    }
    const isTaken = (args: Readonly<Record<string, string>>): boolean => {
      const holder = this.table.get(`${args.NewProtocol} ${args.NewExternalPort}`)
      return holder !== undefined && holder !== args.NewInternalClient
    }
    this.actions = {
      GetExternalIPAddress: () => ({ NewExternalIPAddress: '11.99.0.1' }),
      AddPortMapping: (args) => {
        if (isTaken(args)) return 718
        take(args, args.NewExternalPort ?? '')
        return {}
      },
      DeletePortMapping: (args) => (this.table.delete(`${args.NewProtocol} ${args.NewExternalPort}`) ? {} : 714),
      GetSpecificPortMappingEntry: (args) => {
        const holder = this.table.get(`${args.NewProtocol} ${args.NewExternalPort}`)
        return holder === undefined ? 714 : { NewInternalClient: holder }
      },
      ...(version === 2 && {
        AddAnyPortMapping: (args) => {
          const port = isTaken(args) ? '50123' : (args.NewExternalPort ?? '')
          take(args, port)
          return { NewReservedPort: port }
        },
      }),
    }
  }

  readonly search = (): Promise<URL> => {
    this.searches++
    return Promise.resolve(new URL(this.location))
  }

  readonly fetch: UpnpFetch = (_url, order) => {
    if (this.page) return Promise.resolve(this.page)
    if (!order) return Promise.resolve({ status: 200, body: this.#description() })
    const action = order.action.split('#')[1] ?? ''
    const args = Object.fromEntries(
      [...order.body.matchAll(/<(New\w+)>([^<]*)</g)].map(([, name = '', value = '']) => [name, value]),
    )
    this.ordered.push(args.NewExternalPort ? `${action} ${args.NewExternalPort}` : action)
    const answer = this.actions[action]?.(args) ?? 401
    if (typeof answer === 'number') return Promise.resolve({ status: 500, body: fault(answer) })
    const values = Object.entries(answer).map(([name, value]) => `<${name}>${value}</${name}>`)
    return Promise.resolve({
      status: 200,
      body: soap(`<u:${action}Response xmlns:u="${TYPE}:${this.#version}">${values.join('')}</u:${action}Response>`),
    })
  }

  #description(): string {
    return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><serviceList><service>
<serviceType>${TYPE}:${this.#version}</serviceType><controlURL>${this.control}</controlURL></service></serviceList></device></root>`
  }
}

const soap = (body: string): string => `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>${body}</s:Body></s:Envelope>`

const fault = (code: number): string =>
  soap(`<s:Fault><detail><UPnPError><errorCode>${code}</errorCode></UPnPError></detail></s:Fault>`)
