// openid-client as an OpenID Connect client does its whole life: discovery, registration, a pushed request, the code
// flow with private_key_jwt and DPoP, UserInfo, a refresh, and the address to sign out at.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

const [issuer, person] = process.argv.slice(2)
const { version } = JSON.parse(readFileSync(new URL('./node_modules/openid-client/package.json', import.meta.url)))
const redirectUri = 'http://127.0.0.1:8765/callback'
const execute = [client.allowInsecureRequests]

// A person signs in and allows what the address asks for; the answer is the callback that their browser is sent to.
const allow = async (url) => {
  const response = await fetch(`${person}?url=${encodeURIComponent(url)}`)
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return new URL(text)
}

const { privateKey, publicKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])
const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', publicKey)

const config = await client.dynamicClientRegistration(
  new URL(issuer),
  {
    client_name: 'openid-client',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    id_token_signed_response_alg: 'ES256',
    dpop_bound_access_tokens: true,
    require_pushed_authorization_requests: true,
    jwks: { keys: [{ kty, crv, x, y, kid: 'flow', use: 'sig', alg: 'ES256' }] },
  },
  client.PrivateKeyJwt({ key: privateKey, kid: 'flow' }),
  { algorithm: 'oidc', execute },
)

const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
const verifier = client.randomPKCECodeVerifier()
const checks = { expectedState: client.randomState(), expectedNonce: client.randomNonce(), pkceCodeVerifier: verifier }
const authorization = await client.buildAuthorizationUrlWithPAR(
  config,
  {
    redirect_uri: redirectUri,
    scope: 'openid profile email',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  },
  { DPoP },
)
assert.deepEqual([...authorization.searchParams.keys()].sort(), ['client_id', 'request_uri'])

const tokens = await client.authorizationCodeGrant(config, await allow(authorization), checks, undefined, { DPoP })
assert.equal(tokens.token_type, 'dpop')
const { sub, iss, aud, auth_time } = tokens.claims()
assert.equal(iss, issuer)
assert.equal(aud, config.clientMetadata().client_id)
assert.equal(typeof auth_time, 'number')

const told = await client.fetchUserInfo(config, tokens.access_token, sub, { DPoP })
assert.equal(told.email, 'alice@example.com')

const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
assert.equal(refreshed.claims().sub, sub)
assert.notEqual(refreshed.access_token, tokens.access_token)

const ended = await client.tokenIntrospection(config, refreshed.access_token)
assert.equal(ended.active, true)
await client.tokenRevocation(config, refreshed.access_token)
assert.equal((await client.tokenIntrospection(config, refreshed.access_token)).active, false)
assert(client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token }).href.startsWith(`${issuer}/end_session?`))

console.log(JSON.stringify({ client: 'openid-client', version, client_id: aud, sub, email: told.email }))
