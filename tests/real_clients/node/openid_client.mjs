// Registers with openid-client: discovery by RFC 8414 and by OpenID Connect, registration by RFC 7591, and RFC 7592
// through the library's bearer requests, since it has no calls of its own for the client configuration endpoint.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

const issuer = new URL(process.argv[2])
const { version } = JSON.parse(readFileSync(new URL('./node_modules/openid-client/package.json', import.meta.url)))
const redirectUri = 'http://127.0.0.1:8765/callback'

const { privateKey, publicKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])
const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', publicKey)
const jwks = { keys: [{ kty, crv, x, y, kid: 'registration', use: 'sig', alg: 'ES256' }] }

const register = async (algorithm, method, authentication, more = {}) => {
  const metadata = {
    client_name: `openid-client ${method}`,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: method,
    ...more,
  }
  // Plain http is refused by the library unless it is allowed by name; the server under test is on loopback.
  const options = { algorithm, execute: [client.allowInsecureRequests] }
  const config = await client.dynamicClientRegistration(issuer, metadata, authentication, options)
  const registered = config.clientMetadata()
  assert.equal(config.serverMetadata().issuer, process.argv[2])
  assert.deepEqual(registered.redirect_uris, [redirectUri])
  assert.equal(registered.token_endpoint_auth_method, method)
  assert.equal(registered.client_secret !== undefined, method === 'client_secret_basic')
  const authorization = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    code_challenge: await client.calculatePKCECodeChallenge(client.randomPKCECodeVerifier()),
    code_challenge_method: 'S256',
  })
  assert.equal(authorization.searchParams.get('client_id'), registered.client_id)
  return { config, registered }
}

const configurationEndpoint = ({ config, registered }, verb, body) =>
  client.fetchProtectedResource(
    config,
    registered.registration_access_token,
    new URL(registered.registration_client_uri),
    verb,
    body && JSON.stringify(body),
    new Headers(body ? { 'content-type': 'application/json' } : {}),
  )

const answer = async (response, status) => {
  const text = await response.text()
  assert.equal(response.status, status, text)
  return JSON.parse(text)
}

const publicClient = await register('oauth2', 'none', client.None())
const secretClient = await register('oidc', 'client_secret_basic', undefined)
const keyClient = await register('oauth2', 'private_key_jwt', client.PrivateKeyJwt({ key: privateKey, kid: 'registration' }), {
  token_endpoint_auth_signing_alg: 'ES256',
  jwks,
})

for (const each of [publicClient, secretClient, keyClient]) {
  const read = await answer(await configurationEndpoint(each, 'GET'), 200)
  assert.equal(read.client_id, each.registered.client_id)
  assert.equal(read.client_secret, each.registered.client_secret)
  each.registered = { ...each.registered, ...read }
}

// RFC 7592 section 2.2: the whole registration goes back, without the members that are the server's alone.
const { registration_access_token, registration_client_uri, client_id_issued_at, client_secret_expires_at, ...members } =
  secretClient.registered
const updated = await answer(await configurationEndpoint(secretClient, 'PUT', { ...members, client_name: 'renamed' }), 200)
assert.equal(updated.client_id, members.client_id)
assert.equal(updated.client_name, 'renamed')
secretClient.registered = { ...secretClient.registered, ...updated }

const deletion = await configurationEndpoint(keyClient, 'DELETE')
assert.equal(deletion.status, 204)
await assert.rejects(configurationEndpoint(keyClient, 'GET'), (error) => {
  assert(error instanceof client.WWWAuthenticateChallengeError, error)
  assert.equal(error.status, 401)
  assert.equal(error.cause[0].scheme, 'bearer')
  return true
})

const clients = [publicClient, secretClient, keyClient].map(({ registered }) => registered)
console.log(
  JSON.stringify({
    client: 'openid-client',
    version,
    client_id: clients.map(({ client_id }) => client_id),
    read: clients.map(({ client_id }) => client_id),
    updated: [secretClient.registered.client_id],
    deleted: [keyClient.registered.client_id],
    registrations: clients,
  }),
)
