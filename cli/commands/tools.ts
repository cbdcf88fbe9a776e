import { PartylineError } from '../../daemon/errors.ts'
import { VERSION } from '../../daemon/version.ts'
import { METHODS } from '../../ipc/methods.ts'
import { arg, type Command } from '../command.ts'
import { completionScript } from '../completion.ts'

export const rpcCommand: Command = {
  name: 'rpc',
  arguments: '<method> [json]',
  about: 'Makes one raw call, on the socket for apps or, where the method is for the owner, on theirs.',
  example: 'partyline rpc messages.send \'{"peer":"anna","channel":"chess","data":"e2e4"}\'',
  json: 'the result',
  async run(context, given) {
    let params: unknown
    try {
      params = JSON.parse(given.args[1] ?? '{}')
    } catch (error) {
      throw new PartylineError('usage.invalid-argument', `the parameters are not JSON: ${(error as Error).message}`)
    }
    const method = arg(given, 0)
    // On the owner's socket only what is for the owner: whoever may use the daemon may call the rest.
    const control = (METHODS as Readonly<Record<string, { who: string } | undefined>>)[method]?.who === 'owner'
    await using client = await context.connect({ control })
    const result = await client.callAny(method, params)
    context.stdout.write(`${JSON.stringify(result, null, context.json ? 0 : 2)}\n`)
  },
}

/** What this build can do, for bug reports. */
export const metricsCommand: Command = {
  name: 'metrics',
  arguments: '',
  about: 'Prints the metrics of the daemon and its sessions, in the Prometheus text format.',
  example: 'partyline metrics',
  json: '{contentType,text}',
  async run(context) {
    await using client = await context.connect()
    const metrics = await client.call('metrics.read', {})
    context.emit(metrics)
    context.say(metrics.text.trimEnd())
  },
}

export const versionCommand: Command = {
  name: 'version',
  arguments: '',
  about: 'Shows version, platform and what this build can do.',
  example: 'partyline version',
  json: '{version,platform,arch,node,openssl,carriers,discovery,signallers,mappers}',
  async run(context) {
    const facts = {
      version: VERSION,
      platform: process.platform,
      arch: process.arch,
      node: process.versions.node,
      openssl: process.versions.openssl,
      carriers: ['tcp', 'udx'],
      discovery: ['mdns', 'beacon', 'xmpp', 'hub', 'hint'],
      signallers: ['lan-stream', 'hub', 'session'],
      mappers: [],
    }
    context.emit(facts)
    context.say(
      `partyline ${facts.version}, ${facts.platform} ${facts.arch}, Node ${facts.node}, OpenSSL ${facts.openssl}`,
    )
    context.say(
      `carriers: ${facts.carriers.join(', ')}; discovery: ${facts.discovery.join(', ')}; signallers: ${facts.signallers.join(', ')}; port mappers: none`,
    )
  },
}

export const completionCommand: Command = {
  name: 'completion',
  arguments: '<shell>',
  about: 'Prints a completion script for bash, zsh or fish.',
  example: 'partyline completion bash > ~/.local/share/bash-completion/completions/partyline',
  json: '',
  async run(context, given) {
    const { commands, groups } = await import('../commands.ts')
    context.stdout.write(completionScript(arg(given, 0), commands, groups))
  },
}
