import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { chmod, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { connect } from '../../ipc/client.ts'
import { IpcServer } from '../../ipc/server.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { PlainApp, SELF, SocketHost, temporaryFolder } from './socket-host.ts'

const isRoot = process.getuid?.() === 0

describe('the sockets', () => {
  test('are for their owner alone, whatever the umask is', async () => {
    const umask = process.umask(0)
    try {
      await using host = await SocketHost.start()
      expect(process.umask()).toBe(0)
      for (const path of [host.app, host.control]) expect((await stat(path)).mode & 0o777).toBe(0o600)
    } finally {
      process.umask(umask)
    }
  })

  test('may be open to a group for apps, never for control', async () => {
    const folder = await temporaryFolder()
    const server = bareServer()
    const [app, control] = [join(folder, 'a.sock'), join(folder, 'c.sock')]
    await server.listen({ app, control, appMode: 0o660 })
    expect((await stat(app)).mode & 0o777).toBe(0o660)
    expect((await stat(control)).mode & 0o777).toBe(0o600)
    await server.stop()
  })

  test('refuse a descriptor that is no socket', async () => {
    const folder = await temporaryFolder()
    const places = { app: join(folder, 'a.sock'), control: join(folder, 'c.sock'), appMode: 0o600 }
    for (const app of [0x7fffff, openSync(import.meta.filename, 'r')]) {
      const server = bareServer()
      await expect(server.listen({ ...places, inherited: { app } })).rejects.toMatchObject({
        code: 'local.bad-activation',
      })
      await server.stop()
    }
  })

  test('of two servers the second is refused, and the first undisturbed', async () => {
    await using host = await SocketHost.start({ 'peers.list': () => [] })
    await expect(SocketHost.start({}, new VirtualClock(), host.folder)).rejects.toMatchObject({
      code: 'local.already-running',
    })
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'peers.list')
    expect(await app.answer()).toMatchObject({ result: [] })
  })

  test('that a killed daemon left behind are replaced', async () => {
    const folder = await temporaryFolder()
    for (const name of ['partyline.sock', 'control.sock']) await leaveSocket(join(folder, name))
    await using host = await SocketHost.start({}, new VirtualClock(), folder)
    using app = await PlainApp.greeted(host.control)
    expect(app.socket.destroyed).toBe(false)
  })

  test.each(['a file', 'a link'])('never replace %s of another kind', async (kind) => {
    const folder = await temporaryFolder()
    const path = join(folder, 'control.sock')
    if (kind === 'a file') await writeFile(path, 'precious')
    else await symlink('/etc/hostname', path)
    await expect(SocketHost.start({}, new VirtualClock(), folder)).rejects.toMatchObject({ code: 'local.permission' })
    await expect(stat(path).then((found) => found.isSocket())).resolves.toBe(false)
  })

  test('are gone after stop, which is safe to call twice', async () => {
    const host = await SocketHost.start()
    using app = await PlainApp.greeted(host.app)
    await Promise.all([host.server.stop(), host.server.stop()])
    await host.server.stop()
    await app.ended
    await expect(stat(host.app)).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(connect({ app: 'late', socket: host.app })).rejects.toMatchObject({ code: 'local.no-daemon' })
  })

  test('that the system denies to an app are local.permission', async () => {
    await using host = await SocketHost.start()
    await chmod(host.app, 0)
    const client = new URL('../../ipc/client.ts', import.meta.url).href
    const script = `import { connect } from '${client}'
      await connect({ app: 'x', socket: '${host.app}' }).catch((error) => console.log(error.code))`
    // Root is denied nothing, so the app runs as nobody.
    const nobody = isRoot ? { uid: 65534, gid: 65534 } : {}
    const app = spawn(process.execPath, ['--input-type=module', '-e', script], {
      ...nobody,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    for await (const chunk of app.stdout) said += String(chunk)
    expect(said.trim()).toBe('local.permission')
  })

  test('in a folder that is not there are local.permission', async () => {
    await expect(SocketHost.start({}, new VirtualClock(), '/nowhere/at/all')).rejects.toMatchObject({
      code: 'local.permission',
    })
  })
})

function bareServer(): IpcServer {
  return new IpcServer({
    handlers: {} as never,
    version: '0',
    id: SELF,
    features: [],
    clock: new VirtualClock(),
    logger: silentLogger,
    refusals: new Refusals(),
  })
}

/** A socket file whose process was killed, so that nobody could remove it. */
async function leaveSocket(path: string): Promise<void> {
  const child = spawn(process.execPath, [
    '-e',
    'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))',
    path,
  ])
  await once(child, 'exit')
  expect((await stat(path)).isSocket()).toBe(true)
}

test('a server that only just begins to listen is found by an app that is patient', async () => {
  const folder = await temporaryFolder()
  const socket = join(folder, 'partyline.sock')
  const connecting = connect({ app: 'early', socket, patience: 20_000 })
  await using _ = await SocketHost.start({}, undefined, folder)
  const client = await connecting
  expect(client.id).toBe(SELF)
  await client.close()
})

test('what answers but is no daemon is not taken for one', async () => {
  const folder = await temporaryFolder()
  const path = join(folder, 'x.sock')
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(path)
  await once(server, 'listening')
  await expect(connect({ app: 'x', socket: path })).rejects.toMatchObject({ code: 'local.closed' })
  server.close()
})
