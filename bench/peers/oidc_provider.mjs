// node-oidc-provider as a registration server: anyone may register, clients live in its own in-memory adapter.
// Management is on, so that its answer carries a registration access token as ours does.
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
  },
});
provider.listen(port, '127.0.0.1');
