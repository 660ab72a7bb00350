// oauth4webapi, step by step: discovery, registration, a pushed request, the code flow with private_key_jwt and DPoP,
// UserInfo and a refresh; each answer is read by the library's own strict processing.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const [issuer, person] = process.argv.slice(2)
const { version } = JSON.parse(readFileSync(new URL('./node_modules/oauth4webapi/package.json', import.meta.url)))
const redirectUri = 'http://127.0.0.1:8765/callback'
const insecure = { [oauth.allowInsecureRequests]: true }

const allow = async (url) => {
  const response = await fetch(`${person}?url=${encodeURIComponent(url)}`)
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return new URL(text)
}

const discovered = await oauth.discoveryRequest(new URL(issuer), insecure)
const server = await oauth.processDiscoveryResponse(new URL(issuer), discovered)

const { privateKey, publicKey } = await oauth.generateKeyPair('RS256', { extractable: true })
const jwk = await crypto.subtle.exportKey('jwk', publicKey)
const registration = await oauth.dynamicClientRegistrationRequest(
  server,
  {
    client_name: 'oauth4webapi',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'private_key_jwt',
    userinfo_signed_response_alg: 'RS256',
    jwks: { keys: [{ kty: jwk.kty, n: jwk.n, e: jwk.e, kid: 'flow', use: 'sig', alg: 'RS256' }] },
  },
  insecure,
)
const client = await oauth.processDynamicClientRegistrationResponse(registration)
const authenticated = oauth.PrivateKeyJwt({ key: privateKey, kid: 'flow' })
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))

const verifier = oauth.generateRandomCodeVerifier()
const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()]
const parameters = new URLSearchParams({
  client_id: client.client_id,
  redirect_uri: redirectUri,
  response_type: 'code',
  scope: 'openid email',
  state,
  nonce,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
})
const pushed = await oauth.processPushedAuthorizationResponse(
  server,
  client,
  await oauth.pushedAuthorizationRequest(server, client, authenticated, parameters, { DPoP, ...insecure }),
)
assert(pushed.expires_in > 0)
const authorization = new URL(server.authorization_endpoint)
authorization.searchParams.set('client_id', client.client_id)
authorization.searchParams.set('request_uri', pushed.request_uri)

const answered = oauth.validateAuthResponse(server, client, await allow(authorization), state)
const response = await oauth.authorizationCodeGrantRequest(
  server,
  client,
  authenticated,
  answered,
  redirectUri,
  verifier,
  { DPoP, ...insecure },
)
const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
  expectedNonce: nonce,
  requireIdToken: true,
})
await oauth.validateApplicationLevelSignature(server, response, insecure)
assert.equal(tokens.token_type, 'dpop')
const { sub } = oauth.getValidatedIdTokenClaims(tokens)

const asked = await oauth.userInfoRequest(server, client, tokens.access_token, { DPoP, ...insecure })
const told = await oauth.processUserInfoResponse(server, client, sub, asked)
await oauth.validateApplicationLevelSignature(server, asked, insecure)
assert.equal(told.email, 'alice@example.com')

const refreshed = await oauth.processRefreshTokenResponse(
  server,
  client,
  await oauth.refreshTokenGrantRequest(server, client, authenticated, tokens.refresh_token, { DPoP, ...insecure }),
)
assert.equal(oauth.getValidatedIdTokenClaims(refreshed).sub, sub)

console.log(JSON.stringify({ client: 'oauth4webapi', version, client_id: client.client_id, sub, email: told.email }))
