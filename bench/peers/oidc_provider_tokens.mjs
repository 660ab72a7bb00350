// node-oidc-provider as a token server: one confidential client, and as many codes as are asked for, each of which a
// person is taken to have allowed. Everything lies in a Map, because its own in-memory adapter forgets all but a thousand.
import { Provider } from 'oidc-provider';

const [port, codes] = process.argv.slice(2).map(Number);
const CALLBACK = 'https://app.example/callback';

class Memory {
  static records = new Map();
  constructor(kind) { this.kind = kind; }
  key(id) { return `${this.kind}:${id}`; }
  async upsert(id, payload) { Memory.records.set(this.key(id), payload); }
  async find(id) { return Memory.records.get(this.key(id)); }
  async findByUid() { return undefined; }
  async findByUserCode() { return undefined; }
  async destroy(id) { Memory.records.delete(this.key(id)); }
  async consume(id) { Memory.records.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of Memory.records) if (payload.grantId === grantId) Memory.records.delete(key);
  }
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Memory,
  clients: [{
    client_id: 'bench',
    client_secret: 'secret-of-the-bench-secret-of-the-bench',
    grant_types: ['authorization_code', 'client_credentials'],
    response_types: ['code'],
    redirect_uris: [CALLBACK],
  }],
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  scopes: ['openid', 'read'],
  ttl: { AuthorizationCode: 3600, Grant: 3600 },
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
});

const client = await provider.Client.find('bench');
for (let number = 0; number < codes; number += 1) {
  const grant = new provider.Grant({ accountId: 'alice', clientId: 'bench' });
  grant.addOIDCScope('openid');
  const code = new provider.AuthorizationCode({
    jti: `code-${String(number).padStart(38, '0')}`,
    accountId: 'alice',
    client,
    grantId: await grant.save(),
    redirectUri: CALLBACK,
    scope: 'openid',
    authTime: Math.floor(Date.now() / 1000),
    codeChallenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    codeChallengeMethod: 'S256',
  });
  await code.save();
}
provider.listen(port, '127.0.0.1');
