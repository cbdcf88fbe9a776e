import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readInterfaceFacts } from '../../daemon/network/interface-facts.ts'

const own = Object.keys(networkInterfaces())

/** A folder as Linux has it: each device a link to where it belongs. */
async function sysfs(devices: Readonly<Record<string, Readonly<Record<string, string>>>>) {
  const root = await mkdtemp(join(tmpdir(), 'facts-'))
  const folder = join(root, 'class')
  await mkdir(folder)
  for (const [path, files] of Object.entries(devices)) {
    const device = join(root, 'devices', path)
    await mkdir(device, { recursive: true })
    for (const [file, text] of Object.entries(files)) await writeFile(join(device, file), `${text}\n`)
    await symlink(device, join(folder, path.split('/').at(-1) ?? ''))
  }
  return { folder, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) }
}

describe('what the system knows of its interfaces', () => {
  test.skipIf(process.platform === 'win32')('is in files on Linux (skipped where paths differ)', async () => {
    await using linux = await sysfs({
      'pci0/net/igb0': { uevent: 'INTERFACE=igb0\nIFINDEX=4', speed: '1000', mtu: '1500' },
      'pci0/net/radio': { uevent: 'DEVTYPE=wlan\nINTERFACE=radio', mtu: '1500' },
      'usb0/net/modem': { uevent: 'DEVTYPE=wwan\nINTERFACE=modem', speed: '-1', mtu: '1400' },
      'virtual/net/fake': { uevent: 'INTERFACE=fake', speed: '10000', mtu: '65535' },
      'virtual/net/bridged': { uevent: 'DEVTYPE=bridge' },
      'virtual/net/office': { uevent: 'DEVTYPE=vlan\nINTERFACE=office', speed: '1000', mtu: '1496' },
      'virtual/net/trunk': { uevent: 'DEVTYPE=bond', speed: '', mtu: '9000' },
      'pci1/net/leaving': {},
    })
    await writeFile(join(linux.folder, 'bonding_masters'), 'trunk\n')
    const facts = await readInterfaceFacts('linux', linux.folder)
    expect(facts.toSorted((a, b) => (a.iface < b.iface ? -1 : 1))).toEqual([
      { iface: 'bridged', type: 'unknown', virtual: true, speed: null, mtu: null },
      { iface: 'fake', type: 'unknown', virtual: true, speed: 10_000, mtu: 65_535 },
      { iface: 'igb0', type: 'wired', virtual: false, speed: 1000, mtu: 1500 },
      { iface: 'leaving', type: 'wired', virtual: false, speed: null, mtu: null },
      { iface: 'modem', type: 'unknown', virtual: false, speed: null, mtu: 1400 },
      { iface: 'office', type: 'wired', virtual: false, speed: 1000, mtu: 1496 },
      { iface: 'radio', type: 'wireless', virtual: false, speed: null, mtu: 1500 },
      { iface: 'trunk', type: 'wired', virtual: false, speed: null, mtu: 9000 },
    ])
  })

  test('is nothing where the files are hidden from us', async () => {
    await expect(readInterfaceFacts('linux', '/nowhere')).rejects.toThrow('ENOENT')
  })

  test.skipIf(process.platform !== 'linux')('covers what is up here (skipped where there is no Linux)', async () => {
    const names = (await readInterfaceFacts()).map(({ iface }) => iface)
    expect(names).toEqual(expect.arrayContaining(own))
  })

  test('is asked of tools elsewhere, while everything else goes on', async () => {
    let ticks = 0
    const ticking = setInterval(() => ticks++, 1)
    const facts = await readInterfaceFacts('freebsd')
    clearInterval(ticking)
    expect(facts.map(({ iface }) => iface)).toEqual(expect.arrayContaining(own))
    expect(Object.keys(facts[0] ?? {})).toEqual(['iface', 'type', 'virtual', 'speed', 'mtu'])
    // While the tools run and one waits for them, nothing ticks.
    expect(ticks).toBeGreaterThan(5)
  })
})
