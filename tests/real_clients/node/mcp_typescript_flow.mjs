// The MCP TypeScript SDK's client, from a refusal to a tool's answer: discovery, registration, the code flow with PKCE,
// a call, a refresh, a call.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const [resource, person] = process.argv.slice(2)
const manifest = new URL('./node_modules/@modelcontextprotocol/sdk/package.json', import.meta.url)
const { version } = JSON.parse(readFileSync(manifest))
const redirectUri = 'http://127.0.0.1:8765/callback'

// A person signs in and allows what the address asks for; the answer is the callback that their browser is sent to.
const allow = async (url) => {
  const response = await fetch(`${person}?url=${encodeURIComponent(url)}`)
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return new URL(text)
}

const visit = async (method) => {
  const issued = []
  let information, tokens, verifier, sent
  const state = crypto.randomUUID()
  const authProvider = {
    redirectUrl: redirectUri,
    clientMetadata: {
      client_name: `MCP TypeScript SDK ${method}`,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: method,
    },
    state: () => state,
    clientInformation: () => information,
    saveClientInformation: (saved) => (information = saved),
    tokens: () => tokens,
    saveTokens: (saved) => issued.push((tokens = saved)),
    saveCodeVerifier: (saved) => (verifier = saved),
    codeVerifier: () => verifier,
    redirectToAuthorization: (url) => {
      assert.equal(sent, undefined, 'the person was sent to the pages twice')
      sent = url
    },
  }
  const connect = async () => {
    const transport = new StreamableHTTPClientTransport(new URL(resource), { authProvider })
    const client = new Client({ name: 'registrar', version: '0' })
    return { transport, client, connected: client.connect(transport) }
  }
  const call = async (client) => (await client.callTool({ name: 'whoami', arguments: {} })).structuredContent

  // Refused at first: the SDK finds the server, registers, and sends the person there.
  const refused = await connect()
  await assert.rejects(refused.connected, UnauthorizedError)
  assert.deepEqual(sent.searchParams.getAll('resource'), [resource])
  assert.equal(sent.searchParams.get('code_challenge_method'), 'S256')
  const { searchParams } = await allow(sent)
  assert.equal(searchParams.get('state'), state)
  await refused.transport.finishAuth(searchParams.get('code'))

  const { client, connected } = await connect()
  await connected
  const told = [await call(client)]
  // A token that is over is refused with 401, and the SDK refreshes it without the person.
  tokens = { ...tokens, access_token: 'over' }
  told.push(await call(client))
  await client.close()

  const [first, refreshed, ...more] = issued
  assert.deepEqual(more, [])
  assert.notEqual(first.access_token, refreshed.access_token)
  return { client_id: information.client_id, told, rotated: first.refresh_token !== refreshed.refresh_token }
}

const visits = [await visit('none'), await visit('client_secret_post')]
console.log(JSON.stringify({ client: '@modelcontextprotocol/sdk', version, visits }))
