import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { MetricsEndpoint } from '../../daemon/metrics/endpoint.ts'

const PAGE = { contentType: 'text/plain; version=0.0.4', text: 'partyline_apps 1\n' }
let folder: string
let tokenFile: string
let endpoint: MetricsEndpoint
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'metrics-'))
  tokenFile = join(folder, 'metrics.token')
  endpoint = new MetricsEndpoint({ logger: silentLogger, port: 0, tokenFile, render: async () => PAGE })
  await endpoint.open()
})
afterEach(async () => {
  await endpoint.close()
  rmSync(folder, { recursive: true, force: true })
})

const token = () => readFileSync(tokenFile, 'utf8').trim()

/** Status and body of an answer. */
function ask(path: string, given?: string, method = 'GET'): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = given === undefined ? {} : { Authorization: given }
    request({ host: '127.0.0.1', port: endpoint.port, path, method, headers }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      answer.once('end', () => resolve({ status: answer.statusCode, body }))
    })
      .once('error', reject)
      .end()
  })
}

describe('metrics over HTTP', () => {
  test('are told whoever shows the token, which only the owner can read', async () => {
    expect(statSync(tokenFile).mode & 0o777).toBe(0o600)
    expect(await ask('/metrics', `Bearer ${token()}`)).toEqual({ status: 200, body: PAGE.text })
  })

  test.each([
    ['without a token', undefined],
    ['with another one', `Bearer ${'A'.repeat(43)}`],
    ['with a part of it', 'Bearer '],
    ['by another scheme', 'Basic YTpi'],
  ])('are told nobody %s, not even where they are', async (_, given) => {
    for (const path of ['/metrics', '/']) expect(await ask(path, given)).toEqual({ status: 401, body: '' })
  })

  test('are all that there is', async () => {
    expect(await ask('/', `Bearer ${token()}`)).toMatchObject({ status: 404 })
    expect(await ask('/metrics', `Bearer ${token()}`, 'POST')).toMatchObject({ status: 405 })
  })

  test('have the same token after a restart, and another when somebody else could read it', async () => {
    const before = token()
    await endpoint.close()
    await endpoint.open()
    expect(token()).toBe(before)
    await endpoint.close()
    writeFileSync(tokenFile, `${before}\n`)
    rmSync(tokenFile)
    writeFileSync(tokenFile, `${before}\n`, { mode: 0o644 })
    await endpoint.open()
    expect(token()).not.toBe(before)
    expect(statSync(tokenFile).mode & 0o777).toBe(0o600)
  })

  test('are not held up by those who connect and say nothing, or say too much', async () => {
    const silent = Array.from({ length: 30 }, () => connect(endpoint.port, '127.0.0.1').on('error', () => {}))
    for (const socket of silent) socket.destroy()
    const loud = connect(endpoint.port, '127.0.0.1').on('error', () => {})
    loud.write(`GET /metrics HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n`)
    await new Promise((resolve) => loud.once('close', resolve))
    expect(await ask('/metrics', `Bearer ${token()}`)).toMatchObject({ status: 200 })
  })

  test('on a port that somebody has are told nobody, with a code', async () => {
    const second = new MetricsEndpoint({
      logger: silentLogger,
      port: endpoint.port,
      tokenFile,
      render: async () => PAGE,
    })
    await expect(second.open()).rejects.toMatchObject({ code: 'local.port-taken' })
    await second.close()
  })
})
