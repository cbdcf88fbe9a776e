import { describe, expect, test } from 'vitest'
import { type InterfaceFacts, interfaceKind } from '../../daemon/network/interface-kind.ts'
import type { InterfaceKind } from '../../daemon/network/network.ts'

const facts = (type: string, virtual = false): InterfaceFacts => ({ iface: '', type, virtual, speed: null, mtu: null })

const NAMES: Readonly<Record<InterfaceKind, readonly string[]>> = {
  loopback: ['lo', 'lo0', 'Loopback Pseudo-Interface 1'],
  vpn: [
    ...[
      'tun0',
      'tap0',
      'wg0',
      'wg-mullvad',
      'tailscale0',
      'Tailscale',
      'ztly5q4gzz',
      'utun3',
      'ppp0',
      'ipsec0',
      'nordlynx',
    ],
    ...[
      'NordLynx',
      'proton0',
      'pvpnksintrf0',
      'ProtonVPN TUN',
      'Mullvad',
      'cscotun0',
      'ygg0',
      'nebula1',
      'ham0',
      'gif0',
    ],
    ...[
      'stf0',
      'sit0',
      'gre0',
      'gretap0',
      'ip6tnl0',
      'tunl0',
      'vti0',
      'ip_vti0',
      'gpd0',
      'vpn_office',
      'CloudflareWARP',
    ],
    ...[
      'OpenVPN TAP-Windows6',
      'TAP-NordVPN Windows Adapter V9',
      'WireGuard Tunnel',
      'ZeroTier One [8056c2e21c000001]',
    ],
    ...['wt0', 'hnet0', 'feth1234', 'zcctun0', 'outline-tun0'],
    ...['Radmin VPN', 'Cisco AnyConnect Secure Mobility Client Connection'],
  ],
  container: [
    ...[
      'docker0',
      'docker_gwbridge',
      'br-3f1c0d9a7b2e',
      'veth1a2b3c4',
      'virbr0',
      'vnet0',
      'cni0',
      'cni-podman0',
      'flannel.1',
    ],
    ...[
      'cali12ab34cd56e',
      'cilium_host',
      'podman0',
      'lxcbr0',
      'lxdbr0',
      'incusbr0',
      'mpqemubr0',
      'kube-bridge',
      'weave',
    ],
    ...['vmnet8', 'vboxnet0', 'bridge100', 'awdl0', 'llw0', 'ap1', 'anpi0', 'hassio', 'waydroid0'],
    ...[
      'vEthernet (WSL)',
      'vEthernet (Default Switch)',
      'VMware Network Adapter VMnet1',
      'VirtualBox Host-Only Network',
    ],
  ],
  wifi: [
    'wlan0',
    'wlp2s0',
    'wlx00c0ca123456',
    'Wi-Fi',
    'Wi-Fi 2',
    'WLAN',
    'ath0',
    'ra0',
    'Wireless Network Connection',
    'ap0',
    'wlo1',
  ],
  cable: [
    ...[
      'eth0',
      'eth0.100',
      'enp3s0',
      'enp0s31f6',
      'eno1',
      'ens33',
      'enx001122aabbcc',
      'enP4p65s0',
      'end0',
      'enu1u1',
      'em1',
    ],
    ...[
      'en0',
      'en7',
      'usb0',
      'lan0',
      'LAN-Verbindung',
      'Ethernet',
      'Ethernet 2',
      'br0',
      'br-lan',
      'vmbr0',
      'bond0',
      'vlan10',
    ],
  ],
  other: [
    'wwan0',
    'rmnet_data0',
    'wtf',
    'bridge0',
    'Local Area Connection',
    'green0',
    'foo',
    'hamlet',
    'bnep0',
    'Bluetooth Network Connection',
    'igb0',
    '',
  ],
}

describe('the kind of an interface', () => {
  test.each(Object.entries(NAMES).flatMap(([kind, names]) => names.map((name) => [name, kind])))(
    '%s is %s by its name',
    (name, kind) => {
      expect(interfaceKind(name)).toBe(kind)
    },
  )

  test.each([
    ['en0', facts('wireless'), 'wifi'],
    ['en0', facts('wired'), 'cable'],
    ['eth0', facts('wireless'), 'wifi'],
    ['igb0', facts('wired'), 'cable'],
    ['foo', facts('wireless'), 'wifi'],
    ['foo', facts('wired', true), 'container'],
    ['foo', facts('unknown'), 'other'],
  ] as const)('%s with what the system knows of it', (name, known, kind) => {
    expect(interfaceKind(name, known)).toBe(kind)
  })

  test.each([
    ['eth0', 'cable'],
    ['br0', 'cable'],
    ['bond0', 'cable'],
    ['wlan0', 'wifi'],
  ] as const)('%s stays what it is although its driver is a virtual one', (name, kind) => {
    expect(interfaceKind(name, facts('virtual', true))).toBe(kind)
  })

  test.each([
    ['tun0', 'vpn'],
    ['docker0', 'container'],
    ['lo', 'loopback'],
  ] as const)('%s stays what it is although the system calls it wireless', (name, kind) => {
    expect(interfaceKind(name, facts('wireless'))).toBe(kind)
  })
})
