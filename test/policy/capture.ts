import { once } from 'node:events'
import type { Lab } from '../lab/lab.ts'

/** Of the file, of each packet in it, and of Ethernet. */
const FILE = 24
const RECORD = 16
const ETHERNET = 14
const IPV4 = 0x0800
const UDP = 17

/** An IPv4 packet on the wire. */
export interface Captured {
  readonly from: string
  readonly to: string
  /** What a UDP packet carries; empty for others. */
  readonly udp: Buffer
  /** Everything behind the header of IP. */
  readonly payload: Buffer
}

/** Everything that passes an interface of a node, from now on; `end` gives it. */
export async function capture(
  lab: Lab,
  node: string,
  device: string,
): Promise<{ end(): Promise<readonly Captured[]> }> {
  const child = lab.spawn(node, ['tcpdump', '-i', device, '-s', '0', '-U', '--immediate-mode', '-w', '-', 'ip'])
  const chunks: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  if (!child.stderr) throw new Error('tcpdump says nothing')
  await once(child.stderr, 'data')
  return {
    end: async () => {
      child.kill('SIGINT')
      await once(child, 'close')
      return packetsOf(Buffer.concat(chunks))
    },
  }
}

function packetsOf(file: Buffer): readonly Captured[] {
  const packets: Captured[] = []
  for (let at = FILE; at + RECORD <= file.length; ) {
    const length = file.readUInt32LE(at + 8)
    const packet = file.subarray(at + RECORD, at + RECORD + length)
    at += RECORD + length
    if (packet.length < ETHERNET + 20 || packet.readUInt16BE(12) !== IPV4) continue
    const ip = packet.subarray(ETHERNET)
    const header = ((ip[0] ?? 0) & 15) * 4
    const payload = Buffer.from(ip.subarray(header))
    const udp = ip[9] === UDP ? payload.subarray(8) : Buffer.alloc(0)
    packets.push({ from: ip.subarray(12, 16).join('.'), to: ip.subarray(16, 20).join('.'), udp, payload })
  }
  return packets
}
