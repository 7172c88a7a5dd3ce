/**
 * Listens on a TCP address of the network namespace it runs in, and carries each connection to a unix socket of the
 * machine: how the lab's nodes reach the API server, which listens on the machine's loopback only.
 *
 *   tsx scripts/lab/forward.ts HOST PORT SOCKET
 */
import { createConnection, createServer } from 'node:net';
import process from 'node:process';

const [host = '', port = '', socket = ''] = process.argv.slice(2);
const server = createServer({ allowHalfOpen: true }, (client) => {
  const upstream = createConnection({ path: socket, allowHalfOpen: true });
  client.pipe(upstream).pipe(client);
  // The end of one half is the end of both: who is connected asks again.
  client.on('error', () => upstream.destroy());
  upstream.on('error', () => client.destroy());
  client.on('close', () => upstream.destroy());
  upstream.on('close', () => client.destroy());
});
server.listen(Number(port), host, () => void process.stdout.write('forwarding\n'));
