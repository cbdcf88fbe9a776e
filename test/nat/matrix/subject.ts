import type { Lab } from '../../lab/lab.ts'

/** STUN and TURN of the lab: coturn on srv, at two addresses, with TLS on the port of the web. */
export const SERVER = {
  address: '10.99.0.10',
  other: '10.99.0.11',
  port: 3478,
  tlsPort: 443,
  user: 'alice',
  password: 'wonder',
} as const

/** How one connect went. `ms` is the time from `connect` to the first byte of the other end, or to the failure. */
export type Attempt =
  | { readonly connected: true; readonly ms: number; readonly first: string; readonly last: string }
  | { readonly connected: false; readonly ms: number; readonly reason: string }

/** Two hosts in a lab that know each other and have no connection. */
export interface Ends extends AsyncDisposable {
  /** Connects the first to the second, once. `isBest` tells of a route whether there is a better one to wait for. */
  connect(isBest: (route: string) => boolean): Promise<Attempt>
}

/** A program that connects hosts through NAT. */
export interface Subject {
  readonly name: string
  /** What it is measured with: the relay of the lab, none, or each in turn. */
  readonly relays: readonly boolean[]
  /** What carries signals between the hosts of this lab, on the public host pub, TCP port 443. */
  meet(lab: Lab): Promise<MeetingPlace>
}

export interface MeetingPlace extends AsyncDisposable {
  /** Starts two ends, with the relay of the lab or without. */
  start(hosts: readonly [string, string], hasRelay: boolean): Promise<Ends>
}

/** How long an attempt may take before it counts as failed. */
export const PATIENCE = 12_000
/** How long a connection may take to move to the best route. */
export const SETTLING = 10_000
