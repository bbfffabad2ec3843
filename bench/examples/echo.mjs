// An echo server on Node.js: node echo.mjs PORT

import { createServer } from "node:net";

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  client.on("error", () => client.destroy()); // A reset ends this connection and no other.
  client.pipe(client);
});

server.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
