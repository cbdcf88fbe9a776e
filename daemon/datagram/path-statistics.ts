import type { TransportAddress } from '../nat/transport-address.ts'
import type { Milliseconds } from '../types.ts'

/** `none`: the peer's connection id is not known. `probing`: no address has been proven. `open`: one is in use. `lost`: it stopped answering. */
export type DatagramState = 'none' | 'probing' | 'open' | 'lost'

/** How a path is doing. What is not known yet is undefined. */
export interface DatagramStatistics {
  readonly state: DatagramState
  /** The proven address, also while it is lost. */
  readonly remote: TransportAddress | undefined
  /** Largest UDP payload that is known to arrive, in bytes. */
  readonly mtu: number
  /** Smoothed round trip of the path, its least, and its jitter. */
  readonly rtt: Milliseconds | undefined
  readonly minimum: Milliseconds | undefined
  readonly jitter: Milliseconds | undefined
  /** Shares of packets, 0 to 1, over the last seconds with traffic. */
  readonly loss: { readonly in: number | undefined; readonly out: number | undefined }
  readonly quality: { readonly in: number | undefined; readonly out: number | undefined }
  /** Estimated bits per second that the path carries. */
  readonly capacity: number | undefined
  /** Since the path began. */
  readonly packets: { readonly in: number; readonly out: number }
  readonly bytes: { readonly in: number; readonly out: number }
  /** Bytes of messages that wait to leave. */
  readonly queued: number
  /** Messages dropped before they left. */
  readonly dropped: number
}
