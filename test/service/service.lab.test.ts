import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Debian, debianMissing, debianRoot } from '../lab/debian.ts'
import { Lab } from '../lab/lab.ts'

const missing = debianMissing()
const PARTYLINE = '/opt/node /opt/partyline/cli/main.ts'
const PROBE = '/opt/partyline/test/service/hardening-probe.pl'
const EPERM = '1'
const EAFNOSUPPORT = '97'

describe.skipIf(missing)(`the service on a Debian with systemd${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let lab: Lab
  let one: Debian
  let two: Debian

  beforeAll(async () => {
    const root = await debianRoot()
    lab = await Lab.up('lan', { n: 2 })
    ;[one, two] = await Promise.all([Debian.boot(lab, 'h1', root), Debian.boot(lab, 'h2', root)])
    await one.sh('useradd --create-home anna; useradd --create-home --user-group ben')
    await Promise.all([one, two].map((machine) => machine.sh(`${PARTYLINE} service install`)))
    await one.sh('usermod --append --groups partyline ben')
  }, 900_000)

  afterAll(async () => {
    await Promise.all([one, two].map((machine) => machine?.[Symbol.asyncDispose]()))
    await lab?.down()
  })

  const show = (property: string): Promise<string> => one.sh(`systemctl show --value -p ${property} partyline.service`)
  const pid = async (): Promise<string> => show('MainPID')
  const as = (user: string, command: string): string =>
    `setpriv --reuid ${user} --regid ${user} --init-groups env HOME=/home/${user} ${command}`
  /** Runs a script until what it prints matches. */
  const until = (machine: Debian, script: string, pattern: string): Promise<string> =>
    machine.sh(
      `for i in $(seq 200); do out=$(${script}) ; case $out in ${pattern}) echo "$out"; exit 0;; esac; sleep 0.1; done; echo "$out"; exit 1`,
    )

  test('runs as its own user, ready, with both sockets and no rights', async () => {
    const health = JSON.parse(await one.sh(`${PARTYLINE} service status --json`))
    expect(health).toMatchObject({
      manager: 'systemd',
      scope: 'system',
      installed: true,
      running: true,
      state: 'active',
      user: 'partyline',
      restarts: 0,
      errors: [],
    })
    expect(health.status).toMatch(/^accepts apps; port \d+/)
    expect(health.sockets.map(({ accepts }: { accepts: boolean }) => accepts)).toEqual([true, true])
    expect(health.daemon.version).toBe(JSON.parse(readFileSync('package.json', 'utf8')).version)
    const files = await one.sh(
      'stat -c "%a %U:%G %n" /run/partyline /run/partyline/* /var/lib/partyline /var/lib/partyline/identity.key /etc/partyline',
    )
    expect(files.split('\n')).toEqual([
      '750 partyline:partyline /run/partyline',
      '600 partyline:partyline /run/partyline/control.sock',
      '660 partyline:partyline /run/partyline/partyline.sock',
      '711 partyline:partyline /run/partyline/users',
      '700 partyline:partyline /var/lib/partyline',
      '600 partyline:partyline /var/lib/partyline/identity.key',
      '750 partyline:partyline /etc/partyline',
    ])
  })

  test('two machines see each other after they started, with no command given', async () => {
    await until(one, `${PARTYLINE} peers`, '*h2*')
    await until(two, `${PARTYLINE} peers`, '*h1*')
    const { discovery } = JSON.parse(await one.sh(`${PARTYLINE} status --json`))
    // Every way of finding peers works behind the filters: interfaces, multicast, broadcast.
    expect(discovery.filter(({ state }: { state: string }) => state !== 'active')).toEqual([])
  })

  test('lets those in the group use the app socket, and nobody but the owner the other one', async () => {
    expect(await one.sh(as('ben', `${PARTYLINE} peers`))).toContain('h2')
    const settings = await one.exec(['sh', '-c', as('ben', `${PARTYLINE} config set name ours`)])
    expect(settings).toMatchObject({ code: 1, stderr: expect.stringContaining('(local.permission)') })
    const outside = await one.exec(['sh', '-c', as('anna', `${PARTYLINE} peers`)])
    expect(outside).toMatchObject({ code: 1, stderr: expect.stringContaining('Join the group "partyline"') })
    const stop = await one.exec(['sh', '-c', as('ben', `${PARTYLINE} service stop`)])
    expect(stop).toMatchObject({ code: 1, stderr: expect.stringContaining('(local.not-root)') })
    // Who may not manage it sees how it fares all the same.
    expect(JSON.parse(await one.sh(as('ben', `${PARTYLINE} service status --json`)))).toMatchObject({
      scope: 'system',
      running: true,
      sockets: [
        { name: 'app', accepts: true },
        { name: 'control', accepts: null },
      ],
    })
  })

  test('gives what a user of the group receives to that user, and takes no setting into a file that does not count', async () => {
    const { id } = JSON.parse(await one.sh(`${PARTYLINE} whoami --json`))
    const receiving = one.sh(as('ben', `${PARTYLINE} receive --accept all --once`))
    await two.sh(`echo hello >/root/note; ${PARTYLINE} send ${id} /root/note`)
    await receiving
    expect(await one.sh('stat -c "%U %n" $(find / -xdev -name note)')).toBe(
      'ben /home/ben/.local/share/partyline/inbox/note',
    )
    await one.sh('systemctl stop partyline.service')
    for (const who of [PARTYLINE, as('ben', PARTYLINE)])
      expect(await one.exec(['sh', '-c', `${who} config set name ours`])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining('partyline service start'),
      })
    expect(await one.sh('find /root /home -name config.json')).toBe('')
    await one.sh('systemctl start partyline.service')
    await one.sh(`${PARTYLINE} config set name ours; systemctl restart partyline.service`)
    expect(await one.sh('stat -c "%U %a" /etc/partyline/config.json')).toBe('partyline 600')
    expect(await one.sh(`${PARTYLINE} whoami`)).toContain('ours')
    await one.sh(`${PARTYLINE} config reset name; systemctl restart partyline.service`)
    expect(await one.sh('find /var/lib/partyline /etc/partyline ! -user partyline')).toBe('')
  })

  test('reads its settings again on reload, says so in the journal, and keeps them when the file is damaged', async () => {
    const before = await pid()
    const write = (settings: string): string =>
      `printf '%s' '${settings}' >/etc/partyline/config.json; chown partyline: /etc/partyline/config.json`
    await one.sh(`${write('{"name":"renamed","log.level":"debug","port":5000}')}; systemctl reload partyline`)
    expect(await until(one, 'systemctl show --value -p StatusText partyline', '*next*')).toContain('start: port')
    await until(two, `${PARTYLINE} peers`, '*renamed*')
    await one.sh(`${write('{"name":')}; systemctl reload partyline`)
    await until(one, 'systemctl show --value -p StatusText partyline', '*not*JSON*')
    expect(await one.sh(`${PARTYLINE} status`)).toContain('renamed')
    expect(await pid()).toBe(before)
    expect(await show('ActiveState')).toBe('active')
    await one.sh(`${write('{}')}; systemctl reload partyline`)
    await until(two, `${PARTYLINE} peers`, '*h1*')
  })

  test('logs to the journal with the level as priority, without a time of its own', async () => {
    const lines = (await one.sh('journalctl -u partyline -t partyline -o json --output-fields=PRIORITY,MESSAGE'))
      .split('\n')
      .map((line) => JSON.parse(line) as { PRIORITY: string; MESSAGE: string })
    const levels = new Map(lines.map(({ PRIORITY, MESSAGE }) => [MESSAGE.replace(/ .*/s, ''), PRIORITY]))
    expect(levels.get('service:')).toBe('4')
    expect(levels.get('daemon:')).toBe('6')
    for (const { MESSAGE } of lines) expect(MESSAGE).not.toMatch(/^(<\d>|\d{4}-)/)
    expect(await one.sh(`${PARTYLINE} service logs --json --lines 200`)).toContain(
      '"level":"warn","message":"service: ',
    )
  })

  test('every line of the hardening is in force', async () => {
    const inside = `nsenter --target ${await pid()} --mount --root`
    // Root, in the service's view of the files: what fails here is not for want of rights.
    for (const path of ['/etc/x', '/usr/x', '/var/x', '/opt/x', '/sys/x'])
      expect(await one.exec(['sh', '-c', `${inside} touch ${path}`]), path).toMatchObject({ code: 1 })
    expect(await one.sh(`${inside} sh -c 'touch /etc/x 2>&1; true'`)).toContain('Read-only file system')
    await one.sh(`for f in /var/lib/partyline /etc/partyline /run/partyline; do ${inside} touch $f/x && rm $f/x; done`)
    expect(await one.sh('echo secret >/tmp/shown; echo secret >/home/anna/shown')).toBe('')
    expect(await one.sh(`${inside} ls -A /tmp /home /root`)).toBe('/home:\n\n/root:\n\n/tmp:')
    expect((await one.sh(`${inside} ls /dev`)).split('\n')).not.toContain('kmsg')

    const status = await one.sh(`cat /proc/${await pid()}/status`)
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(status).toMatch(new RegExp(`^${set}:\\t0{16}$`, 'm'))
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(status).toMatch(/^Seccomp:\t2$/m)
    expect(status).toMatch(/^Umask:\t0077$/m)
    // Of its own: files, hostname.
    for (const kind of ['mnt', 'uts'])
      expect(await one.sh(`readlink /proc/1/ns/${kind}`)).not.toBe(
        await one.sh(`readlink /proc/${await pid()}/ns/${kind}`),
      )
    const limits = await one.sh(`cat /proc/${await pid()}/limits`)
    expect(limits).toMatch(/^Max open files +16384 +16384/m)
    expect(limits).toMatch(/^Max core file size +0 +0/m)
    expect(await one.sh('systemctl show -p MemoryMax -p MemoryHigh -p TasksMax -p KeyringMode partyline')).toBe(
      'MemoryHigh=805306368\nMemoryMax=1073741824\nTasksMax=128\nKeyringMode=private',
    )
  })

  test.skipIf(process.arch !== 'x64')(
    'the kernel refuses what the filters name, and nothing the daemon needs',
    async () => {
      // The unit itself, with another program in it.
      await one.sh(`sed -e 's#^ExecStart=.*#ExecStart=/usr/bin/perl ${PROBE} /var/lib/partyline#' -e 's/^Type=.*/Type=oneshot/' \
      -e '/^\\(Restart\\|Watchdog\\|NotifyAccess\\|Wants\\|Also\\)/d' /etc/systemd/system/partyline.service >/run/systemd/system/probe.service
      systemctl daemon-reload; systemctl start probe.service`)
      const parse = (text: string): Record<string, string> =>
        Object.fromEntries(text.split('\n').map((line) => line.trim().split(' ') as [string, string]))
      const hardened = parse(await one.sh('journalctl --sync; journalctl -u probe.service -t partyline -o cat'))
      const plain = parse(
        await one.sh(`systemd-run --quiet --wait --pipe -p User=partyline perl ${PROBE} /var/lib/partyline`),
      )
      for (const family of ['packet', 'bluetooth', 'vsock'])
        expect(hardened[`socket-${family}`], family).toBe(EAFNOSUPPORT)
      const refused = [
        'socket-raw unshare-user unshare-net mount chroot personality realtime set-clock set-hostname load-module',
        'read-kernel-log trace bpf performance-events swap reboot raise-priority set-user-id-bit',
      ]
      for (const name of refused.join(' ').split(' ')) expect([name, hardened[name]]).toEqual([name, EPERM])
      for (const name of ['see-home', 'see-init', 'see-kernel-facts', 'see-kernel-memory'])
        expect([name, hardened[name]]).not.toEqual([name, 'done'])
      for (const name of [
        'socket-inet6',
        'socket-netlink',
        'write-state',
        'write-settings',
        'write-sockets',
        'write-tmp',
      ])
        expect([name, hardened[name]]).toEqual([name, 'done'])
      // Without the lines the same user may do these: it is they that refuse.
      for (const name of [
        'socket-vsock',
        'unshare-user',
        'personality',
        'trace',
        'set-user-id-bit',
        'see-home',
        'see-init',
        'see-kernel-facts',
      ])
        expect([name, plain[name]]).toEqual([name, 'done'])
    },
  )

  test('is there again after a reboot, with the same identity, and found by the others', async () => {
    const id = await two.sh(`${PARTYLINE} whoami --json`)
    await two.reboot()
    await until(two, 'systemctl is-active partyline', 'active')
    expect(await two.sh(`${PARTYLINE} whoami --json`)).toBe(id)
    await until(two, `${PARTYLINE} peers`, '*h1*')
    await until(one, `${PARTYLINE} peers`, '*h2*')
  })

  test('a daemon whose event loop hangs is killed by the watchdog and started again', async () => {
    await one.sh(`mkdir -p /run/systemd/system/partyline.service.d
      printf '[Service]\\nWatchdogSec=2\\n' >/run/systemd/system/partyline.service.d/test.conf
      systemctl daemon-reload; systemctl restart partyline`)
    const before = await pid()
    await one.sh(`kill -STOP ${before}`)
    await until(one, 'systemctl show --value -p NRestarts partyline', '1')
    await until(one, 'systemctl is-active partyline', 'active')
    expect(await pid()).not.toBe(before)
    expect(await one.sh('journalctl -u partyline -o cat')).toContain('Watchdog timeout')
    // One that runs is left alone, for longer than the watchdog waits.
    await one.sh('sleep 3')
    expect(await show('NRestarts')).toBe('1')
    await one.sh('rm -r /run/systemd/system/partyline.service.d; systemctl daemon-reload')
  })

  test('is active only when its sockets accept', async () => {
    await one.sh('systemctl stop partyline.service')
    const told = await one.sh(`systemctl start --no-block partyline.service
      for i in $(seq 300); do state=$(systemctl is-active partyline.service)
        if perl -MIO::Socket::UNIX -e 'exit !IO::Socket::UNIX->new(Peer => "/run/partyline/control.sock")'; then echo $state accepts; else echo $state refuses; fi
        [ $state != active ] || break; sleep 0.02; done`)
    const lines = told.split('\n')
    expect(lines[0]).toBe('activating refuses')
    expect(lines.at(-1)).toBe('active accepts')
    expect(lines).not.toContain('active refuses')
  })

  test('stops in time, and says goodbye to its peers', async () => {
    await until(two, `${PARTYLINE} peers --json`, '*h1*')
    await one.sh(as('ben', `${PARTYLINE} ping h2 -c 1`))
    await one.sh('systemctl stop partyline.socket partyline.service')
    // Killed after TimeoutStopSec=5, it would be `timeout`.
    expect(await show('Result')).toBe('success')
    expect(await show('ActiveState')).toBe('inactive')
    // An address that was remembered is asked once more before it is given up.
    await until(two, `${PARTYLINE} peers --json`, '\\[\\]')
  })

  test('an app that connects starts it, and waits through a restart', async () => {
    await one.sh('systemctl start partyline.socket')
    expect(await show('ActiveState')).toBe('inactive')
    expect(await one.sh('stat -c "%a %U:%G" /run/partyline/partyline.sock')).toBe('660 partyline:partyline')
    expect(await one.sh(as('ben', `${PARTYLINE} whoami`))).toContain('h1')
    expect(await until(one, 'systemctl is-active partyline', 'active')).toBe('active')
    // The socket stays while the daemon goes and comes: nobody is turned away.
    const inode = await one.sh('stat -c %i /run/partyline/partyline.sock')
    await one.sh('systemctl restart --no-block partyline.service')
    expect(await one.sh(as('ben', `${PARTYLINE} whoami`))).toContain('h1')
    expect(await one.sh('stat -c %i /run/partyline/partyline.sock')).toBe(inode)
  })

  test('comes back by itself whenever it is killed, as it was', async () => {
    await until(one, 'systemctl is-active partyline', 'active')
    const kept = 'sha256sum /var/lib/partyline/identity.key; stat -c %i /run/partyline/partyline.sock'
    const before = await one.sh(kept)
    for (let time = 1; time <= 5; time++) {
      const killed = await pid()
      await one.sh('systemctl kill --kill-who=main --signal=KILL partyline.service')
      await until(one, `systemctl show --value -p MainPID partyline | grep -vx -e ${killed} -e 0`, '?*')
      // Now and then before it is ready.
      if (time % 2 === 0) await until(one, 'systemctl is-active partyline', 'active')
    }
    await until(one, 'systemctl is-active partyline', 'active')
    expect(await one.sh(kept)).toBe(before)
    expect(await one.sh(`${PARTYLINE} whoami`)).toContain('h1')
    expect(await one.sh('find /var/lib/partyline ! -user partyline -o -name "*.tmp-*" -o -name "*.json.[0-9]*"')).toBe(
      '',
    )
  })

  test('that dies for want of memory whenever it starts is started again and again, says so, and comes back when there is some', async () => {
    const key = await one.sh('sha256sum /var/lib/partyline/identity.key')
    // The kernel's own limit is not in force in a container: the engine's stands for it, too low to start with.
    await one.sh(
      'mkdir -p /run/systemd/system/partyline.service.d; printf "[Service]\\nEnvironment=NODE_OPTIONS=--max-old-space-size=4\\n" >/run/systemd/system/partyline.service.d/low.conf; systemctl daemon-reload; systemctl restart --no-block partyline.service',
    )
    await until(one, 'systemctl show --value -p NRestarts partyline', '[2-9]')
    expect(await one.sh('journalctl -u partyline -o cat')).toContain('Failed with result')
    expect(await one.exec(['sh', '-c', `${PARTYLINE} service status`])).toMatchObject({ code: 3 })
    await one.sh('rm -r /run/systemd/system/partyline.service.d; systemctl daemon-reload')
    await until(one, 'systemctl is-active partyline', 'active')
    expect(await one.sh('sha256sum /var/lib/partyline/identity.key')).toBe(key)
    await until(one, `${PARTYLINE} peers`, '*h2*')
  })

  test('is a service of one user as well, beside that of the machine', async () => {
    const user = (command: string): string =>
      as(
        'anna',
        `XDG_RUNTIME_DIR=/run/user/$(id -u anna) DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u anna)/bus ${command}`,
      )
    await one.sh('loginctl enable-linger anna')
    await until(one, 'ls /run/user/$(id -u anna)/bus', '*bus')
    await one.sh(user(`${PARTYLINE} service install`))
    const health = JSON.parse(await one.sh(user(`${PARTYLINE} service status --json`)))
    expect(health).toMatchObject({ scope: 'user', running: true, user: 'anna', restarts: 0, daemon: { apps: 1 } })
    expect(health.sockets.map(({ accepts }: { accepts: boolean }) => accepts)).toEqual([true, true])
    expect(await one.sh(user(`${PARTYLINE} service logs`))).toContain('partyline ready')
    await one.sh(user('systemctl --user reload partyline'))
    await one.sh(user(`${PARTYLINE} service stop`))
    expect(JSON.parse(`[${await one.sh(`${user(`${PARTYLINE} service status --json`)} || echo ,$?`)}]`)).toMatchObject([
      { running: false, state: 'inactive' },
      3,
    ])
    await one.sh(user(`${PARTYLINE} service uninstall`))
    expect(await one.sh('ls /home/anna/.config/systemd/user')).toBe('')
  })

  test('leaves nothing when it is uninstalled but what the user made', async () => {
    await one.sh(`${PARTYLINE} service uninstall`)
    const find = 'find /etc /run /usr/lib/systemd -name "*partyline*" -not -path "/run/host/*" -not -path "/run/user/*"'
    expect(await one.sh(find)).toBe('/etc/partyline')
    expect(await one.sh('systemctl list-units --all --plain --no-legend "partyline*"')).toBe('')
    expect(await one.sh('ls /var/lib/partyline')).toContain('identity.key')
    const again = await one.exec(['sh', '-c', `${PARTYLINE} service status`])
    expect(again).toMatchObject({ code: 4, stdout: expect.stringContaining('not installed') })
    expect(await one.exec(['sh', '-c', `${PARTYLINE} service start`])).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('(local.service-missing)'),
    })
  })
})
