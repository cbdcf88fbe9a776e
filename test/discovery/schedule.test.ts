import { describe, expect, test } from 'vitest'
import { BeaconSchedule, beaconInterval, beaconLifetime } from '../../daemon/discovery/beacon/schedule.ts'
import { seededRandom } from './simulated-lan.ts'

const seed = Math.floor(Math.random() * 2 ** 32)

/** Announcements a second of so many hosts that all know each other, IPv4 and IPv6, over some hundred rounds. */
function packetRate(hosts: number, duration: number): number {
  const random = seededRandom(seed)
  let announced = 0
  for (let host = 0; host < hosts; host++) {
    const schedule = new BeaconSchedule(random, -duration * random())
    while (schedule.deadline < duration) {
      const now = schedule.deadline
      if (schedule.due(now, hosts) && now >= 0) announced++
    }
  }
  return (2 * announced * 1000) / duration
}

describe('the schedule of beacons', () => {
  test.for([2, 10, 20, 50, 200, 1000, 5000])(`keeps %i hosts below 50 packets a second (seed ${seed})`, (hosts) => {
    expect(packetRate(hosts, 60 * beaconInterval(hosts))).toBeLessThan(50)
  })

  test('comes every 2 seconds or so while there are few hosts, and ever less often with many', () => {
    expect(beaconInterval(2)).toBe(2000)
    expect(beaconInterval(1000)).toBeGreaterThan(30_000)
    expect(beaconInterval(5000)).toBeGreaterThan(4 * beaconInterval(1000))
  })

  test('lets a host be gone within 30 seconds on a LAN of 50, and within about 10 on one of 20', () => {
    expect(beaconLifetime(50)).toBeLessThan(30_000)
    expect(beaconLifetime(20)).toBeLessThanOrEqual(12_000)
  })

  test('never lets a living host be silent for as long as it takes to be gone, three packets in a row lost', () => {
    const random = seededRandom(seed)
    for (const hosts of [2, 20, 50, 500]) {
      const schedule = new BeaconSchedule(random, 0)
      const times: number[] = []
      while (times.length < 2000) {
        const now = schedule.deadline
        if (schedule.due(now, hosts)) times.push(now)
      }
      for (let at = 3; at < times.length; at++)
        expect((times[at] ?? 0) - (times[at - 3] ?? 0), `seed ${seed}`).toBeLessThan(beaconLifetime(hosts))
    }
  })

  test('announces at once at the start and after a change, and twice more within about a second', () => {
    const schedule = new BeaconSchedule(() => 0.5, 0)
    const times = (until: number): number[] => {
      const due: number[] = []
      for (let now = schedule.deadline; now < until; now = schedule.deadline) if (schedule.due(now, 500)) due.push(now)
      return due
    }
    expect(times(1500)).toEqual([0, 250, 1000])
    schedule.restart(2000)
    expect(times(3500)).toEqual([2000, 2250, 3000])
  })

  test('waits longer when hosts have come since it was set', () => {
    const schedule = new BeaconSchedule(() => 0.5, 0)
    for (const now of [0, 250, 1000]) schedule.due(now, 2)
    const planned = schedule.deadline
    expect(schedule.due(planned, 1000)).toBe(false)
    expect(schedule.deadline).toBeGreaterThan(planned + 10_000)
  })
})
