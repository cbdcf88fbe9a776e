import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, posix, win32 } from 'node:path'
import { PartylineError } from './errors.ts'
import { fileError } from './file-error.ts'

/** Where everything of one daemon lives (README.md, "Places"). */
export interface Places {
  /** The folder that stands for the daemon in messages. */
  readonly home: string
  readonly config: string
  readonly identity: string
  /** The certificate of links, made of the identity. */
  readonly certificate: string
  readonly peers: string
  /** XMPP accounts, with passwords. */
  readonly accounts: string
  /** Invitations given out. */
  readonly invites: string
  /** What the credentials of the relay follow from. */
  readonly relaySecret: string
  /** What whoever reads the metrics over HTTP has to show. */
  readonly metricsToken: string
  /** Chat lines. */
  readonly chat: string
  readonly inbox: string
  /** Certificate of the hub, while there is one, for XMPP clients. */
  readonly hubCertificate: string
  readonly lock: string
  readonly appSocket: string
  readonly controlSocket: string
}

interface PlaceQuery {
  /** `--home`; `PARTYLINE_HOME` of `env` counts where it is absent. */
  readonly home?: string | undefined
  /** True for a system service. */
  readonly system?: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  readonly userHome: string
}

/** The longest path of a Unix socket in bytes, without the NUL that ends it (`sun_path`). */
const SOCKET_PATH_LIMIT = { linux: 107, other: 103 }

/** Works out the places of a daemon from its arguments alone. Throws `local.path-too-long`. */
export function resolvePlaces(query: PlaceQuery): Places {
  const places = layOut(query)
  if (query.platform === 'win32') return places
  const limit = query.platform === 'linux' ? SOCKET_PATH_LIMIT.linux : SOCKET_PATH_LIMIT.other
  for (const path of [places.appSocket, places.controlSocket]) {
    const length = Buffer.byteLength(path)
    if (length > limit)
      throw new PartylineError(
        'local.path-too-long',
        `${path} has ${length} bytes; the system allows ${limit} for a socket`,
      )
  }
  return places
}

function layOut({ home, system = false, env, platform, userHome }: PlaceQuery): Places {
  const { join, resolve } = platform === 'win32' ? win32 : posix
  const given = home ?? env.PARTYLINE_HOME
  const pipes = { appSocket: '\\\\.\\pipe\\partyline', controlSocket: '\\\\.\\pipe\\partyline-control' }
  const within = (folders: { home: string; config: string; data: string; sockets: string }): Places => ({
    home: folders.home,
    config: join(folders.config, 'config.json'),
    identity: join(folders.data, 'identity.key'),
    certificate: join(folders.data, 'certificate.pem'),
    peers: join(folders.data, 'peers.json'),
    accounts: join(folders.data, 'accounts.json'),
    invites: join(folders.data, 'invites.json'),
    relaySecret: join(folders.data, 'relay-secret.json'),
    metricsToken: join(folders.data, 'metrics.token'),
    chat: join(folders.data, 'chat.jsonl'),
    inbox: join(folders.data, 'inbox'),
    hubCertificate: join(folders.data, 'hub.pem'),
    lock: join(folders.data, 'daemon.lock'),
    appSocket: join(folders.sockets, 'partyline.sock'),
    controlSocket: join(folders.sockets, 'control.sock'),
  })
  if (given !== undefined && given !== '') {
    const folder = resolve(given)
    const places = within({ home: folder, config: folder, data: folder, sockets: folder })
    if (platform !== 'win32') return places
    // Pipes have one flat name space: a home of its own gets names of its own, the same however its path is capitalized.
    const suffix = createHash('sha256').update(folder.toLowerCase()).digest('hex').slice(0, 16)
    return { ...places, appSocket: `${pipes.appSocket}-${suffix}`, controlSocket: `${pipes.controlSocket}-${suffix}` }
  }
  if (system && platform === 'win32') {
    const data = join(env.ProgramData ?? 'C:\\ProgramData', 'partyline')
    return { ...within({ home: data, config: data, data, sockets: data }), ...pipes }
  }
  if (system && platform === 'darwin') {
    // macOS empties /var/run at every start, and only root may make a folder there.
    const data = '/Library/Application Support/partyline'
    return within({ home: data, config: data, data, sockets: data })
  }
  if (platform === 'win32') {
    const data = join(env.LOCALAPPDATA ?? join(userHome, 'AppData', 'Local'), 'partyline')
    const config = join(env.APPDATA ?? join(userHome, 'AppData', 'Roaming'), 'partyline')
    return { ...within({ home: data, config, data, sockets: data }), ...pipes }
  }
  if (system) {
    const data = '/var/lib/partyline'
    return within({ home: data, config: '/etc/partyline', data, sockets: '/run/partyline' })
  }
  if (platform === 'darwin') {
    const data = join(userHome, 'Library', 'Application Support', 'partyline')
    const config = join(userHome, 'Library', 'Preferences', 'partyline')
    return within({ home: data, config, data, sockets: data })
  }
  // XDG Base Directory Specification: a relative path is invalid and ignored.
  const xdg = (name: string): string | undefined => (posix.isAbsolute(env[name] ?? '') ? env[name] : undefined)
  const data = join(xdg('XDG_DATA_HOME') ?? join(userHome, '.local', 'share'), 'partyline')
  const config = join(xdg('XDG_CONFIG_HOME') ?? join(userHome, '.config'), 'partyline')
  // Without a runtime folder of the session the sockets lie beside the data: private too, and never in a folder others may write to.
  const runtime = xdg('XDG_RUNTIME_DIR')
  const sockets = runtime === undefined ? data : join(runtime, 'partyline')
  return within({ home: data, config, data, sockets })
}

/** Makes the folders that are missing, open to their owner only. Throws `local.permission` or `local.file`. */
export async function preparePlaces(places: Places): Promise<void> {
  const sockets = process.platform === 'win32' ? [] : [dirname(places.appSocket)]
  for (const folder of [dirname(places.config), dirname(places.identity), places.inbox, ...sockets]) {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
    } catch (error) {
      throw fileError(folder, error)
    }
  }
}
