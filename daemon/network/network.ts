import type { HostPort, Milliseconds } from '../types.ts'

/** What an interface is, as far as taking part in a LAN goes. */
export type InterfaceKind = 'cable' | 'wifi' | 'vpn' | 'container' | 'loopback' | 'other'

/** One address of an interface. IPv6 link-local ones carry no zone here; `scopedAddress` adds it. */
export interface InterfaceAddress {
  readonly address: string
  readonly family: 4 | 6
  /** Length of the network's prefix, in bits. */
  readonly prefix: number
  /** IPv4: the directed broadcast address, where the prefix has one. */
  readonly broadcast?: string
  readonly scope: 'global' | 'private' | 'link-local' | 'loopback'
}

export interface NetworkInterface {
  readonly name: string
  /** The system's interface index, as IPv6 zones use it; 0 where unknown. */
  readonly index: number
  readonly kind: InterfaceKind
  /** True when discovery and links use it (see settings `network.interfaces`). */
  readonly participating: boolean
  /** True when it can send multicast. */
  readonly multicast: boolean
  readonly addresses: readonly InterfaceAddress[]
  /** Link speed in bits per second and MTU in bytes, where known. */
  readonly speed?: number
  readonly mtu?: number
}

/** Why a change is told: what differs, or that the machine slept (the clock jumped). */
export interface NetworkChange {
  readonly interfaces: readonly NetworkInterface[]
  /** Names of interfaces that appeared, vanished, or have other addresses than before. */
  readonly appeared: readonly string[]
  readonly vanished: readonly string[]
  readonly altered: readonly string[]
  /** How long the machine slept, in milliseconds; 0 when it did not. */
  readonly slept: Milliseconds
}

/** The machine's interfaces, behind one part that tests replace by a simulated one. */
export interface Network {
  /** Learns the interfaces and begins to watch them. Safe to call twice. */
  start(): Promise<void>
  /** Stops watching. Safe to call twice. */
  stop(): Promise<void>
  /** The interfaces that are up, as last seen, participating or not. */
  interfaces(): readonly NetworkInterface[]
  /** Calls `listener` after each change, within 5 seconds of it; returns the way to stop that. */
  onChange(listener: (change: NetworkChange) => void): () => void
  /** Looks again now (a peer was lost, a send failed), rather than at the next look. */
  check(): Promise<void>
}

/** `fe80::1` on `eth0` as `fe80::1%eth0`; any other address, or a name, as it is. */
export function scopedAddress(address: string, interfaceName: string): string {
  return /^fe[89ab][0-9a-f]:/i.test(address) && !address.includes('%') ? `${address}%${interfaceName}` : address
}

/** `192.168.1.2:80`, `[fe80::1%eth0]:80`. */
export function formatHostPort({ address, port }: HostPort): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
