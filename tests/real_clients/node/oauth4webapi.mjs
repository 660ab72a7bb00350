// Registers with oauth4webapi: discovery by RFC 8414, registration by RFC 7591, and RFC 7592 through the library's
// bearer requests, since it has no calls of its own for the client configuration endpoint.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const issuer = new URL(process.argv[2])
const { version } = JSON.parse(readFileSync(new URL('./node_modules/oauth4webapi/package.json', import.meta.url)))
// Plain http is refused by the library unless it is allowed by name; the server under test is on loopback.
const insecure = { [oauth.allowInsecureRequests]: true }

const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
const server = await oauth.processDiscoveryResponse(issuer, discovered)
assert.equal(server.issuer, process.argv[2])
assert(server.response_types_supported.includes('code'))
assert(server.code_challenge_methods_supported.includes('S256'))

const register = async (method) => {
  const metadata = {
    client_name: `oauth4webapi ${method}`,
    redirect_uris: ['http://127.0.0.1:8765/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: method,
  }
  const response = await oauth.dynamicClientRegistrationRequest(server, metadata, insecure)
  const registered = await oauth.processDynamicClientRegistrationResponse(response)
  assert.deepEqual(registered.redirect_uris, metadata.redirect_uris)
  assert.equal(registered.token_endpoint_auth_method, method)
  assert.equal(registered.client_secret !== undefined, method !== 'none')
  return registered
}

const configurationEndpoint = (registered, verb, body) =>
  oauth.protectedResourceRequest(
    registered.registration_access_token,
    verb,
    new URL(registered.registration_client_uri),
    new Headers(body ? { 'content-type': 'application/json' } : {}),
    body && JSON.stringify(body),
    insecure,
  )

const answer = async (response, status) => {
  const text = await response.text()
  assert.equal(response.status, status, text)
  return JSON.parse(text)
}

const read = async (registered) => {
  const current = await answer(await configurationEndpoint(registered, 'GET'), 200)
  assert.equal(current.client_id, registered.client_id)
  assert.equal(current.client_secret, registered.client_secret)
  return { ...registered, ...current }
}

const secretClient = await read(await register('client_secret_post'))
const doomedClient = await read(await register('client_secret_post'))
const publicClient = await read(await register('none'))

// RFC 7592 section 2.2: the whole registration goes back, without the members that are the server's alone.
const { registration_access_token, registration_client_uri, client_id_issued_at, client_secret_expires_at, ...members } =
  publicClient
const update = await configurationEndpoint(publicClient, 'PUT', { ...members, client_name: 'renamed' })
const updated = { ...publicClient, ...(await answer(update, 200)) }
assert.equal(updated.client_id, publicClient.client_id)
assert.equal(updated.client_name, 'renamed')

const deletion = await configurationEndpoint(doomedClient, 'DELETE')
assert.equal(deletion.status, 204)
await assert.rejects(configurationEndpoint(doomedClient, 'GET'), (error) => {
  assert(error instanceof oauth.WWWAuthenticateChallengeError, error)
  assert.equal(error.status, 401)
  assert.equal(error.cause[0].scheme, 'bearer')
  return true
})

const clients = [updated, secretClient, doomedClient]
console.log(
  JSON.stringify({
    client: 'oauth4webapi',
    version,
    client_id: clients.map(({ client_id }) => client_id),
    read: clients.map(({ client_id }) => client_id),
    updated: [updated.client_id],
    deleted: [doomedClient.client_id],
    registrations: clients,
  }),
)
