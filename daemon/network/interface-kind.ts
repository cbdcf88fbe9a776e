import type { InterfaceKind } from './network.ts'

/** What `systeminformation` tells of an interface, as far as it matters here. */
export interface InterfaceFacts {
  readonly iface: string
  /** `wired`, `wireless`, … */
  readonly type: string
  readonly virtual: boolean
  readonly speed: number | null
  readonly mtu: number | null
}

/**
 * Names tell more than drivers do: inside a container `eth0` is a virtual device and yet the cable. First match wins.
 */
const BY_NAME: readonly (readonly [RegExp, InterfaceKind])[] = [
  [/^lo\d*$|^loopback/i, 'loopback'],
  [
    /^(tun|tap|wg|tailscale|zt|utun|ppp|ipsec|gif|stf|nordlynx|proton|mullvad|wgpia|cscotun|gpd|ham|ygg|nebula|vti|gre|sit|ip6tnl)\d*/i,
    'vpn',
  ],
  [/\b(tailscale|zerotier|wireguard|openvpn|tap-windows|wintun|vpn)\b/i, 'vpn'],
  [
    /^(docker|br-[0-9a-f]{6,}|veth|virbr|vnet|cni|flannel|cali|podman|lxcbr|lxdbr|incusbr|kube|weave|vmnet|vboxnet|bridge\d|hv_|ap\d|llw\d|awdl\d)/i,
    'container',
  ],
  [/\b(vethernet|virtualbox|vmware|hyper-v|wsl|docker)\b/i, 'container'],
  [/^(wl|wlan|ath|ra\d|wifi)|\b(wi-fi|wireless|wlan)\b/i, 'wifi'],
  [/^(eth|en[opsx]|em\d|end\d|usb\d|lan)|\bethernet\b/i, 'cable'],
]

/** What an interface is, by its name and, where that does not tell, by what the system knows of it. */
export function interfaceKind(name: string, facts?: InterfaceFacts): InterfaceKind {
  const named = BY_NAME.find(([pattern]) => pattern.test(name))?.[1]
  if (facts?.type === 'wireless' && (named === undefined || named === 'cable')) return 'wifi'
  if (named) return named
  if (facts?.virtual) return 'container'
  return facts?.type === 'wired' || /^en\d/.test(name) ? 'cable' : 'other'
}
