// Registers with the MCP TypeScript SDK as an agent does: a protected resource refuses it, and the SDK finds the
// authorization server (RFC 9728, RFC 8414), registers (RFC 7591) and stands ready to send the user to /authorize.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const issuer = process.argv[2]
const manifest = new URL('./node_modules/@modelcontextprotocol/sdk/package.json', import.meta.url)
const { version } = JSON.parse(readFileSync(manifest))
const redirectUri = 'http://127.0.0.1:8765/callback'

const resource = 'https://mcp.example/mcp'
const resourceMetadata = 'https://mcp.example/.well-known/oauth-protected-resource/mcp'

// What the agent wants to reach is played here; every other request goes to the server under test.
const protectedResource = (url) =>
  url === resourceMetadata
    ? Response.json({ resource, authorization_servers: [issuer] })
    : new Response(null, {
        status: 401,
        headers: { 'www-authenticate': `Bearer resource_metadata="${resourceMetadata}"` },
      })

const register = async (method) => {
  let answered, saved, authorization
  const fetchFn = async (url, init) => {
    const { origin, href } = new URL(url)
    if (origin === new URL(resource).origin) return protectedResource(href)
    const response = await fetch(url, init)
    // The SDK drops the members of RFC 7592 that it does not know, so the whole answer is kept from the wire.
    if (response.status === 201) answered = await response.clone().json()
    return response
  }
  const authProvider = {
    redirectUrl: redirectUri,
    clientMetadata: {
      client_name: `MCP TypeScript SDK ${method}`,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: method,
    },
    clientInformation: () => saved,
    saveClientInformation: (information) => (saved = information),
    tokens: () => undefined,
    saveTokens: () => assert.fail('no token was asked for'),
    saveCodeVerifier: () => {},
    codeVerifier: () => assert.fail('no code was exchanged'),
    redirectToAuthorization: (url) => (authorization = url),
  }
  const transport = new StreamableHTTPClientTransport(new URL(resource), { authProvider, fetch: fetchFn })
  // Where a person would now sign in, the SDK gives up on this connection: registration is done by then.
  await assert.rejects(new Client({ name: 'registrar', version: '0' }).connect(transport), (error) => {
    if (error instanceof UnauthorizedError) return true
    throw error
  })
  assert.equal(saved.issuer, issuer)
  assert.equal(saved.client_id, answered.client_id)
  assert.deepEqual(saved.redirect_uris, [redirectUri])
  assert.equal(saved.token_endpoint_auth_method, method)
  assert.equal(saved.client_secret !== undefined, method !== 'none')
  assert.equal(authorization.searchParams.get('client_id'), saved.client_id)
  return answered
}

const clients = [await register('none'), await register('client_secret_post')]
console.log(
  JSON.stringify({
    client: '@modelcontextprotocol/sdk',
    version,
    client_id: clients.map(({ client_id }) => client_id),
    read: [],
    updated: [],
    deleted: [],
    registrations: clients,
  }),
)
