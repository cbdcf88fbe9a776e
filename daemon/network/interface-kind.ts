import type { InterfaceKind } from './network.ts'

/** What the system tells of an interface, as far as it matters here. */
export interface InterfaceFacts {
  readonly iface: string
  /** `wired`, `wireless`, … */
  readonly type: string
  readonly virtual: boolean
  /** In Mbit/s. */
  readonly speed: number | null
  /** In bytes. */
  readonly mtu: number | null
}

/**
 * Names tell more than drivers do: inside a container `eth0` is a virtual device and yet the cable, and so is a bridge
 * or a bond that carries the host's own address. First match wins. Letters that could begin any name stand with a
 * digit: `gre0` is a tunnel, `green0` is what some firewalls call the LAN. A hotspot on Linux is `ap0`; `ap1` is what
 * macOS has for its own use.
 */
const BY_NAME: readonly (readonly [RegExp, InterfaceKind])[] = [
  [/^lo\d*$|^loopback/i, 'loopback'],
  [
    /^(tun|tap|wg|tailscale|zt|utun|ppp|ipsec|nord|proton|pvpn|mullvad|cscotun|zcctun|outline-tun|ygg|nebula|hamachi|vpn|cloudflare)/i,
    'vpn',
  ],
  [/^(ham|hnet|wt|feth|gpd|gif|stf|vti|ip6?_?vti|gre|ip6gre|gretap|sit|ip6tnl|tunl|ipip|l2tp|xfrm|warp)\d/i, 'vpn'],
  [/\b(tailscale|zerotier|wireguard|openvpn|nordvpn|anyconnect|tap-windows|wintun|vpn)\b/i, 'vpn'],
  [
    /^(docker|br-[0-9a-f]{12}$|veth|virbr|vnet\d|cni|flannel|cali|cilium|podman|nerdctl|lxc|lxdbr|incusbr|mpqemubr|kube|weave|antrea|hassio|waydroid|vmnet|vboxnet|bridge1\d\d|ap[1-9]|llw\d|awdl\d|anpi\d)/i,
    'container',
  ],
  [/\b(vethernet|virtualbox|vmware|hyper-v|wsl|docker)\b/i, 'container'],
  [/^(wl|ath\d|ra\d|ap0|wifi)|\b(wi-fi|wireless|wlan)\b/i, 'wifi'],
  [/^(br\d|br-lan|vmbr\d|bond\d|team\d|vlan\d)/i, 'cable'],
  [/^(eth\d|en[abcdopsuvx]\w*\d|en[ox]|em\d|usb\d|lan)|\bethernet\b/i, 'cable'],
]

/** What an interface is, by its name and, where that does not tell, by what the system knows of it. */
export function interfaceKind(name: string, facts?: InterfaceFacts): InterfaceKind {
  const named = BY_NAME.find(([pattern]) => pattern.test(name))?.[1]
  if (facts?.type === 'wireless' && (named === undefined || named === 'cable')) return 'wifi'
  if (named) return named
  if (facts?.virtual) return 'container'
  return facts?.type === 'wired' || /^en\d/.test(name) ? 'cable' : 'other'
}
